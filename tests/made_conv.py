"""A made encoder with a convolutional stem for tests: the real trunk with random weights, on pictures of 64 pixels."""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from made_runs import noise_pixels

from vicmae.export.conversion import export_bundle
from vicmae.model.config import SIZES
from vicmae.model.conv_encoder import ConvEncoder

CONV_NANO = replace(SIZES["lite"], name="conv-nano", dim=32, depth=1)
SIZE = 64


@cache
def conv_encoder() -> ConvEncoder:
    """A random encoder whose vectors differ from picture to picture and to whose transformer they owe something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ConvEncoder(CONV_NANO, CONV_NANO.input_spec(SIZE, fit="squash")).eval()
        for name, parameter in encoder.named_parameters():
            if name.startswith("blocks.") or name.endswith("bias"):
                parameter.data += 0.05 * torch.randn_like(parameter)
    with torch.inference_mode():
        pictures = encoder.normalise(torch.from_numpy(noise_pixels(64, SIZE)))
        pooled = encoder.pool(encoder.places(pictures))
        for linear, features in zip(encoder.whitening, pooled, strict=True):
            assert isinstance(linear, torch.nn.Linear)
            spread = features.std(dim=0).clamp(min=1e-4)
            linear.weight.copy_(linear.weight / spread)
            linear.bias.copy_(-(linear.weight @ features.mean(dim=0)))
    return encoder


def write_conv_bundle(folder: Path) -> Path:
    """A bundle of conv_encoder() with patch tokens in a new folder; exported once for all tests."""
    folder.mkdir(parents=True)
    for name, content in _files().items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made:
        bundle = Path(made) / "bundle"
        export_bundle(conv_encoder(), "conv-nano", bundle, patch_tokens=True)
        return {path.name: path.read_bytes() for path in bundle.iterdir()}
