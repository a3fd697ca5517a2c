"""vicmae.export.conversion.make_bundle: a bundle states its model and drift, and appears whole or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_runs import NANO, nano_encoder, noise_pixels, write_bundle

from vicmae.errors import BundleError, DriftError
from vicmae.export.bundle import CANARY, CARD, MANIFEST, read_manifest, record_calibration, swap, write_manifest
from vicmae.export.bundle.card import card_of
from vicmae.export.conversion import export_bundle, made_up_pixels, make_bundle, to_onnx
from vicmae.export.conversion.quantize import FILES, write_precision
from vicmae.export.engine import open_engine
from vicmae.export.engine.engine import FAKE_CALIBRATION
from vicmae.export.torch_engine import TorchEngine
from vicmae.media.spec import InputSpec

ENCODER = nano_encoder()
ALL = ("fp16", "int8-static")
CALIBRATION = [noise_pixels(8, seed=seed) for seed in range(4)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = write_bundle(tmp_path_factory.mktemp("graph") / "bundle")
    return bundle / "model.onnx"


@pytest.fixture(scope="module")
def broken_graph(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that went wrong: one matrix has its columns turned round."""
    model = onnx.load(graph)
    matrix = next(t for t in model.graph.initializer if len(t.dims) == 2 and min(t.dims) >= 32)
    turned = onnx.numpy_helper.to_array(matrix)[:, ::-1].copy()
    matrix.CopyFrom(onnx.numpy_helper.from_array(turned, matrix.name))
    path = tmp_path_factory.mktemp("broken") / "model.onnx"
    onnx.save(model, path)
    return path


def instead(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """Exporting takes seconds; what stands around it needs no new graph each time."""
    monkeypatch.setattr(
        make_bundle, "write_onnx", lambda encoder, path, patch_tokens=False: path.write_bytes(graph.read_bytes())
    )


@pytest.fixture
def same_graph(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, graph)


def test_made_up_pixels_are_the_same_everywhere_and_differ() -> None:
    spec = InputSpec(size=32, patch=8, dim=4)
    pixels = made_up_pixels(spec, 8)
    assert pixels.shape == (8, 32, 32, 3) and pixels.dtype == np.uint8
    assert (pixels == made_up_pixels(spec, 8)).all() and not (pixels == made_up_pixels(spec, 8, seed=1)).all()
    assert len({p.tobytes() for p in pixels}) == 8 and pixels.std(axis=(1, 2, 3)).min() > 10


@pytest.mark.usefixtures("same_graph")
def test_a_bundle_states_its_model_and_its_drift(tmp_path: Path) -> None:
    given = [noise_pixels(60), noise_pixels(60, seed=1)]
    facts = {"data": "made"}
    manifest = export_bundle(ENCODER, "nano", tmp_path / "b", given, "120 made pictures", facts)
    assert read_manifest(tmp_path / "b") == manifest
    assert manifest.spec == ENCODER.spec and manifest.architecture == NANO.to_dict()
    assert manifest.parameters == sum(p.numel() for p in ENCODER.parameters())
    assert manifest.fingerprint == TorchEngine(ENCODER, "x").fingerprint
    assert manifest.provenance == facts and manifest.quality == {}
    drift = manifest.engines["model.onnx"].drift
    assert (drift.pictures, drift.source) == (120, "120 made pictures")
    assert drift.min_cosine > 0.9999 and drift.top10_overlap > 0.95
    assert manifest.engines["model.onnx"].bytes == (tmp_path / "b" / "model.onnx").stat().st_size
    open_engine(tmp_path / "b", threads=1).close()


@pytest.mark.usefixtures("same_graph")
def test_a_bundle_may_be_exported_again(tmp_path: Path) -> None:
    export_bundle(ENCODER, "first", tmp_path / "b")
    (tmp_path / ".b.partial").mkdir()
    (tmp_path / ".b.partial" / "model.onnx").write_bytes(b"of an export that was killed")
    export_bundle(ENCODER, "second", tmp_path / "b")
    assert read_manifest(tmp_path / "b").name == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_an_engine_that_drifts_is_not_written_unless_forced(
    tmp_path: Path, broken_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, broken_graph)
    with pytest.raises(DriftError, match="model.onnx: mean cosine to the trained model"):
        export_bundle(ENCODER, "nano", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    manifest = export_bundle(ENCODER, "nano", tmp_path / "b", force=True)
    assert manifest.engines["model.onnx"].drift.min_cosine < 0.9999
    with pytest.raises(DriftError, match="the drift report"):
        open_engine(tmp_path / "b", threads=1)


@pytest.mark.usefixtures("same_graph")
def test_a_failed_export_leaves_the_bundle_that_was_there(
    tmp_path: Path, broken_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_bundle(ENCODER, "good", tmp_path / "b")
    instead(monkeypatch, broken_graph)
    with pytest.raises(DriftError):
        export_bundle(ENCODER, "bad", tmp_path / "b")
    with open_engine(tmp_path / "b", threads=1) as engine:
        assert engine.name == "good"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="holds other files"):
        export_bundle(ENCODER, "nano", tmp_path)
    with pytest.raises(BundleError, match="is a file"):
        export_bundle(ENCODER, "nano", tmp_path / "thesis.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("same_graph")
def test_no_picture_to_measure_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no readable picture"):
        export_bundle(ENCODER, "nano", tmp_path / "b", iter([]))


@pytest.mark.usefixtures("same_graph")
def test_every_precision_is_written_with_its_own_report(tmp_path: Path) -> None:
    told: list[str] = []
    manifest = export_bundle(
        ENCODER, "nano", tmp_path / "b", None, precisions=ALL, calibration=CALIBRATION, tell=told.append
    )
    assert list(manifest.engines) == [FILES[p] for p in ("fp32", *ALL)]
    assert [file.precision for file in manifest.engines.values()] == ["fp32", "fp16", "int8"]
    assert {p.name for p in (tmp_path / "b").iterdir()} == {MANIFEST, CANARY, CARD, *FILES.values()}
    assert read_manifest(tmp_path / "b") == manifest
    least = [file.drift.min_cosine for file in manifest.engines.values()]
    assert least[0] > 0.999999 and least[1] > 0.999 and min(least) > 0.97
    assert len({file.sha256 for file in manifest.engines.values()}) == 3
    card = (tmp_path / "b" / CARD).read_text()
    for name, file in manifest.engines.items():
        assert f"| {name} | {file.precision} |" in card and f"- `{name}`: " in card
    assert told[1:] == [f"nano: {name}" for name in FILES.values()]
    open_engine(tmp_path / "b", threads=1).close()


def drifting(precision: str) -> object:
    """write_precision, but the named one comes out as another network."""
    honest = write_precision

    def write(wished: str, fp32: Path, out: Path, calibration: object) -> None:
        honest(wished, fp32, out, calibration)  # type: ignore[arg-type]
        if wished == precision:
            model = onnx.load(out)
            for tensor in model.graph.initializer:
                if tensor.name == "norm.weight" or tensor.name.startswith("positions"):
                    values = onnx.numpy_helper.to_array(tensor)
                    tensor.CopyFrom(onnx.numpy_helper.from_array(np.flip(values).copy() * 3, tensor.name))
            onnx.save(model, out)

    return write


@pytest.mark.usefixtures("same_graph")
def test_a_precision_that_drifts_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_bundle, "write_precision", drifting("int8-static"))
    told: list[str] = []
    manifest = export_bundle(
        ENCODER, "nano", tmp_path / "b", precisions=("fp16", "int8-static"), calibration=CALIBRATION, tell=told.append
    )
    assert list(manifest.engines) == ["model.onnx", "model.fp16.onnx"]
    assert not (tmp_path / "b" / "model.int8-static.onnx").exists()
    assert "model.int8-static.onnx is not written" in told[-1] and "mean cosine" in told[-1]
    manifest = export_bundle(
        ENCODER,
        "nano",
        tmp_path / "b",
        precisions=("int8-static",),
        calibration=CALIBRATION,
        tell=told.append,
        force=True,
    )
    assert manifest.engines["model.int8-static.onnx"].drift.mean_cosine < 0.99
    assert "is written by --force; serve will refuse it" in told[-1]


@pytest.mark.usefixtures("same_graph")
@pytest.mark.parametrize("broken", ["save_canary", "write_with_card", "put_in_place"])
def test_a_crash_leaves_the_bundle_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    export_bundle(ENCODER, "good", tmp_path / "b")
    before = {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(make_bundle, broken, fail)
    with pytest.raises(BundleError, match="cannot be written: .*No space left on device.*as it was"):
        export_bundle(ENCODER, "bad", tmp_path / "b", precisions=("fp16",))
    assert {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.usefixtures("same_graph")
def test_an_export_keeps_files_that_it_does_not_make(tmp_path: Path) -> None:
    export_bundle(ENCODER, "first", tmp_path / "b", precisions=("fp16",))
    (tmp_path / "b" / "notes.txt").write_text("mine")
    (tmp_path / "b" / "tensorrt").mkdir()
    (tmp_path / "b" / "tensorrt" / "x.engine").write_bytes(b"built")
    export_bundle(ENCODER, "second", tmp_path / "b")
    assert {p.name for p in (tmp_path / "b").iterdir()} == {
        *(MANIFEST, CANARY, CARD, "model.onnx", "notes.txt", "tensorrt")
    }
    assert (tmp_path / "b" / "tensorrt" / "x.engine").read_bytes() == b"built"


@pytest.mark.usefixtures("same_graph")
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="cannot be made: Not a directory. Choose another folder"):
        export_bundle(ENCODER, "nano", tmp_path / "file" / "b")


def test_weights_beside_the_file_are_part_of_the_bundle(
    tmp_path: Path, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "LARGEST_FILE_BYTES", 50_000)
    monkeypatch.setattr(
        make_bundle, "write_onnx", lambda encoder, path, patch_tokens: to_onnx.save(onnx.load(graph), path)
    )
    bundle = tmp_path / "b"
    file = export_bundle(ENCODER, "nano", bundle, precisions=("fp16",)).engines["model.onnx"]
    data = bundle / "model.onnx.data"
    assert list(file.weights) == [data.name]
    assert file.bytes == data.stat().st_size + (bundle / "model.onnx").stat().st_size
    assert read_manifest(bundle).engines["model.onnx"] == file
    open_engine(bundle, threads=1).close()
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match="model.onnx.data is not the file that was exported .its sha256 differs"):
        open_engine(bundle, threads=1)
    data.unlink()
    with pytest.raises(BundleError, match="lacks model.onnx.data, which its manifest names"):
        open_engine(bundle, threads=1)


def test_manifests_without_the_new_fields_still_open(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    values = json.loads((bundle / MANIFEST).read_text())
    for file in values["engines"].values():
        del file["weights"]
    (bundle / MANIFEST).write_text(json.dumps(values))
    open_engine(bundle, threads=1).close()


def test_the_card_calls_random_weights_not_trained(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    manifest = replace(read_manifest(bundle), provenance={"trained": False}, architecture={"name": "timm/vit_x"})
    write_manifest(bundle, manifest)
    card = card_of(manifest)
    assert "**Not trained.**" in card and "\nvit_x of timm, " in card and "ViC-MAE" not in card


def test_a_folder_is_replaced_where_the_system_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    monkeypatch.setattr(swap, "_exchange", lambda one, other: False)
    swap.put_in_place(tmp_path / "new", tmp_path / "place")
    assert (tmp_path / "place" / "file").read_text() == "new" and (tmp_path / "new" / "file").read_text() == "place"
    assert {p.name for p in tmp_path.iterdir()} == {"new", "place"}


def test_a_calibration_outlives_another_export_of_the_same_model_only(tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    manifest = export_bundle(ENCODER, "nano", bundle)
    assert manifest.calibration is None
    fitted = replace(FAKE_CALIBRATION, mean=(0.5,) * manifest.spec.dim)
    record_calibration(bundle, manifest.fingerprint, fitted)
    assert export_bundle(ENCODER, "nano", bundle).calibration == fitted
    assert export_bundle(nano_encoder(seed=5), "nano", bundle).calibration is None
    with pytest.raises(BundleError, match="replaced by another model"):
        record_calibration(bundle, manifest.fingerprint, fitted)
