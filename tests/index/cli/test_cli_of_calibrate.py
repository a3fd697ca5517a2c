"""vicmae calibrate: before it hits have no confidence and a line says the command; after it they have one."""

import json
from pathlib import Path

import pytest
from made_runs import runner, write_bundle, write_pictures
from typer.testing import Result

from vicmae.errors import BundleError, InvalidRequest
from vicmae.export.bundle import CARD, MANIFEST, read_manifest
from vicmae.index import cli

run = runner(cli.register)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "media", 44)


def searched(bundle: Path, media: Path, *words: str) -> Result:
    data = bundle.parent / "data"
    run("index", media, "--data", data, "--bundle", bundle)
    asked = ("search", media / "3.png", "--no-verify", "--region", "0,0,1,1")  # not the very bytes, which are certain
    return run(*asked, "--data", data, "--bundle", bundle, *words)


def test_a_bundle_is_calibrated_and_then_searches_have_a_confidence(bundle: Path, media: Path) -> None:
    before = searched(bundle, media)
    assert [line.split()[1] for line in before.stdout.splitlines()[1:]] == ["-"] * 10
    assert before.stderr.count("\n") == before.stderr.count(f"`vicmae calibrate {bundle} MEDIA`") == 1
    hits = json.loads(searched(bundle, media, "--json").stdout)["data"]
    assert {hit["confidence"] for hit in hits} == {None} == {s["confidence"] for hit in hits for s in hit["segments"]}
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)

    told = run("calibrate", bundle, media, "--json")
    written = read_manifest(bundle).calibration
    assert written is not None and written.frame is not None and written.frame.slope > 0 and written.stretch is None
    assert json.loads(told.stdout)["calibration"]["frame"]["slope"] == written.frame.slope
    assert "Fitted to 44 photos and 0 clips" in told.stderr and "too few to fit what concerns clips" in told.stderr
    assert "Fitted on: photos 44, clips 0" in (bundle / CARD).read_text()
    after = searched(bundle, media)
    assert all(line.split()[1].endswith("%") for line in after.stdout.splitlines()[1:])
    assert "calibrate" not in after.stderr


def test_too_little_and_what_is_no_bundle_are_refused(bundle: Path, media: Path, tmp_path: Path) -> None:
    few = write_pictures(tmp_path / "few", 3)
    before = (bundle / MANIFEST).read_text()
    with pytest.raises(InvalidRequest, match="at least 40 pictures of 10 files"):
        run("calibrate", bundle, few)
    with pytest.raises(InvalidRequest, match="no photo and no clip in .*empty"):
        (tmp_path / "empty").mkdir()
        run("calibrate", bundle, tmp_path / "empty")
    with pytest.raises(BundleError, match="is not a bundle"):
        run("calibrate", media, media)
    assert (bundle / MANIFEST).read_text() == before
