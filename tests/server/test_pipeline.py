"""The trip of a request: bounded in number, timed at each station, the same vectors in any company."""

import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy as np
import pytest
from made_media import write_image, write_video

from vicmae.errors import InvalidRequest, MediaError, MediaTooLarge, Overloaded
from vicmae.export.engine import FakeEngine
from vicmae.media.limits import MediaLimits
from vicmae.server.batcher import Batcher
from vicmae.server.pipeline import Departed, Pipeline, Trip


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    with Batcher(FakeEngine(max_batch=4)) as batcher:
        yield batcher


def pipeline(batcher: Batcher, max_trips: int = 8, max_query_seconds: float = 60.0) -> Pipeline:
    return Pipeline(
        batcher,
        MediaLimits(),
        frames_per_second=2.0,
        max_query_seconds=max_query_seconds,
        max_trips=max_trips,
    )


def test_one_trip_too_many_is_told_to_come_back(batcher: Batcher) -> None:
    line = pipeline(batcher, max_trips=2)
    go = threading.Event()

    async def visit() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(line.run, lambda trip: go.wait(10))
            await anyio.sleep(0.05)
            with pytest.raises(Overloaded) as refused:
                await line.run(lambda trip: None)
            assert refused.value.retry_after_seconds > 0
            go.set()
        assert await line.run(lambda trip: "room again") == "room again"

    anyio.run(visit)


def test_a_failed_trip_gives_its_room_back(batcher: Batcher) -> None:
    line = pipeline(batcher, max_trips=1)

    def fail(trip: Trip) -> None:
        raise InvalidRequest("no")

    async def visit() -> None:
        for _ in range(3):
            with pytest.raises(InvalidRequest):
                await line.run(fail)

    anyio.run(visit)


def test_company_does_not_change_a_vector(tmp_path: Path, batcher: Batcher) -> None:
    line = pipeline(batcher)
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    paths.insert(1, write_video(tmp_path / "v.mp4", seconds=4))
    together = list(line.embed_many(paths, Trip()))
    for path, embedded in zip(paths, together, strict=True):
        alone = line.embed_query(path, Trip())
        np.testing.assert_allclose(embedded.vectors, alone.vectors, atol=1e-6)
        np.testing.assert_array_equal(embedded.seconds, alone.seconds)
        assert embedded.informative.shape == embedded.seconds.shape
        assert np.linalg.norm(embedded.clip) == pytest.approx(1, abs=1e-5)


def test_a_part_holds_only_its_seconds(tmp_path: Path, batcher: Batcher) -> None:
    embedded = pipeline(batcher).embed_query(write_video(tmp_path / "v.mp4"), Trip(), 2.0, 4.0)
    assert embedded.seconds.min() >= 2 and embedded.seconds.max() < 4 and len(embedded.seconds) == 4


def test_the_length_that_counts_is_that_of_the_part(tmp_path: Path, batcher: Batcher) -> None:
    line, video = pipeline(batcher, max_query_seconds=3.0), write_video(tmp_path / "v.mp4")
    with pytest.raises(MediaTooLarge, match="start_seconds"):
        line.embed_query(video, Trip())
    assert len(line.embed_query(video, Trip(), 1.0, 3.0).seconds) == 4
    assert len(line.embed_query(video, Trip(), 4.0).seconds) == 4


def test_a_moment_is_one_frame(tmp_path: Path, batcher: Batcher) -> None:
    moment = pipeline(batcher, max_query_seconds=1.0).embed_moment(write_video(tmp_path / "v.mp4"), 3.27, Trip())
    assert moment.vectors.shape == (1, 192) and moment.seconds[0] == pytest.approx(3.25, abs=0.01)


def test_every_station_is_timed(tmp_path: Path, batcher: Batcher) -> None:
    trip = Trip()
    pipeline(batcher).embed_query(write_image(tmp_path / "a.png", 1), trip)
    assert trip.timing["decode_ms"] > 0 and trip.timing["engine_ms"] > 0 and trip.timing["index_ms"] == 0


def test_a_trip_whose_caller_left_ends_at_its_next_station(tmp_path: Path, batcher: Batcher) -> None:
    line, picture = pipeline(batcher, max_trips=1), write_image(tmp_path / "a.png", 1)
    began, gone = threading.Event(), threading.Event()

    def work(trip: Trip) -> None:
        began.set()
        assert gone.wait(10) and trip.left.wait(10)
        line.embed_query(picture, trip)

    async def visit() -> None:
        async def departure() -> None:
            await anyio.to_thread.run_sync(began.wait)
            gone.set()

        with pytest.raises(Departed):
            await line.run(work, departure)
        assert not line.is_full

    anyio.run(visit)


def test_one_bad_file_among_many_fails_the_trip_and_nothing_else(tmp_path: Path, batcher: Batcher) -> None:
    line = pipeline(batcher)
    good = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(12)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(MediaError):
        list(line.embed_many([*good[:5], tmp_path / "bad.png", *good[5:]], Trip()))
    assert len(list(line.embed_many(good, Trip()))) == 12
