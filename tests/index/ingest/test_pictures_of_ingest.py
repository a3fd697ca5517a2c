"""vicmae.index.ingest keeps a picture of every frame that it stores."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_items import ENGINE
from made_media import frame_of, picture, write_animation, write_image, write_video

from vicmae.export.calibration import UNCALIBRATED
from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest import IngestOptions, Task, ingest_file
from vicmae.index.ingest.pipeline import ingest_many
from vicmae.index.library import Library
from vicmae.index.pictures import spool


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


def alike(found: np.ndarray, made: object) -> bool:
    return float(np.abs(found.astype(int) - np.asarray(made, int)).mean()) < 8


def pictures_of(collection: Collection, item_id: str) -> list[np.ndarray]:
    return [picture.pixels() for picture in collection.pictures.all_of(item_id)]


@pytest.mark.parametrize("memory_bytes", [2**20, 100])
def test_a_film_has_a_picture_a_frame(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int
) -> None:
    monkeypatch.setattr(spool, "MEMORY_BYTES", memory_bytes)
    outcome = ingest_file(collection, ENGINE, write_video(tmp_path / "a.mp4", 1, 12.0, 10))
    found = list(collection.pictures.all_of(outcome.item_id))
    assert [each.start_seconds for each in found] == [i / 2 for i in range(24)]
    assert all(alike(each.pixels(), frame_of(1, each.start_seconds, 10)) for each in found)
    assert collection.pictures.faults() == {} and collection.pictures.spare() == 0


def test_a_large_picture_is_kept_small(collection: Collection, tmp_path: Path) -> None:
    outcome = ingest_file(collection, ENGINE, write_image(tmp_path / "a.png", 3, (1400, 900)))
    (found,) = pictures_of(collection, outcome.item_id)
    assert found.shape == (320, 498, 3) and alike(found, picture(3, (1400, 900)).resize((498, 320)))


def test_only_those_of_frames_that_are_stored_stay(collection: Collection, tmp_path: Path) -> None:
    """Frames that share a vector share a picture: that of the first."""
    path = write_animation(tmp_path / "a.gif", [4, 4, 4, 5, 5, 6], 500)
    outcome = ingest_file(collection, ENGINE, path)
    assert collection.get(outcome.item_id).frames == 3
    found = [collection.pictures_at(outcome.item_id, [second])[0] for second in (0.0, 1.2, 1.6, 2.6)]
    assert [(each.start_seconds, each.end_seconds) for each in found if each] == [
        (0.0, 1.5),
        (0.0, 1.5),
        (1.5, 2.5),
        (2.5, 3.0),
    ]
    assert all(each and alike(each.pixels(), picture(seed)) for each, seed in zip(found, (4, 4, 5, 6), strict=True))


def test_the_same_bytes_again_need_no_decoding_and_have_pictures_too(collection: Collection, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 5.0, 10)
    first = ingest_file(collection, ENGINE, path)
    second = ingest_file(collection, ENGINE, Task.of(path, uri="file:///elsewhere", item_id="other"))
    again = ingest_file(collection, ENGINE, Task.of(path, metadata={"new": 1}))
    assert (second.state, again.state) == ("added", "updated")
    one, other = pictures_of(collection, first.item_id), pictures_of(collection, "other")
    assert len(one) == len(other) == 10
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    collection.delete(first.item_id)
    assert len(pictures_of(collection, "other")) == 10 and collection.pictures.spare() == 0


def test_a_twin_without_pictures_gives_none(collection: Collection, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    ingest_file(collection, ENGINE, path, IngestOptions(frame_store=False))
    outcome = ingest_file(collection, ENGINE, Task.of(path, uri="file:///elsewhere", item_id="other"))
    assert outcome.state == "added" and collection.stats()["without_pictures"] == 2


def test_a_twin_whose_pictures_are_lost_gives_none(
    collection: Collection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_image(tmp_path / "a.png", 1)
    ingest_file(collection, ENGINE, path)
    for stored in collection.pictures.files.folder.rglob("*.pictures"):
        stored.unlink()
    assert ingest_file(collection, ENGINE, Task.of(path, uri="file:///elsewhere", item_id="other")).state == "added"
    assert "cannot be copied" in caplog.text and pictures_of(collection, "other") == []


def test_it_can_be_switched_off(collection: Collection, tmp_path: Path) -> None:
    outcome = ingest_file(collection, ENGINE, write_image(tmp_path / "a.png", 1), IngestOptions(frame_store=False))
    assert outcome.state == "added" and collection.pictures_at(outcome.item_id, [0.0]) == [None]
    assert not collection.pictures.files.folder.exists()


def test_what_finds_no_room_is_stored_without(collection: Collection, tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(6)]
    bound = 12_000
    for path in paths:
        assert ingest_file(collection, ENGINE, path, IngestOptions(frame_store_max_bytes=bound)).state == "added"
    stats = collection.stats()
    assert 0 < stats["picture_bytes"] <= bound and 0 < stats["without_pictures"] < 6


def test_a_file_that_breaks_off_leaves_nothing(collection: Collection, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 4.0, 10)
    path.write_bytes(path.read_bytes()[:200])
    assert ingest_file(collection, ENGINE, path).state == "failed"
    assert collection.pictures.total_bytes() == 0 and collection.pictures.spare() == 0


def test_many_files_and_a_run_that_is_stopped(collection: Collection, tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{seed}.mp4", seed, 3.0, 10) for seed in range(5)]
    run = ingest_many(collection, ENGINE, paths)
    next(run)
    run.close()
    assert collection.pictures.faults() == {} and collection.pictures.spare() == 0
    list(ingest_many(collection, ENGINE, paths))
    assert collection.stats()["without_pictures"] == 0 and collection.pictures.faults() == {}


def test_a_twin_that_folds_more_keeps_the_pictures_of_fewer_frames(collection: Collection, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 5.0, 10)
    hardly, often = (FakeEngine(calibration=replace(UNCALIBRATED, folding_cosine=cosine)) for cosine in (1.0, 0.01))
    first = ingest_file(collection, hardly, path)
    other = ingest_file(collection, often, Task.of(path, uri="file:///elsewhere", item_id="other"))
    assert first.frames > other.frames
    assert len(pictures_of(collection, "other")) == other.frames
    assert (pictures_of(collection, "other")[0] == pictures_of(collection, first.item_id)[0]).all()
