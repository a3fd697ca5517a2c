"""vicmae export, embed: what is printed and written, and with which exit code."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_media import write_image, write_text, write_video
from made_runs import nano_encoder, runner, write_bundle, write_pictures
from typer.testing import Result

from vicmae.errors import BundleError, CheckpointError, InvalidRequest
from vicmae.export import cli
from vicmae.export.bundle import read_manifest
from vicmae.export.conversion import make_bundle
from vicmae.export.drift import LIMITS, DriftLimits
from vicmae.export.engine import open_engine
from vicmae.model.checkpoints import save_model

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(cli.register)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    write_image(folder / "a.png", 1)
    write_video(folder / "v.mp4", 2, seconds=2.0)
    write_text(folder / "bad.jpg")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder; exporting copies the graph of the same weights instead of tracing it anew."""
    graph = (bundle / "model.onnx").read_bytes()
    monkeypatch.setattr(make_bundle, "write_onnx", lambda encoder, path, patch_tokens: path.write_bytes(graph))
    step = tmp_path / "run" / "step-00000002"
    step.mkdir(parents=True)
    save_model(nano_encoder(), step / "model.safetensors")
    (step.parent / "run.json").write_text(json.dumps({"command": "vicmae pretrain x", "data": "y"}))
    return step.parent


def test_embed_writes_npz(run: Run, bundle: Path, media: Path) -> None:
    result = run("embed", media / "a.png", media / "v.mp4", "-o", "out.npz", "--bundle", bundle, "--fps", 4)
    assert result.stdout == "9 vectors of 32 numbers in out.npz\n"
    with np.load("out.npz") as stored:
        assert stored["uri"].tolist() == [str(media / "a.png")] + [str(media / "v.mp4")] * 8
        assert stored["start_seconds"][:4] == pytest.approx([0, 0, 0.25, 0.5])
        assert np.allclose(np.linalg.norm(stored["vectors"], axis=1), 1, atol=1e-5)


def test_embed_a_clip_is_one_row(run: Run, bundle: Path, media: Path) -> None:
    result = run("embed", media / "v.mp4", "--clip", "-o", "out.parquet", "--bundle", bundle, "--json")
    told = json.loads(result.stdout)
    assert told == {
        "out": "out.parquet",
        "model": "nano",
        "fingerprint": read_manifest(bundle).fingerprint,
        "rows": 1,
        "failed": [],
    }
    assert Path("out.parquet").stat().st_size > 0


def test_embed_prints_json_lines(run: Run, bundle: Path, media: Path) -> None:
    result = run("embed", media / "a.png", media / "v.mp4", "-o", "-", "--bundle", bundle)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["start_seconds"] for line in lines] == pytest.approx([0, 0, 0.5, 1.0, 1.5])
    assert all(list(line) == ["uri", "start_seconds", "vector"] and len(line["vector"]) == 32 for line in lines)


def test_bad_files_end_in_partly_failed_and_only_bad_ones_in_failed(run: Run, bundle: Path, media: Path) -> None:
    words = ("-o", "out.npz", "--bundle", bundle, "--json")
    told = json.loads(run("embed", media / "a.png", media / "bad.jpg", "none.png", *words, code=3).stdout)
    assert told["rows"] == 1
    assert [failure["path"] for failure in told["failed"]] == [str(media / "bad.jpg"), "none.png"]
    assert all(failure["reason"].endswith(".") for failure in told["failed"])
    told = json.loads(run("embed", media / "bad.jpg", *words, code=1).stdout)
    assert told["rows"] == 0 and len(told["failed"]) == 1


def test_a_wrong_output_is_refused_before_anything_is_embedded(
    run: Run, bundle: Path, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vicmae.export.embed.embed_files", lambda *_: pytest.fail("embedded"))
    for out in ("out.csv", "no/out.npz"):
        with pytest.raises(InvalidRequest, match="-o"):
            run("embed", media / "a.png", "-o", out, "--bundle", bundle)


def test_a_bundle_that_is_none_is_refused(run: Run, media: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        run("embed", media / "a.png", "-o", "out.npz", "--bundle", media)


def test_export_a_run(run: Run, checkpoint: Path, media: Path) -> None:
    result = run("export", checkpoint, "-o", "made", "--pictures", media, "--name", "mine")
    assert result.stdout.startswith("made/model.onnx: mean cosine 1.0")
    assert "over 2 pictures (2 real pictures)" in result.stdout and "bad.jpg" in result.stderr
    manifest = read_manifest(Path("made"))
    assert manifest.name == "mine" and manifest.provenance == {"command": "vicmae pretrain x", "data": "y"}
    assert "vicmae pretrain x" in Path("made/card.md").read_text()


def test_export_tells_json(run: Run, checkpoint: Path) -> None:
    told = json.loads(run("export", checkpoint, "-o", "made", "--json").stdout)
    assert told["bundle"] == "made" and told["fingerprint"] == read_manifest(Path("made")).fingerprint
    assert told["drift"]["model.onnx"]["source"] == "made-up pictures"
    assert read_manifest(Path("made")).name == "made"


def test_facts_may_be_given(run: Run, checkpoint: Path) -> None:
    Path("facts.json").write_text('{"licence": "MIT"}')
    run("export", checkpoint, "-o", "made", "--provenance", "facts.json")
    assert read_manifest(Path("made")).provenance == {"licence": "MIT"}
    for content in ("{", "[]"):
        Path("facts.json").write_text(content)
        with pytest.raises(InvalidRequest, match="facts.json"):
            run("export", checkpoint, "-o", "made", "--provenance", "facts.json")
    with pytest.raises(InvalidRequest, match="There is no file none.json"):
        run("export", checkpoint, "-o", "made", "--provenance", "none.json")


def test_wishes_that_cannot_be_met_are_refused(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="size is 33"):
        run("export", checkpoint, "-o", "made", "--size", 33)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        run("export", "none.pth", "-o", "made")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="no picture or video below"):
        run("export", checkpoint, "-o", "made", "--pictures", "empty")
    write_text(tmp_path / "empty" / "bad.jpg")
    with pytest.raises(InvalidRequest, match="Not one of 1 files below empty can be read"):
        run("export", checkpoint, "-o", "made", "--pictures", "empty")
    assert not Path("made").exists()


def test_precisions_are_written_and_told(run: Run, checkpoint: Path, media: Path) -> None:
    words = ("--precision", "fp16", "--precision", "int8-static", "--calibrate", media)
    told = json.loads(run("export", checkpoint, "-o", "made", *words, "--json").stdout)
    names = ["model.onnx", "model.fp16.onnx", "model.int8-static.onnx"]
    assert list(told["drift"]) == names and told["refused"] == []
    assert list(read_manifest(Path("made")).engines) == names
    lines = run("export", checkpoint, "-o", "made", "--precision", "fp16").stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["made/model.onnx", "made/model.fp16.onnx"]
    assert "top-10 overlap" in lines[1] and "128 pictures (made-up pictures)" in lines[1]


def test_a_precision_that_drifts_is_partly_failed(run: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "fp16", DriftLimits(1.1, 1.1))
    result = run("export", checkpoint, "-o", "made", "--precision", "fp16", "--json", code=3)
    assert json.loads(result.stdout)["refused"] == ["model.fp16.onnx"]
    assert "model.fp16.onnx is not written" in result.stderr
    run("export", checkpoint, "-o", "made", "--precision", "fp16", "--force")
    assert "model.fp16.onnx" in read_manifest(Path("made")).engines


def test_wishes_for_precisions_are_checked_before_anything_is_done(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, why in (
        (("--precision", "fp8"), "fp8 is not known"),
        (("--precision", "fp16", "--precision", "fp16"), "given 2 times"),
        (("--precision", "int8"), "Ask for int8-static"),
        (("--precision", "int8-static"), "--calibrate"),
        (("--precision", "int8-static", "--calibrate", "empty"), "no picture or video below empty"),
    ):
        with pytest.raises(InvalidRequest, match=why):
            run("export", checkpoint, "-o", "made", *words)
    wishes: list[tuple[tuple[object, ...], str]] = [
        (("-o", "made"), "Name a checkpoint, or a model of timm"),
        ((checkpoint, "--timm", "test_vit", "-o", "made"), "one of the two"),
        ((checkpoint,), "--out, or a file to explain"),
        ((checkpoint, "-o", "made", "--explain-drift", "x.onnx"), "--out, or a file to explain"),
        ((checkpoint, "--explain-drift", "x.onnx"), "There is no file x.onnx"),
    ]
    for wish, why in wishes:
        with pytest.raises(InvalidRequest, match=why):
            run("export", *wish)
    assert not Path("made").exists()


def test_a_timm_model_without_weights_makes_a_bundle_that_says_so(run: Run) -> None:
    run("export", "--timm", "test_vit", "--size", 32, "-o", "made")
    manifest = read_manifest(Path("made"))
    assert manifest.provenance == {"trained": False} and manifest.architecture["name"] == "timm/test_vit"
    assert "**Not trained.**" in Path("made/card.md").read_text()
    with open_engine(Path("made"), threads=1) as engine:
        assert engine.spec == manifest.spec and manifest.spec.size == 32


def test_drift_is_explained(run: Run, checkpoint: Path, bundle: Path) -> None:
    result = run("export", checkpoint, "--explain-drift", bundle / "model.onnx")
    assert "blocks.1.mlp.fc2" in result.stdout and "Every layer is within the limits of fp32." in result.stdout
    model = onnx.load(bundle / "model.onnx")
    (weight,) = [t for t in model.graph.initializer if t.name == "blocks.1.attn.qkv.bias"]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + 3, weight.name))
    onnx.save(model, "model.onnx")
    result = run("export", checkpoint, "--explain-drift", "model.onnx")
    assert "The first layer outside the limits of fp32 is blocks.1.attn.qkv." in result.stdout
    told = json.loads(run("export", checkpoint, "--explain-drift", "model.onnx", "--json").stdout)
    assert told["first_bad"] == "blocks.1.attn.qkv" and told["layers"][0]["min_cosine"] > 0.9999


def test_the_help_names_every_wish(run: Run) -> None:
    told = run("export", "--help").stdout
    for word in ("--timm", "--precision", "--calibrate", "--patch-tokens", "--explain-drift", "--force", "--pictures"):
        assert word in told


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_person_at_a_terminal_sees_the_bar(tmp_path: Path, bundle: Path) -> None:
    """Bars are drawn on a terminal only, so nothing else would notice a bar that cannot be drawn."""
    write_pictures(tmp_path / "data" / "train" / "x", 3)
    write_pictures(tmp_path / "data" / "test" / "x", 2)
    shown, terminal = pty.openpty()
    command = [sys.executable, "-m", "vicmae", "evaluate", "knn", str(tmp_path / "data"), "--bundle", str(bundle)]
    with subprocess.Popen(command, stderr=terminal, stdout=subprocess.PIPE, text=True) as process:
        os.close(terminal)
        out, _ = process.communicate()
    drawn = os.read(shown, 100_000).decode()
    os.close(shown)
    assert process.returncode == 0, drawn
    assert "embedding" in drawn and "5/5" in drawn and "Traceback" not in drawn
    assert out == "knn data: 10-NN 1.000 (2 queries, 3 known)\n"
