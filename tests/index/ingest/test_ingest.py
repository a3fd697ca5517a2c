"""vicmae.index.ingest.pipeline: every file ends as an item or with a reason, and is on disk when that is said."""

import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_items import ENGINE
from made_media import picture, write_animation, write_image, write_video
from PIL import Image, ImageDraw

from vicmae.errors import EngineError, InvalidRequest, StorageError
from vicmae.export.engine import FakeEngine
from vicmae.index.catalog.ledger import LedgerRow, read_ledger
from vicmae.index.collection import Collection
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file, ingest_many
from vicmae.index.ingest.reader import Task
from vicmae.index.library import Library
from vicmae.media.decoding import HERE, InProcess
from vicmae.media.frames import Frames
from vicmae.media.informativeness import informativeness
from vicmae.media.limits import MediaLimits
from vicmae.media.sampling import Sampling
from vicmae.settings import load_settings


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fails the test where a file is decoded."""

    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("this file needed no decoding")

    return lambda: monkeypatch.setattr(HERE, "read_frames", refuse)


def only_row(collection: Collection) -> LedgerRow:
    (row,) = read_ledger(collection.catalog).values()
    return row


def test_a_picture_becomes_an_item(collection: Collection, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    outcome = ingest_file(collection, ENGINE, path)
    assert (outcome.state, outcome.frames, outcome.path) == ("added", 1, path)
    item = collection.get(outcome.item_id)
    assert (item.kind, item.mime, item.width, item.height, item.name) == (
        "image",
        "image/png",
        160,
        120,
        "a.png",
    )
    assert (item.uri, item.path, item.duration_seconds) == (path.as_uri(), path, 0)
    moments = collection.moments_of(item.id)
    assert (moments.start_seconds.tolist(), moments.end_seconds.tolist()) == ([0.0], [0.0])
    row = only_row(collection)
    assert (row.state, row.uri, row.item_id, row.size_bytes) == (
        "done",
        item.uri,
        item.id,
        path.stat().st_size,
    )


def test_a_video_becomes_an_item_of_many_moments(collection: Collection, tmp_path: Path) -> None:
    outcome = ingest_file(
        collection, ENGINE, write_video(tmp_path / "a.mp4", 1, 5.0), IngestOptions(frames_per_second=4)
    )
    item = collection.get(outcome.item_id)
    moments = collection.moments_of(item.id)
    assert (item.kind, len(moments.vectors)) == ("video", 20)
    assert np.diff(moments.start_seconds) == pytest.approx(0.25, abs=0.06)
    assert moments.end_seconds[:-1] == pytest.approx(moments.start_seconds[1:])
    assert moments.end_seconds[-1] == pytest.approx(item.duration_seconds)
    assert item.duration_seconds == pytest.approx(5.0, abs=0.1)


def test_a_second_time_nothing_is_decoded(
    collection: Collection, tmp_path: Path, no_decoding: Callable[[], None]
) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 2.0)
    first = ingest_file(collection, ENGINE, path)
    no_decoding()
    os.utime(path, ns=(1, 1))
    again = ingest_file(collection, ENGINE, path)
    assert (again.state, again.item_id, again.frames) == ("unchanged", first.item_id, first.frames)
    assert only_row(collection).mtime_ns == 1


def test_the_same_bytes_elsewhere_are_not_decoded_again(
    collection: Collection, tmp_path: Path, no_decoding: Callable[[], None]
) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 2.0)
    first = ingest_file(collection, ENGINE, path)
    no_decoding()
    twin = ingest_file(collection, ENGINE, Path(shutil.copy(path, tmp_path / "b.mp4")))
    assert twin.state == "added" and twin.item_id != first.item_id
    one, two = collection.moments_of(first.item_id), collection.moments_of(twin.item_id)
    for name in ("vectors", "start_seconds", "end_seconds", "informative"):
        assert (getattr(one, name) == getattr(two, name)).all()
    assert collection.get(twin.item_id).name == "b.mp4"


def test_another_frame_rate_is_decoded_again(collection: Collection, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 2.0)
    first = ingest_file(collection, ENGINE, path, IngestOptions(frames_per_second=2))
    assert len(collection.moments_of(first.item_id).vectors) == 4
    again = ingest_file(collection, ENGINE, path, IngestOptions(frames_per_second=4))
    assert again.state == "updated" and len(collection.moments_of(again.item_id).vectors) == 8
    assert collection.stats()["frames"] == again.frames


def test_another_sampling_is_decoded_again(collection: Collection, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 5.0, gop=30)
    first = ingest_file(collection, ENGINE, path)
    again = ingest_file(collection, ENGINE, path, IngestOptions(sampling="shots"))
    assert (first.state, again.state) == ("added", "updated")
    item = collection.get(again.item_id)
    assert (item.sampling, item.frames, only_row(collection).sampling) == ("shots", 3, "shots")
    assert ingest_file(collection, ENGINE, path, IngestOptions(sampling="shots")).state == "unchanged"


def test_changed_bytes_replace_the_item(collection: Collection, tmp_path: Path) -> None:
    first = ingest_file(collection, ENGINE, Task.of(write_image(tmp_path / "a.png", 1), metadata={"k": 1}))
    second = ingest_file(collection, ENGINE, write_image(tmp_path / "a.png", 2))
    assert (second.state, second.item_id) == ("updated", first.item_id)
    assert collection.get(first.item_id).metadata == {"k": 1}
    assert collection.count() == 1


def test_names_given_by_the_caller_are_kept(collection: Collection, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    outcome = ingest_file(
        collection, ENGINE, Task.of(path, uri="upload:x", name="holiday.png", item_id="mine", metadata={"k": 1})
    )
    item = collection.get("mine")
    assert (outcome.uri, item.uri, item.name, item.metadata) == (
        "upload:x",
        "upload:x",
        "holiday.png",
        {"k": 1},
    )
    with pytest.raises(InvalidRequest):
        ingest_file(collection, ENGINE, Task.of(path, item_id="a/b"))


def test_progress_counts_frames_up_to_all(collection: Collection, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = write_video(tmp_path / "a.mp4", 1, 20.0, fps=5)
    ingest_file(collection, ENGINE, path, on_progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (40, 40)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff\xe0 broken", b"\0" * 5000])
def test_a_bad_file_is_an_outcome_with_a_reason(collection: Collection, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    outcome = ingest_file(collection, ENGINE, path)
    assert (outcome.state, outcome.frames) == ("failed", 0) and outcome.reason
    row = only_row(collection)
    assert (row.state, row.stage, row.reason) == ("failed", outcome.stage, outcome.reason)
    assert collection.count() == 0 and collection.stats()["failed_files"] == 1


def test_missing_files_folders_and_pipes_are_outcomes(collection: Collection, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("none", "pipe", "folder"):
        outcome = ingest_file(collection, ENGINE, tmp_path / name)
        assert (outcome.state, outcome.stage) == ("failed", "read")


def test_a_file_over_a_limit_is_an_outcome(collection: Collection, tmp_path: Path) -> None:
    limits = MediaLimits(max_pixels=100)
    outcome = ingest_file(collection, ENGINE, write_image(tmp_path / "a.png", 1), IngestOptions(limits=limits))
    assert (outcome.state, outcome.stage) == ("failed", "probe") and "max_" in (outcome.reason or "")


@pytest.mark.parametrize("sampling", ["rate", "auto", "keyframes", "shots"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.gif"])
def test_what_is_too_long_or_large_to_be_sent_is_taken_from_disk_and_sampled_thinly(
    collection: Collection, tmp_path: Path, name: str, sampling: Sampling
) -> None:
    limits = MediaLimits(max_bytes=100, max_frames=12, max_duration_seconds=5.0)
    options = IngestOptions(limits=limits, sampling=sampling)
    path = (
        write_animation(tmp_path / name, [*range(20)], 1000)
        if name.endswith("gif")
        else write_video(tmp_path / name, 1, 20.0, fps=5, size=(64, 48))
    )
    outcome = ingest_file(collection, ENGINE, path, options)
    assert outcome.state == "added" and "0." in (outcome.note or "") and "max_frames" in (outcome.note or "")
    item = collection.get(outcome.item_id)
    assert item.note == outcome.note and item.frames_per_second < 1 and item.duration_seconds == pytest.approx(20, 0.1)
    moments = collection.moments_of(item.id)
    assert moments.start_seconds[-1] > 13 and len(moments.vectors) <= 12
    copy = tmp_path / f"copy-{name}"
    copy.write_bytes(path.read_bytes())
    again = ingest_file(collection, ENGINE, copy, options)
    assert (again.state, again.note) == ("added", outcome.note)
    (row,) = [row for row in read_ledger(collection.catalog).values() if row.uri.endswith(f"/{name}")]
    assert row.frames_per_second == options.frames_per_second


def test_a_film_within_the_limits_has_no_note(collection: Collection, tmp_path: Path) -> None:
    outcome = ingest_file(collection, ENGINE, write_video(tmp_path / "a.mp4", 1, 2.0))
    assert outcome.note is None and collection.get(outcome.item_id).frames_per_second == 2.0


def test_a_picture_that_ends_early_is_taken_and_marked(collection: Collection, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg", 1)
    path.write_bytes(path.read_bytes()[:-2])
    outcome = ingest_file(collection, ENGINE, path)
    assert outcome.state == "added" and (outcome.note or "").startswith("Incomplete")
    assert collection.get(outcome.item_id).note == outcome.note
    os.utime(path, (1, 1))
    assert ingest_file(collection, ENGINE, path).note == outcome.note
    mended = ingest_file(collection, ENGINE, write_image(tmp_path / "a.jpg", 1))
    assert (mended.state, mended.note, collection.get(mended.item_id).note) == ("updated", None, None)


def test_a_file_that_grows_while_it_is_read_is_refused(collection: Collection, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 2.0)

    def grow(*_: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    outcome = ingest_file(collection, ENGINE, path, on_progress=grow)
    assert outcome.state == "failed" and "changed while" in (outcome.reason or "")
    assert collection.count() == 0


def test_a_file_that_broke_keeps_its_old_item(collection: Collection, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    item = ingest_file(collection, ENGINE, path)
    path.write_bytes(b"broken")
    assert ingest_file(collection, ENGINE, path).state == "failed"
    assert collection.get(item.item_id)


def test_numbers_that_are_not_finite_are_an_outcome(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ENGINE, "embed", lambda pixels: np.full((len(pixels), ENGINE.spec.dim), np.nan, np.float32))
    outcome = ingest_file(collection, ENGINE, write_image(tmp_path / "a.png", 1))
    assert (outcome.state, outcome.stage) == ("failed", "embed")


def test_black_pictures_inform_little() -> None:
    flat = np.full((1, 32, 32, 3), 7, np.uint8)
    blue = np.zeros((1, 32, 32, 3), np.uint8)
    blue[..., 2] = 255
    busy = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 3), np.uint8)
    assert informativeness(np.concatenate([flat, blue, busy])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(("ground", "letters"), [("black", "white"), ("white", "black")])
def test_credits_inform_less_than_a_scene(ground: str, letters: str) -> None:
    sheet = Image.new("RGB", (640, 360), ground)
    for line in range(9):
        ImageDraw.Draw(sheet).text((200, 20 + 36 * line), f"Second Unit Director  Name {line}", letters, None)
    pixels = np.stack([np.asarray(image.resize((96, 96))) for image in (sheet, picture(1, (640, 360)))])
    credits, scene = informativeness(pixels).tolist()
    assert 0 < credits < 0.3 and scene > 0.9


def test_many_files_each_get_one_outcome(collection: Collection, tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(12)]
    paths += [write_video(tmp_path / f"{seed}.mp4", seed, 3.0, fps=5) for seed in range(3)]
    (tmp_path / "bad.jpg").write_bytes(b"no")
    outcomes = list(ingest_many(collection, ENGINE, [*paths, tmp_path / "bad.jpg"]))
    assert sorted(o.path.name for o in outcomes) == sorted([*(p.name for p in paths), "bad.jpg"])
    assert [o.path.name for o in outcomes if o.state != "added"] == ["bad.jpg"]
    assert collection.count() == 15
    for outcome in outcomes:
        if outcome.state == "added":
            alone = ingest_file(collection, ENGINE, Task.of(outcome.path, uri=f"again:{outcome.uri}"))
            assert alone.frames == outcome.frames
    assert list(ingest_many(collection, ENGINE, [])) == []


def test_many_give_the_same_vectors_as_one(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(5)]
    paths += [write_video(tmp_path / f"{seed}.mp4", seed, 4.0, fps=5) for seed in range(2)]
    engine = FakeEngine(max_batch=3)
    with Library(tmp_path / "data") as library:
        one, many = library.create("one", engine), library.create("many", engine)
        outcomes = list(ingest_many(many, engine, paths))
        for outcome in outcomes:
            ingest_file(one, engine, outcome.path)
            a, b = one.moments_of(outcome.item_id), many.moments_of(outcome.item_id)
            assert (a.vectors == b.vectors).all() and (a.start_seconds == b.start_seconds).all()


class Rendezvous(InProcess):
    """Decodes nothing before `workers` callers decode at once; remembers how many did at most."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers, self.most, self._now = workers, 0, 0
        self._barrier, self._lock = threading.Barrier(workers), threading.Lock()

    def read_frames(self, *arguments: Any, **more: Any) -> Generator[Frames, None, None]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._barrier.wait(30)
        yield from super().read_frames(*arguments, **more)
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_files_are_decoded_at_once_as_the_decoder_has_workers(
    collection: Collection, tmp_path: Path, workers: int
) -> None:
    decoder = Rendezvous(load_settings(decode_workers=workers).sandbox_options["workers"])
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(2 * workers)]
    outcomes = list(ingest_many(collection, ENGINE, paths, IngestOptions(decoder=decoder)))
    assert [outcome.state for outcome in outcomes] == ["added"] * len(paths)
    assert decoder.most == workers


def test_stopping_early_ends_the_threads_and_keeps_what_was_told(collection: Collection, tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(20)]
    before = threading.active_count()
    with closing(ingest_many(collection, ENGINE, paths)) as run:
        told = [next(run) for _ in range(3)]
    assert threading.active_count() == before
    kept = {item.id for item in collection.items()[0]}  # those that were being written are finished too
    assert {outcome.item_id for outcome in told} <= kept and len(kept) < len(paths)


def test_an_engine_that_fails_stops_the_run(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_pixels: object) -> None:
        raise EngineError("The engine is gone.")

    monkeypatch.setattr(ENGINE, "embed", broken)
    before = threading.active_count()
    with pytest.raises(EngineError):
        list(ingest_many(collection, ENGINE, [write_image(tmp_path / f"{i}.png", i) for i in range(9)]))
    assert threading.active_count() == before


def test_storage_that_fails_in_a_thread_stops_the_run(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_sha256: str) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(collection, "find_by_sha256", full)
    with pytest.raises(StorageError):
        list(ingest_many(collection, ENGINE, [write_image(tmp_path / f"{i}.png", i) for i in range(9)]))


def test_a_name_that_is_no_text_is_taken(collection: Collection, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    write_image(tmp_path / "a.png", 1).rename(path)
    outcome = ingest_file(collection, ENGINE, path)
    assert outcome.state == "added"
    assert collection.get(outcome.item_id).name == "caf\ufffd.png"
