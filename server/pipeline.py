"""One request's trip from bytes to vectors, timed at each station.

A trip runs in a worker thread: it decodes, and lines up for the engine (batcher.py), where it meets others. Its next
file is decoded meanwhile. Only so many trips may be under way or waiting; the next one is told to come back, and one
whose caller left ends at its next station. Knows no HTTP and no collections.
"""

import asyncio
import contextvars
import itertools
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import Overloaded
from ..export.explanation import SHOWN_SIDE, Explanation, explain
from ..index.ingest.reader import informativeness
from ..index.search.query import Decoded, decode, decode_moment, mirrored
from ..index.search.rerank import PICTURE
from ..media.decoding import HERE, Decoder
from ..media.limits import MediaLimits
from ..media.preprocess import enough_side
from ..media.reader import MediaInfo, Source
from ..media.spec import InputSpec
from .batcher import Answer, Batcher

T = TypeVar("T")
Station = Literal["decode_ms", "queue_ms", "engine_ms", "index_ms", "refine_ms"]
THREADS = 8  # trips in threads at least; most of a trip is waiting for a decoder's process or the engine
AHEAD = 8  # files of one trip that are decoded before their turn
STATIONS: tuple[Station, ...] = get_args(Station)


class Departed(Exception):
    """The caller of a trip is gone: nobody waits for its end."""


@dataclass
class Trip:
    """Where one request's time went, in milliseconds a station; `left` is set when its caller is gone.

    Files of one trip are decoded at the same time: decode_ms may be more than the trip took.
    """

    timing: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STATIONS, 0.0))
    left: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at(self, station: Station) -> Iterator[None]:
        """Times what is done at a station. Departed when the caller is gone before."""
        self.check()
        began = perf_counter()
        try:
            yield
        finally:
            self.add(station, perf_counter() - began)

    def add(self, station: Station, seconds: float) -> None:
        self.timing[station] = round(self.timing[station] + seconds * 1000, 3)

    def check(self) -> None:
        if self.left.is_set():
            raise Departed


@dataclass(frozen=True)
class Embedded:
    """A file as vectors (T, D) float32 of unit length, of frames shown at seconds (T,) float64.

    pixels       (T, S, S, 3) uint8 that they were made of
    picture      (P, P, 3) uint8, the only frame in the size of index.refine; None for a clip and in embed_many
    mirrored     (T, D) float32 of a clip's frames with left and right exchanged, where they were asked for
    inset        (T, D) float32 of a film that runs within a clip's frames, where it was asked for and there is one
    """

    info: MediaInfo
    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    pixels: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None
    mirrored: NDArray[np.float32] | None = None
    inset: NDArray[np.float32] | None = None

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
    """Runs trips. One engine behind a batcher, a few decoding threads, a bounded number of trips."""

    def __init__(
        self,
        batcher: Batcher,
        limits: MediaLimits,
        *,
        frames_per_second: float,
        max_query_seconds: float,
        max_trips: int,
        decoder: Decoder = HERE,
        on_trip: Callable[[Trip], None] = lambda trip: None,
    ) -> None:
        """on_trip is handed every trip that ended well."""
        self.batcher = batcher
        self.engine = batcher.engine
        self.limits = limits
        self.decoder = decoder
        self.frames_per_second = frames_per_second
        self.max_query_seconds = max_query_seconds
        self.max_trips = max_trips
        self.on_trip = on_trip
        self.under_way = 0
        self._threads = ThreadPoolExecutor(max(THREADS, 2 * (os.cpu_count() or 1)), "trip")
        self._decoders = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "decode")

    def close(self) -> None:
        """Decodes nothing more; trips under way end first."""
        self._threads.shutdown()
        self._decoders.shutdown()

    @property
    def is_full(self) -> bool:
        """Whether the next trip would be refused."""
        return self.under_way >= self.max_trips

    def refusal(self) -> Overloaded:
        return Overloaded(f"The server already works on {self.max_trips} requests (max_queue). Try again in a moment.")

    async def run(self, work: Callable[[Trip], T], departure: Callable[[], Awaitable[None]] | None = None) -> T:
        """work(trip) in a worker thread. Overloaded when max_trips are already under way.

        departure  ends when the caller is gone: then the trip ends at its next station, with Departed
        """
        if self.is_full:
            raise self.refusal()
        self.under_way += 1
        trip = Trip()
        queued = perf_counter()

        def timed() -> T:
            trip.add("queue_ms", perf_counter() - queued)
            trip.check()
            return work(trip)

        async def watch() -> None:
            assert departure is not None
            await departure()
            trip.left.set()

        watching = None if departure is None else asyncio.ensure_future(watch())
        try:
            here = contextvars.copy_context()  # what a log line says of its request
            done = await asyncio.get_running_loop().run_in_executor(self._threads, here.run, timed)
        finally:
            self.under_way -= 1
            if watching is not None:
                watching.cancel()
        self.on_trip(trip)
        return done

    def embed_query(
        self,
        source: Source,
        trip: Trip,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        as_clip: bool = False,
        finer: InputSpec | None = PICTURE,
    ) -> Embedded:
        """A picture or a short clip (or a part of a film) as vectors of its frames. Call it inside a trip.

        finer: the size of `picture`; None where nobody looks at it.
        as_clip: frames of a video are embedded mirrored as well, so that a mirrored copy can be found, and so is a film
        that runs within them.
        """
        with trip.at("decode_ms"), self.batcher.coming():
            decoded = self._decode(source, start_seconds or 0.0, end_seconds, finer, as_clip)
        if not as_clip or decoded.info.kind != "video":
            return self._embedded(decoded, trip)
        ways = [decoded.pixels, mirrored(decoded.pixels), decoded.inset]
        answers = [self.batcher.submit(pixels, trip.left) for pixels in ways if pixels is not None]
        embedded, turned, *within = [self._arrived(decoded, answer, trip) for answer in answers]
        inset = within[0].vectors if within else None
        return replace(embedded, mirrored=turned.vectors, inset=inset)

    def embed_moment(self, source: Source, seconds: float, trip: Trip) -> Embedded:
        """The one frame shown at that second; a picture is itself at any second. Call it inside a trip."""
        with trip.at("decode_ms"), self.batcher.coming():
            decoded = decode_moment(source, self.engine.spec, seconds, self.limits, self.decoder)
        return self._embedded(decoded, trip)

    def embed_many(self, sources: Iterable[Source], trip: Trip) -> Iterator[Embedded]:
        """Each source as vectors, in order. Call it inside a trip.

        A few files are decoded at the same time, and go on being decoded while the engine works on those before; one
        alone needs no thread beside this one.
        """
        rest = iter(sources)
        first = list(itertools.islice(rest, 2))
        if len(first) == 1:
            with trip.at("decode_ms"), self.batcher.coming():
                decoded = self._decode(first[0], 0.0, None)
            yield self._embedded(decoded, trip)
            return
        rest = itertools.chain(first, rest)
        decoding: deque[Future[tuple[Decoded, float]]] = deque()
        embedding: deque[tuple[Decoded, Future[Answer]]] = deque()
        try:
            while True:
                decoding.extend(self._start_decoding(rest, AHEAD - len(decoding)))
                if not decoding:
                    break
                decoded, seconds = decoding.popleft().result()
                trip.add("decode_ms", seconds)
                trip.check()
                embedding.append((decoded, self.batcher.submit(decoded.pixels, trip.left)))
                while sum(len(each.pixels) for each, _ in embedding) > 2 * self.engine.max_batch:
                    yield self._arrived(*embedding.popleft(), trip)
            while embedding:
                yield self._arrived(*embedding.popleft(), trip)
        finally:
            for started in decoding:
                started.cancel()

    def _start_decoding(self, sources: Iterator[Source], count: int) -> Iterator["Future[tuple[Decoded, float]]"]:
        def timed(source: Source) -> tuple[Decoded, float]:
            began = perf_counter()
            with self.batcher.coming():
                return self._decode(source, 0.0, None), perf_counter() - began

        for source in itertools.islice(sources, count):
            yield self._decoders.submit(timed, source)

    def explain(self, query: Source, query_seconds: float, hit: Source, hit_seconds: float, trip: Trip) -> Explanation:
        """Why the frames shown at those seconds are alike; a picture is itself at any. Call it inside a trip."""
        side = max(SHOWN_SIDE, enough_side(self.engine.spec))
        with trip.at("decode_ms"):
            # Half a millisecond on, so that a second that was rounded down does not name the frame before.
            frames = [
                self.decoder.frame_at(source, seconds + 0.0005, self.limits, side)
                for source, seconds in ((query, query_seconds), (hit, hit_seconds))
            ]
        trip.check()
        queued = perf_counter()
        with self.batcher.alone() as engine:
            trip.add("queue_ms", perf_counter() - queued)
            with trip.at("engine_ms"):
                return explain(engine, *frames)

    def _embedded(self, decoded: Decoded, trip: Trip) -> Embedded:
        return self._arrived(decoded, self.batcher.submit(decoded.pixels, trip.left), trip)

    def _arrived(self, decoded: Decoded, answer: "Future[Answer]", trip: Trip) -> Embedded:
        """What the engine made of a file, waited for."""
        try:
            found = answer.result()
        except CancelledError as error:
            raise Departed from error
        trip.add("queue_ms", found.queue_seconds)
        trip.add("engine_ms", found.engine_seconds)
        return Embedded(decoded.info, found.vectors, decoded.seconds, decoded.pixels, decoded.picture)

    def _decode(
        self,
        source: Source,
        start_seconds: float,
        end_seconds: float | None,
        finer: InputSpec | None = None,
        look_within: bool = False,
    ) -> Decoded:
        """At most max_query_seconds of a file, at the pipeline's frames per second."""
        return decode(
            source,
            self.engine.spec,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            frames_per_second=self.frames_per_second,
            max_query_seconds=self.max_query_seconds,
            limits=self.limits,
            decoder=self.decoder,
            finer=finer,
            look_within=look_within,
        )
