"""Dynamic batching: pixels that wait when the engine is free go through it together.

A thread of its own runs the engine. While it computes, callers decode and queue, so that a busy server fills its
batches. A free engine waits a moment for callers who are decoding, and not at all when nobody is. Cancelled callers are
dropped before they cost anything. Whoever is in the queue is served in order; how many may be is for the pipeline to
say. Knows no media.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...errors import Overloaded
from ...export.engine import Engine


@dataclass(frozen=True)
class EmbedResult:
    """Vectors (N, D) float32 of unit length, and the seconds spent in the queue and in the engine."""

    vectors: NDArray[np.float32]
    queue_seconds: float
    engine_seconds: float


@dataclass(frozen=True)
class _Pending:
    pixels: NDArray[np.uint8]
    cancelled: threading.Event | None
    result: "Future[EmbedResult]" = field(default_factory=Future)
    since: float = field(default_factory=perf_counter)


class Batcher:
    """Runs the engine from `with` to the end of it.

    wait_seconds  longest wait of a free engine for callers who are decoding
    on_batch      is called after each batch with its pictures, its callers, and its seconds in the engine
    """

    def __init__(
        self,
        engine: Engine,
        wait_seconds: float = 0.002,
        on_batch: Callable[[int, int, float], None] = lambda pictures, callers, seconds: None,
    ) -> None:
        self.engine = engine
        self.wait_seconds = wait_seconds
        self.on_batch = on_batch
        self._queue: deque[_Pending] = deque()
        self._expected = 0
        self._closed = False
        self._condition = threading.Condition()
        self._engine_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Callers in the queue."""
        return len(self._queue)

    def submit(self, pixels: NDArray[np.uint8], cancelled: threading.Event | None = None) -> "Future[EmbedResult]":
        """pixels (N, S, S, 3) uint8 -> a future; cancelled when `cancelled` is set before the engine is free.

        What the engine raises is raised to all of its batch. Overloaded once the batcher is closed.
        """
        pending = _Pending(pixels, cancelled)
        with self._condition:
            if self._closed:
                raise Overloaded("The server is stopping. Try again when it runs.")
            self._queue.append(pending)
            if len(self._queue) == 1 or self._is_full():
                self._condition.notify()
        return pending.result

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While a caller decodes: the engine may wait a moment for it."""
        with self._condition:
            self._expected += 1
        try:
            yield
        finally:
            with self._condition:
                self._expected -= 1
                if self._queue and not self._expected:
                    self._condition.notify()

    @contextmanager
    def exclusive(self) -> Iterator[Engine]:
        """The engine for one caller alone, between two batches."""
        with self._engine_lock:
            yield self.engine

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._embed(batch)

    def _next_batch(self) -> list[_Pending] | None:
        """Waits for callers -> those of the next batch, in order; None when closed and nobody waits."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return None
            until = self._queue[0].since + self.wait_seconds
            while self._expected and not self._is_full() and not self._closed:
                if (remaining_seconds := until - perf_counter()) <= 0:
                    break
                self._condition.wait(remaining_seconds)
            batch: list[_Pending] = []
            room = self.engine.max_batch
            while self._queue and (not batch or len(self._queue[0].pixels) <= room):
                pending = self._queue.popleft()
                if pending.cancelled is not None and pending.cancelled.is_set():
                    pending.result.cancel()
                    continue
                room -= len(pending.pixels)
                batch.append(pending)
            return batch

    def _is_full(self) -> bool:
        """Whether the queue holds a whole batch."""
        return sum(len(pending.pixels) for pending in self._queue) >= self.engine.max_batch

    def _embed(self, batch: list[_Pending]) -> None:
        with self._engine_lock:
            began = perf_counter()
            try:
                vectors = self.engine.embed(np.concatenate([pending.pixels for pending in batch]))
            except Exception as error:
                # Broad on purpose: whatever broke, its callers get the error, and the next batch runs.
                for pending in batch:
                    pending.result.set_exception(error)
                return
            seconds = perf_counter() - began
        self.on_batch(len(vectors), len(batch), seconds)
        ends = np.cumsum([len(pending.pixels) for pending in batch])
        for pending, own in zip(batch, np.split(vectors, ends[:-1]), strict=True):
            pending.result.set_result(EmbedResult(own, began - pending.since, seconds))
