"""Made runs for tests of model, training and export: a network of a few thousand weights and pictures from a seed.

Small enough that a step takes milliseconds on one thread.
"""

import json
import socket
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from made_media import picture, scene_frames
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from vicmae.export.bundle import EngineFile, read_manifest, sha256_of, write_manifest
from vicmae.export.conversion import export_bundle
from vicmae.export.drift import Drift
from vicmae.model.config import SIZES, ModelConfig
from vicmae.model.encoder import Encoder
from vicmae.model.vicmae import Objective
from vicmae.training.recipe import Recipe
from vicmae.training.sources import Pictures
from vicmae.training.views import Augmentation

torch.set_num_threads(1)

NANO = ModelConfig("nano", 8, 32, 2, 2, 16, 1, 2, 32, 16)
FIGURES = ("loss", "reconstruction", "contrast", "rate")
MILD = Augmentation(scale=(0.6, 1.0), hue=0.02, grey=0.0, blur=0.0, solarise=0.0)


@pytest.fixture
def nano(monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """Makes the size "nano" known to recipes and checkpoints."""
    monkeypatch.setitem(SIZES, "nano", NANO)
    return NANO


def nano_recipe(**changes: Any) -> Recipe:
    """A recipe of the size "nano" on pictures of 32 pixels; wants the fixture `nano`."""
    values: dict[str, Any] = {
        "model": "nano",
        "size": 32,
        "batch": 8,
        "steps": 6,
        "warmup_steps": 2,
        "base_rate": 0.05,
        "clip_share": 0.25,
        "checkpoint_steps": 2,
        "objective": Objective(recon_weight=0.5, contrast_weight=0.5),
        "image_view1": MILD,
        "image_view2": MILD,
        "frame_view1": MILD,
        "frame_view2": MILD,
        **changes,
    }
    return Recipe(**values)


def made_pictures(images: int = 24, clips: int = 6, size: int = 42, bad: int = 0) -> Pictures:
    """Decoded items without files: images, then clips of 8 frames at 4 frames a second."""
    rows: list[NDArray[np.uint8]] = [np.asarray(picture(seed, (size, size))) for seed in range(images)]
    for seed in range(clips):
        rows += list(scene_frames(seed, 2.0, 4, (size, size)))
    count = np.array([1] * images + [8] * clips, np.int64)
    seconds = np.concatenate([np.arange(n) / 4 for n in count])
    reasons = [(f"{i}.jpg", "broken") for i in range(bad)]
    return Pictures(np.stack(rows), seconds, np.cumsum(count) - count, count, reasons)


def nano_encoder(seed: int = 0, size: int = 32) -> Encoder:
    """A random encoder whose vectors differ from picture to picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(NANO, NANO.input_spec(size, fit="squash"))
        for parameter in encoder.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder.eval()


def noise_pixels(count: int, size: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    """(count, size, size, 3) uint8: coarse noise, so that pictures differ in more than their grain."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.asarray(coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2))


def runner(register: Callable[[typer.Typer], None]) -> Callable[..., Result]:
    """A function that runs the verbs of one room and checks the exit code; an error of ours is raised as it is."""
    app = typer.Typer()
    register(app)

    def call(*words: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, [*map(str, words)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return call


def write_pictures(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> Path:
    """Image files 0.png, 1.png, ... in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        picture(seed, size).save(folder / f"{seed}.png")
    return folder


def write_bundle(folder: Path) -> Path:
    """A bundle of nano_encoder() in a new folder; exported once for all tests."""
    folder.mkdir(parents=True)
    for name, content in _bundle_files().items():
        (folder / name).write_bytes(content)
    return folder


def write_bundle_of_many(folder: Path) -> Path:
    """The same with two int8 files beside the fp32 one, model.int8.onnx and model.int8-static.onnx; scales static."""
    static = {name: _int8_file(dynamic=False) for name in ("model.int8.onnx", "model.int8-static.onnx")}
    return _with_files(write_bundle(folder), static)


def write_bundle_with_dynamic_scales(folder: Path) -> Path:
    """The same with model.int8.onnx as older versions made it: scales that are taken from each batch."""
    return _with_files(write_bundle(folder), {"model.int8.onnx": _int8_file(dynamic=True)})


def _with_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    manifest = read_manifest(folder)
    added = {
        name: EngineFile(sha256_of(folder / name), len(content), "int8", Drift(500, "made", 0.9999, 0.9999, 1.0))
        for name, content in files.items()
    }
    write_manifest(folder, replace(manifest, engines={**manifest.engines, **added}))
    return folder


@cache
def _int8_file(dynamic: bool) -> bytes:
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
        batches = iter([{"pixels": noise_pixels(8)}])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as made:
        source, target = Path(made) / "source.onnx", Path(made) / "target.onnx"
        source.write_bytes(_bundle_files()["model.onnx"])
        options: dict[str, Any] = {
            "op_types_to_quantize": ["MatMul"],
            "per_channel": True,
            "extra_options": {"MatMulConstBOnly": True},
        }
        if dynamic:
            quantization.quantize_dynamic(source, target, **options)
        else:
            quantization.quantize_static(source, target, Calibration(), **options)
        return target.read_bytes()


@cache
def _bundle_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made:
        bundle = Path(made) / "bundle"
        export_bundle(nano_encoder(), "nano", bundle, provenance={"command": "vicmae pretrain nano"})
        return {path.name: path.read_bytes() for path in bundle.iterdir()}


def curve(run: Path) -> torch.Tensor:
    """(steps, 4): the figures that a run wrote down, step by step."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return torch.tensor([[line[name] for name in FIGURES] for line in lines])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
