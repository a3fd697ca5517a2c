"""One request's trip from bytes to vectors, timed at each station.

A trip runs in a worker thread: it decodes, waits for the engine (one batch at a time), embeds. Only so many
may be under way or waiting; the next one is told to come back. Knows no HTTP and no collections.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal, TypeVar, get_args

import numpy as np
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from ..errors import Overloaded
from ..export.engine import Engine
from ..index.explain import SHOWN_SIDE, Explanation, explain
from ..index.query import Decoded, decode, decode_moment, mirrored
from ..index.reading import informativeness
from ..media.decoding import HERE, Decoder
from ..media.limits import MediaLimits
from ..media.preprocess import enough_side
from ..media.reader import MediaInfo, Source

T = TypeVar("T")
Station = Literal["decode_ms", "queue_ms", "engine_ms", "index_ms", "refine_ms"]
STATIONS: tuple[Station, ...] = get_args(Station)


@dataclass
class Trip:
    """Where one request's time went, in milliseconds a station."""

    timing: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STATIONS, 0.0))

    @contextmanager
    def at(self, station: Station) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.timing[station] = round(self.timing[station] + (perf_counter() - began) * 1000, 3)


@dataclass(frozen=True)
class Embedded:
    """A file as vectors (T, D) float32 of unit length, of frames shown at seconds (T,) float64.

    informative  (T,) float32 in 0..1, near 0 for black and flat frames
    picture      (P, P, 3) uint8, the only frame in the size of index.refine; None for a clip
    mirrored     (T, D) float32 of a clip's frames with left and right exchanged, where they were asked for
    """

    info: MediaInfo
    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    picture: NDArray[np.uint8] | None
    mirrored: NDArray[np.float32] | None = None

    @property
    def clip(self) -> NDArray[np.float32]:
        """One vector for the whole: the normalised mean of its frames' vectors. (D,) float32."""
        mean = self.vectors.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


class Pipeline:
    """Runs trips. One engine, a few decoding threads, a bounded number of trips."""

    def __init__(
        self,
        engine: Engine,
        limits: MediaLimits,
        *,
        frames_per_second: float,
        max_query_seconds: float,
        max_trips: int,
        decoder: Decoder = HERE,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.decoder = decoder
        self.frames_per_second = frames_per_second
        self.max_query_seconds = max_query_seconds
        self.max_trips = max_trips
        self._trips = 0
        self._threads = CapacityLimiter(max(4, os.cpu_count() or 1))
        self._engine_turn = threading.Lock()

    async def run(self, work: Callable[[Trip], T]) -> T:
        """work(trip) in a worker thread. Overloaded when max_trips are already under way."""
        if self._trips >= self.max_trips:
            raise Overloaded(
                f"The server already works on {self.max_trips} requests (max_queue). Try again in a moment.",
                retry_after_seconds=2.0,
            )
        self._trips += 1
        trip = Trip()
        queued = perf_counter()

        def timed() -> T:
            trip.timing["queue_ms"] += round((perf_counter() - queued) * 1000, 3)
            return work(trip)

        try:
            return await to_thread.run_sync(timed, limiter=self._threads)
        finally:
            self._trips -= 1

    def embed_query(
        self,
        source: Source,
        trip: Trip,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        as_clip: bool = False,
    ) -> Embedded:
        """A picture or a short clip (or a part of a film) as vectors of its frames. Call it inside a trip.

        as_clip: frames of a video are embedded mirrored as well, so that a mirrored copy can be found.
        """
        with trip.at("decode_ms"):
            decoded = self._decode(source, start_seconds or 0.0, end_seconds)
        if not as_clip or decoded.info.kind != "video":
            return next(self._embed_all([decoded], trip))
        turned = replace(decoded, pixels=mirrored(decoded.pixels))
        embedded, other = self._embed_all([decoded, turned], trip)
        return replace(embedded, mirrored=other.vectors)

    def embed_moment(self, source: Source, seconds: float, trip: Trip) -> Embedded:
        """The one frame shown at that second; a picture is itself at any second. Call it inside a trip."""
        with trip.at("decode_ms"):
            decoded = decode_moment(source, self.engine.spec, seconds, self.limits, self.decoder)
        return next(self._embed_all([decoded], trip))

    def embed_many(self, sources: Iterable[Source], trip: Trip) -> Iterator[Embedded]:
        """Each source as vectors, in order; small ones share batches of the engine. Call it inside a trip."""
        waiting: list[Decoded] = []
        for source in sources:
            with trip.at("decode_ms"):
                waiting.append(self._decode(source, 0.0, None))
            if sum(len(decoded.pixels) for decoded in waiting) >= self.engine.max_batch:
                yield from self._embed_all(waiting, trip)
                waiting = []
        if waiting:
            yield from self._embed_all(waiting, trip)

    def explain(self, query: Source, query_seconds: float, hit: Source, hit_seconds: float, trip: Trip) -> Explanation:
        """Why the frames shown at those seconds are alike; a picture is itself at any. Call it inside a trip."""
        side = max(SHOWN_SIDE, enough_side(self.engine.spec))
        with trip.at("decode_ms"):
            # Half a millisecond on, so that a second that was rounded down does not name the frame before.
            frames = [
                self.decoder.frame_at(source, seconds + 0.0005, self.limits, side)
                for source, seconds in ((query, query_seconds), (hit, hit_seconds))
            ]
        with self._engine_to_itself(trip), trip.at("engine_ms"):
            return explain(self.engine, *frames)

    def _embed_all(self, waiting: list[Decoded], trip: Trip) -> Iterator[Embedded]:
        """All of them in one call of the engine, one caller at a time."""
        pixels = np.concatenate([decoded.pixels for decoded in waiting])
        with self._engine_to_itself(trip), trip.at("engine_ms"):
            vectors = self.engine.embed(pixels)
        ends = np.cumsum([len(decoded.pixels) for decoded in waiting])
        for decoded, own in zip(waiting, np.split(vectors, ends[:-1]), strict=True):
            yield Embedded(decoded.info, own, decoded.seconds, informativeness(decoded.pixels), decoded.picture)

    @contextmanager
    def _engine_to_itself(self, trip: Trip) -> Iterator[None]:
        with trip.at("queue_ms"):
            self._engine_turn.acquire()
        try:
            yield
        finally:
            self._engine_turn.release()

    def _decode(self, source: Source, start_seconds: float, end_seconds: float | None) -> Decoded:
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
        )
