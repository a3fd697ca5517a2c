"""Encoder -> model.onnx, and the whole bundle around it. Needs torch; a server never imports this.

The exported graph takes uint8 pixels. Mean and standard deviation are folded into the patch embedding, which becomes
one matrix product, so nobody outside can normalise wrongly.
"""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..errors import BundleError, DriftError
from ..media.spec import InputSpec
from ..model.encoder import Encoder
from .bundle import CARD, MANIFEST, EngineFile, Manifest, save_canary, sha256_of, write_manifest
from .card import card_of
from .drift import Drift, compare, require_within_limits
from .onnxruntime_engine import OnnxRuntimeEngine
from .torch_engine import TorchEngine, pooling_of

OPSET = 20
MODEL = "model.onnx"
CANARIES = 8


class PooledEncoder(nn.Module):
    """pixels (N, S, S, 3) uint8 -> vectors (N, D) float32, unit length: the graph that is exported."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        conv = encoder.patch_embed.proj
        std, mean = encoder.pixel_std.view(1, 3, 1, 1), encoder.pixel_mean.view(1, 3, 1, 1)
        bias = conv.bias if conv.bias is not None else torch.zeros(len(conv.weight))
        folded_bias = bias - (conv.weight * mean / std).sum(dim=(1, 2, 3))
        # (D, 3, p, p) -> (p, p, 3, D): a patch of channel-last pixels times this matrix is the convolution.
        folded = (conv.weight / (255.0 * std)).permute(2, 3, 1, 0).reshape(-1, len(conv.weight))
        self.weight = nn.Parameter(folded.detach().contiguous())
        positions = encoder.pos_embed[:, encoder.first_patch :] + folded_bias
        self.positions = nn.Parameter(positions.detach().contiguous())
        token = encoder.cls_token
        self.cls = None if token is None else nn.Parameter((token + encoder.pos_embed[:, :1]).detach().contiguous())
        self.blocks = encoder.blocks
        self.norm = encoder.norm
        self.norm_of_mean = encoder.config.norm_of_mean
        self.spec = encoder.spec

    def forward(self, pixels: Tensor) -> Tensor:
        grid, patch = self.spec.grid, self.spec.patch
        cells = pixels.to(torch.float32).reshape(-1, grid, patch, grid, patch, 3)
        tokens = cells.permute(0, 1, 3, 2, 4, 5).reshape(-1, grid * grid, patch * patch * 3) @ self.weight
        tokens = tokens + self.positions
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = self.blocks(tokens)
        tokens = tokens if self.norm_of_mean else self.norm(tokens)
        features = tokens[:, 0 if self.cls is None else 1 :].mean(dim=1)
        return functional.normalize(self.norm(features) if self.norm_of_mean else features, dim=1)


def write_onnx(encoder: Encoder, path: Path) -> None:
    """Exports the pooled encoder with a dynamic batch; weights inside the one file."""
    size = encoder.spec.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            PooledEncoder(encoder).eval(),
            (example,),
            str(path),
            input_names=["pixels"],
            output_names=["vectors"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1, max=4096)}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            optimize=True,
            verbose=False,
        )
    forget_origins(path)


def forget_origins(path: Path) -> None:
    """Removes what the exporter notes beside the graph: module names, and stack traces with paths of the machine."""
    model = onnx.load(path)
    graph = model.graph
    noted = [model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output]
    for function in model.functions:
        noted += [function, *function.node, *function.value_info]
    for part in noted:
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


def made_up_pixels(spec: InputSpec, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """(count, S, S, 3) uint8: smooth colour fields with noise. Belongs to nobody, so it can travel in a bundle."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : spec.size, 0 : spec.size] / spec.size
    out = np.empty((count, spec.size, spec.size, 3), np.uint8)
    for picture in out:
        field = np.zeros((spec.size, spec.size, 3))
        for _ in range(6):
            fx, fy, phase = generator.uniform(-6, 6, 2).tolist() + [generator.uniform(0, 6.28)]
            field += np.sin(6.28 * (fx * x + fy * y) + phase)[..., None] * generator.uniform(-1, 1, 3)
        field = 127 + 50 * field + generator.normal(0, 8, field.shape)
        picture[:] = field.clip(0, 255).astype(np.uint8)
    return out


def export_bundle(
    encoder: Encoder,
    name: str,
    bundle: Path,
    pictures: Iterable[NDArray[np.uint8]] | None = None,
    source: str = "made-up pictures",
    provenance: dict[str, Any] | None = None,
    force: bool = False,
) -> Manifest:
    """Writes the bundle folder with its drift report and returns the manifest.

    pictures: batches (n, S, S, 3) uint8 of real pictures to measure the drift on, described by `source`. An engine
    outside its limits is not written (DriftError) unless `force`; its report then says so and `serve` refuses it.
    """
    aside = bundle / (MODEL + ".partial")
    if bundle.exists() and not bundle.is_dir():
        raise BundleError(f"{bundle} is a file. Name a new or empty folder for the bundle.")
    if bundle.exists() and set(bundle.iterdir()) - {aside} and not (bundle / MANIFEST).exists():
        raise BundleError(f"{bundle} holds other files. Name a new or empty folder for the bundle.")
    bundle.mkdir(parents=True, exist_ok=True)
    write_onnx(encoder, aside)
    reference = TorchEngine(encoder, name)
    engine = OnnxRuntimeEngine(aside, encoder.spec, reference.fingerprint, name)
    drift = measure_drift(reference, engine, pictures or [made_up_pixels(encoder.spec, 128, seed=1)], source)
    if not force:
        try:
            require_within_limits(drift, "fp32", f"{bundle / MODEL}")
        except DriftError:
            aside.unlink()
            raise
    aside.rename(bundle / MODEL)
    canary = made_up_pixels(encoder.spec, CANARIES)
    save_canary(bundle, canary, reference.embed(canary))
    path = bundle / MODEL
    manifest = Manifest(
        name=name,
        fingerprint=reference.fingerprint,
        spec=encoder.spec,
        architecture=encoder.config.to_dict(),
        parameters=sum(p.numel() for p in encoder.parameters()),
        engines={MODEL: EngineFile(sha256_of(path), path.stat().st_size, "fp32", drift)},
        pooling=pooling_of(encoder.config),
        provenance=provenance or {},
    )
    write_manifest(bundle, manifest)
    (bundle / CARD).write_text(card_of(manifest))
    return manifest


def measure_drift(
    reference: TorchEngine, engine: OnnxRuntimeEngine, pictures: Iterable[NDArray[np.uint8]], source: str
) -> Drift:
    """Both engines on the same pictures -> their Drift."""
    pairs = [(reference.embed(batch), engine.embed(batch)) for batch in pictures]
    if not pairs:
        raise BundleError("There is no readable picture to measure the drift on.")
    expected, got = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return compare(expected, got, source)
