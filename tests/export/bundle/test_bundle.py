"""vicmae.export.bundle.bundle: a folder that proves itself, or is refused with a sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import nano_encoder, noise_pixels, write_bundle

from vicmae.errors import BundleError, DriftError
from vicmae.export.bundle import (
    CANARY,
    CARD,
    MANIFEST,
    NORM_OF_MEAN,
    fingerprint_of,
    load_canary,
    read_manifest,
    record_quality,
    save_canary,
    write_manifest,
)
from vicmae.export.engine import open_engine, selection
from vicmae.export.torch_engine import TorchEngine
from vicmae.media.spec import InputSpec


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def change(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((bundle / MANIFEST).read_text())
    edit(values)
    (bundle / MANIFEST).write_text(json.dumps(values))


def refused(bundle: Path, kind: type[BundleError] = BundleError) -> str:
    with pytest.raises(kind) as error:
        open_engine(bundle, threads=1)
    assert type(error.value) is kind
    return str(error.value)


def test_a_bundle_opens_and_gives_the_trained_vectors(bundle: Path) -> None:
    with open_engine(bundle, threads=1) as engine:
        manifest = read_manifest(bundle)
        assert (engine.name, engine.fingerprint, engine.spec) == ("nano", manifest.fingerprint, manifest.spec)
        assert (engine.device, engine.precision) == ("cpu", "fp32")
        pixels = noise_pixels(5)
        expected = TorchEngine(nano_encoder(), "nano").embed(pixels)
        assert np.abs(engine.embed(pixels) - expected).max() < 1e-5


def test_the_files_of_a_bundle(bundle: Path) -> None:
    assert {p.name for p in bundle.iterdir()} == {MANIFEST, CANARY, CARD, "model.onnx"}
    card = (bundle / CARD).read_text()
    assert card.startswith("# nano\n") and "vicmae pretrain nano" in card and "model.onnx | fp32" in card


def test_the_manifest_comes_back_as_it_was(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    changed = replace(manifest, quality={"knn é": {"10-NN": 0.5}}, provenance={"data": ["a", 1]})
    write_manifest(bundle, changed)
    assert read_manifest(bundle) == changed
    assert not list(bundle.glob("*.partial"))


def test_quality_is_recorded_in_the_manifest_and_the_card(bundle: Path) -> None:
    record_quality(bundle, "knn pets", {"10-NN": 0.5, "queries": 9, "known": 8, "unreadable": 0})
    record_quality(bundle, "retrieval pets", {"R@1": 0.25, "queries": 7, "known": 6, "unreadable": 0})
    record_quality(bundle, "knn pets", {"10-NN": 0.625, "queries": 9, "known": 8, "unreadable": 0})
    assert read_manifest(bundle).quality["knn pets"]["10-NN"] == 0.625
    card = (bundle / CARD).read_text()
    assert "| knn pets | 10-NN 0.625 | 9 | 8 |" in card and "| retrieval pets | R@1 0.25 | 7 | 6 |" in card
    open_engine(bundle, threads=1).close()


def test_the_fingerprint_follows_weights_and_spec_only() -> None:
    spec = InputSpec(size=32, patch=8, dim=4)
    weights = {"a": np.ones(3, np.float32), "b": np.zeros((2, 2), np.float32)}
    same = fingerprint_of(weights, spec)
    assert fingerprint_of(weights, spec, NORM_OF_MEAN) != same
    assert same == fingerprint_of(dict(reversed(weights.items())), spec)
    assert same == fingerprint_of({k: np.asfortranarray(v, np.float64) for k, v in weights.items()}, spec)
    others = [
        fingerprint_of({**weights, "a": np.full(3, 1.0001, np.float32)}, spec),
        fingerprint_of({**weights, "c": np.ones(1, np.float32)}, spec),
        fingerprint_of(weights, replace(spec, size=40)),
        fingerprint_of(weights, replace(spec, fit="pad")),
        fingerprint_of(weights, replace(spec, mean=(0.5, 0.5, 0.5))),
    ]
    assert len({same, *others}) == 6


def test_an_altered_engine_file_is_refused(bundle: Path) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    assert "its sha256 differs" in refused(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / CANARY).rename(bundle / "elsewhere")
    assert "canary.npz cannot be read" in refused(bundle)
    (bundle / "model.onnx").unlink()
    assert "lacks model.onnx" in refused(bundle)
    (bundle / MANIFEST).unlink()
    assert "is not a bundle: manifest.json cannot be read (No such file or directory)" in refused(bundle)
    assert "is not a bundle" in refused(bundle / "nowhere")


def test_another_schema_is_refused(bundle: Path) -> None:
    change(bundle, lambda m: m.update(schema=2))
    assert "has schema 2; this version of vicmae reads 1" in refused(bundle)
    for text in ("[]", "{}", "null"):
        (bundle / MANIFEST).write_text(text)
        assert "has schema None" in refused(bundle)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_a_manifest_that_is_no_json_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / MANIFEST).write_bytes(content)
    assert "is not JSON" in refused(bundle)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.pop("engines"),
        lambda m: m.pop("fingerprint"),
        lambda m: m.update(colour="red"),
        lambda m: m.update(engines=["model.onnx"]),
        lambda m: m["engines"]["model.onnx"].pop("drift"),
        lambda m: m["spec"].update(size=33),
        lambda m: m["spec"].update(fit="stretch"),
    ],
)
def test_a_damaged_manifest_is_refused(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    change(bundle, edit)
    assert "is damaged or from another version" in refused(bundle)


def test_no_engine_file_is_refused(bundle: Path) -> None:
    change(bundle, lambda m: m.update(engines={}))
    assert "has no engine file" in refused(bundle)


def test_a_drift_report_outside_its_limits_is_refused(bundle: Path) -> None:
    change(bundle, lambda m: m["engines"]["model.onnx"]["drift"].update(min_cosine=0.99))
    told = refused(bundle, DriftError)
    assert "the drift report of" in told and "minimum cosine" in told and "0.990000" in told


def test_canary_vectors_that_come_out_different_are_refused(bundle: Path) -> None:
    pixels, vectors = load_canary(bundle)
    save_canary(bundle, pixels, np.roll(vectors, 1, axis=1))
    assert "model.onnx on this machine: mean cosine" in refused(bundle, DriftError)
    save_canary(bundle, pixels, vectors[:, :-1])
    assert "The engine gives vectors" in refused(bundle, DriftError)


def test_a_canary_of_another_model_is_refused(bundle: Path) -> None:
    _, vectors = load_canary(bundle)
    save_canary(bundle, noise_pixels(8, 64), vectors)
    assert "Copy the whole bundle again" in refused(bundle)


@pytest.mark.parametrize("damage", ["empty", "text", "half", "zip header", "noise"])
def test_a_broken_canary_file_is_refused(bundle: Path, damage: str) -> None:
    whole = (bundle / CANARY).read_bytes()
    noisy = bytearray(whole)
    noisy[len(whole) // 3 : len(whole) // 2] = b"\x00" * (len(whole) // 2 - len(whole) // 3)
    content = {
        "empty": b"",
        "text": b"text",
        "half": whole[: len(whole) // 2],
        "zip header": whole[:30],
        "noise": noisy,
    }
    (bundle / CANARY).write_bytes(bytes(content[damage]))
    assert "canary.npz cannot be read" in refused(bundle)


def test_a_canary_without_its_arrays_is_refused(bundle: Path) -> None:
    np.savez(bundle / CANARY, pixels=noise_pixels(1))
    assert "canary.npz cannot be read" in refused(bundle)


def test_the_canary_is_checked_at_every_start(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def watched(folder: Path) -> Any:
        asked.append(folder)
        return load_canary(folder)

    monkeypatch.setattr(selection, "load_canary", watched)
    for _ in range(2):
        open_engine(bundle, threads=1).close()
    assert asked == [bundle, bundle]
