"""From one request's media to vectors, timed stage by stage.

A request runs in a worker thread: it decodes, and queues for the engine (batcher.py), where requests share batches. Its
next file is decoded meanwhile. The number of requests that run or wait is bounded; one more is refused (Overloaded),
and one whose client disconnects ends at its next stage. Knows no HTTP and no collections.
"""

import asyncio
import contextvars
import itertools
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import Overloaded, naming
from ...export.explanation import SHOWN_SIDE, Explanation, explain
from ...index.search import Decoded, Stage, Tools, decode
from ...media.decoding import HERE, Decoder
from ...media.frames import Frames, Picture
from ...media.informativeness import informativeness
from ...media.limits import MediaLimits
from ...media.preprocess import enough_side
from ...media.reader import MediaInfo, Source
from .batcher import Batcher, EmbedResult
from .request_context import ClientDisconnected, RequestContext

T = TypeVar("T")
MIN_THREADS = 8  # a request mostly waits for a decoding process or for the engine
PREFETCH = 8  # files of one request that are decoded before their turn


@dataclass(frozen=True)
class Embedded:
    """A file as vectors (T, D) float32 of unit length, of frames shown at seconds (T,) float64.

    pixels       (T, S, S, 3) uint8 that they were made of
    """

    info: MediaInfo
    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    pixels: NDArray[np.uint8]

    @property
    def clip(self) -> NDArray[np.float32]:
        """One vector for the whole: the normalised mean of its frames' vectors. (D,) float32."""
        mean = self.vectors.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)

    @property
    def informative(self) -> NDArray[np.float32]:
        """(T,) float32 in 0..1, near 0 for black and flat frames. Computed when asked: as dear as reading a header."""
        return informativeness(self.pixels)


class Pipeline:
    """Runs requests: one engine behind a batcher, a few decoding threads, a bounded number of requests.

    frames_per_second  sampled from a clip
    max_query_seconds  longest clip accepted
    max_requests       as many may run or wait at once
    verify_budget_seconds  after which a search looks at no further picture
    on_done            is called with the context of every request that ended well
    """

    def __init__(
        self,
        batcher: Batcher,
        limits: MediaLimits,
        *,
        frames_per_second: float,
        max_query_seconds: float,
        max_requests: int,
        decoder: Decoder = HERE,
        verify_budget_seconds: float = 5.0,
        on_done: Callable[[RequestContext], None] = lambda context: None,
    ) -> None:
        self.batcher = batcher
        self.engine = batcher.engine
        self.limits = limits
        self.decoder = decoder
        self._tools = Tools(
            limits=limits,
            decoder=decoder,
            frames_per_second=frames_per_second,
            max_query_seconds=max_query_seconds,
            calibration=batcher.engine.calibration,
            verify_budget_seconds=verify_budget_seconds,
        )
        self.max_requests = max_requests
        self.on_done = on_done
        self.active = 0
        self._threads = ThreadPoolExecutor(max(MIN_THREADS, 2 * (os.cpu_count() or 1)), "request")
        self._decoders = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "decode")

    def close(self) -> None:
        """Waits for the running requests; nothing is decoded afterwards."""
        self._threads.shutdown()
        self._decoders.shutdown()

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return self.active >= self.max_requests

    def overload(self) -> Overloaded:
        """The error that a request gets while the pipeline is full."""
        return Overloaded(
            f"The server already works on {self.max_requests} requests (max_queue). Try again in a moment."
        )

    async def run(
        self, work: Callable[[RequestContext], T], disconnected: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """work(context) in a worker thread. Overloaded when max_requests run or wait already.

        disconnected  returns when the client is gone: the request then ends at its next stage with ClientDisconnected
        """
        if self.is_full:
            raise self.overload()
        self.active += 1
        context = RequestContext()
        queued = perf_counter()

        def timed() -> T:
            context.add("queue_ms", perf_counter() - queued)
            context.check()
            return work(context)

        async def watch() -> None:
            assert disconnected is not None
            await disconnected()
            context.cancelled.set()

        watching = None if disconnected is None else asyncio.ensure_future(watch())
        try:
            variables = contextvars.copy_context()  # the request's ids, for log lines
            result = await asyncio.get_running_loop().run_in_executor(self._threads, variables.run, timed)
        finally:
            self.active -= 1
            if watching is not None:
                watching.cancel()
        self.on_done(context)
        return result

    def tools(self, context: RequestContext) -> Tools:
        """What a search works with inside `run`: its stages are timed, its pixels wait for the engine like others."""

        @contextmanager
        def stage(name: Stage) -> Iterator[None]:
            with context.stage(name), self.batcher.expecting() if name == "decode_ms" else nullcontext():
                yield

        def embed(batches: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
            answers = [self.batcher.submit(pixels, context.cancelled) for pixels in batches]
            return [self._arrived(answer, context) for answer in answers]

        return replace(self._tools, embed=embed, stage=stage)

    def embed_many(self, sources: Iterable[tuple[str, Source]], context: RequestContext) -> Iterator[Embedded]:
        """Each source as vectors, in order; an error names the field that the source came with. Runs inside `run`.

        A few files are decoded at the same time, and go on being decoded while the engine works on those before; one
        alone needs no thread beside this one.
        """
        rest = iter(sources)
        first = list(itertools.islice(rest, 2))
        if len(first) == 1:
            with context.stage("decode_ms"), self.batcher.expecting():
                decoded = self._decode_field(*first[0])
            yield self._embedded(decoded, self.batcher.submit(decoded.pixels, context.cancelled), context)
            return
        rest = itertools.chain(first, rest)
        decoding: deque[Future[tuple[Decoded, float]]] = deque()
        embedding: deque[tuple[Decoded, Future[EmbedResult]]] = deque()
        try:
            while True:
                decoding.extend(self._start_decoding(rest, PREFETCH - len(decoding)))
                if not decoding:
                    break
                decoded, seconds = decoding.popleft().result()
                context.add("decode_ms", seconds)
                context.check()
                embedding.append((decoded, self.batcher.submit(decoded.pixels, context.cancelled)))
                while sum(len(each.pixels) for each, _ in embedding) > 2 * self.engine.max_batch:
                    yield self._embedded(*embedding.popleft(), context)
            while embedding:
                yield self._embedded(*embedding.popleft(), context)
        finally:
            for started in decoding:
                started.cancel()

    def _start_decoding(
        self, sources: Iterator[tuple[str, Source]], count: int
    ) -> Iterator["Future[tuple[Decoded, float]]"]:
        def timed(field: str, source: Source) -> tuple[Decoded, float]:
            began = perf_counter()
            with self.batcher.expecting():
                return self._decode_field(field, source), perf_counter() - began

        for field, source in itertools.islice(sources, count):
            yield self._decoders.submit(timed, field, source)

    def picture_at(self, source: Source, seconds: float, context: RequestContext) -> Picture:
        """The picture shown at that second, as large as explain() needs it. Runs inside `run`."""
        with context.stage("decode_ms"):
            # Half a millisecond on, so that a second that was rounded down does not name the frame before.
            side = max(SHOWN_SIDE, enough_side(self.engine.spec))
            picture: Picture = self.decoder.frame_at(source, seconds + 0.0005, self.limits, side).data[0]
        context.check()
        return picture

    def explain(self, query: Picture, hit: Picture, context: RequestContext) -> Explanation:
        """Why two pictures (H, W, 3) are alike. Runs inside `run`."""
        frames = [Frames(picture[None], np.zeros(1)) for picture in (query, hit)]
        queued = perf_counter()
        with self.batcher.exclusive() as engine:
            context.add("queue_ms", perf_counter() - queued)
            with context.stage("engine_ms"):
                return explain(engine, *frames)

    def _embedded(self, decoded: Decoded, answer: "Future[EmbedResult]", context: RequestContext) -> Embedded:
        return Embedded(decoded.info, self._arrived(answer, context), decoded.seconds, decoded.pixels)

    def _arrived(self, answer: "Future[EmbedResult]", context: RequestContext) -> NDArray[np.float32]:
        """What the engine made of pixels, waited for."""
        try:
            found = answer.result()
        except CancelledError as error:
            raise ClientDisconnected from error
        context.add("queue_ms", found.queue_seconds)
        context.add("engine_ms", found.engine_seconds)
        return found.vectors

    def _decode_field(self, field: str, source: Source) -> Decoded:
        """At most max_query_seconds of a file, at the pipeline's frames per second. Errors name the request's field."""
        with naming(field):
            return decode(source, self.engine.spec, self._tools)
