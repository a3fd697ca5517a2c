"""The pipeline of a request: bounded in number, timed in each stage, the same vectors in any company."""

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import anyio
import numpy as np
import pytest
from made_media import write_image, write_video

from vicmae.errors import InvalidRequest, MediaError, Overloaded
from vicmae.export.engine import FakeEngine
from vicmae.media.limits import MediaLimits
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import frame_at
from vicmae.server.inference.batcher import Batcher
from vicmae.server.inference.pipeline import Pipeline
from vicmae.server.inference.request_context import ClientDisconnected, RequestContext


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    with Batcher(FakeEngine(max_batch=4)) as batcher:
        yield batcher


def pipeline(batcher: Batcher, max_requests: int = 8, max_query_seconds: float = 60.0) -> Pipeline:
    return Pipeline(
        batcher,
        MediaLimits(),
        frames_per_second=2.0,
        max_query_seconds=max_query_seconds,
        max_requests=max_requests,
    )


def fields(paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """As a request names its files."""
    return [(f"file[{i}]", path) for i, path in enumerate(paths)]


def test_one_trip_too_many_is_told_to_come_back(batcher: Batcher) -> None:
    line = pipeline(batcher, max_requests=2)
    go = threading.Event()

    async def visit() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(line.run, lambda context: go.wait(10))
            await anyio.sleep(0.05)
            with pytest.raises(Overloaded) as refused:
                await line.run(lambda context: None)
            assert refused.value.retry_after_seconds > 0
            go.set()
        assert await line.run(lambda context: "room again") == "room again"

    anyio.run(visit)


def test_a_failed_trip_gives_its_room_back(batcher: Batcher) -> None:
    line = pipeline(batcher, max_requests=1)

    def fail(context: RequestContext) -> None:
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
    together = list(line.embed_many(fields(paths), RequestContext()))
    for path, embedded in zip(paths, together, strict=True):
        (alone,) = line.embed_many(fields([path]), RequestContext())
        np.testing.assert_allclose(embedded.vectors, alone.vectors, atol=1e-6)
        np.testing.assert_array_equal(embedded.seconds, alone.seconds)
        assert embedded.informative.shape == embedded.seconds.shape
        assert np.linalg.norm(embedded.clip) == pytest.approx(1, abs=1e-5)


def test_every_stage_is_timed(tmp_path: Path, batcher: Batcher) -> None:
    context = RequestContext()
    list(pipeline(batcher).embed_many(fields([write_image(tmp_path / "a.png", 1)]), context))
    assert context.timing["decode_ms"] > 0 and context.timing["engine_ms"] > 0 and context.timing["index_ms"] == 0


def test_a_request_whose_caller_left_ends_at_its_next_stage(tmp_path: Path, batcher: Batcher) -> None:
    line, picture = pipeline(batcher, max_requests=1), write_image(tmp_path / "a.png", 1)
    began, gone = threading.Event(), threading.Event()

    def work(context: RequestContext) -> None:
        began.set()
        assert gone.wait(10) and context.cancelled.wait(10)
        list(line.embed_many(fields([picture]), context))

    async def visit() -> None:
        async def disconnected() -> None:
            await anyio.to_thread.run_sync(began.wait)
            gone.set()

        with pytest.raises(ClientDisconnected):
            await line.run(work, disconnected)
        assert not line.is_full

    anyio.run(visit)


def test_one_bad_file_among_many_fails_the_trip_and_nothing_else(tmp_path: Path, batcher: Batcher) -> None:
    line = pipeline(batcher)
    good = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(12)]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"^file\[5\]: "):
        list(line.embed_many(fields([*good[:5], tmp_path / "bad.png", *good[5:]]), RequestContext()))
    assert len(list(line.embed_many(fields(good), RequestContext()))) == 12


def test_a_search_is_timed_and_embedded_by_the_engine_of_all(tmp_path: Path, batcher: Batcher) -> None:
    context, path = RequestContext(), write_image(tmp_path / "a.png", 1)
    tools = pipeline(batcher).tools(context)
    with tools.stage("decode_ms"):
        pixels = to_pixels(frame_at(path, 0.0), batcher.engine.spec)
    one, other = tools.embed([pixels, pixels])
    np.testing.assert_allclose(one, batcher.engine.embed(pixels), atol=1e-6)
    np.testing.assert_array_equal(one, other)
    assert context.timing["decode_ms"] > 0 and context.timing["engine_ms"] > 0
