"""One engine, many callers: what waits when the engine is free goes through it together.

A thread of its own runs the engine. While it computes, callers decode and line up, so a busy server batches by
itself. When the engine is free and somebody is known to come soon (it decodes), it waits for them a moment; when nobody
is, it does not. Callers who left are dropped before they cost anything. How many may line up is the pipeline's affair.
Knows no media.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import Overloaded
from ..export.engine import Engine


@dataclass(frozen=True)
class Answer:
    """Vectors (N, D) float32, and the seconds spent in line and in the engine."""

    vectors: NDArray[np.float32]
    queue_seconds: float
    engine_seconds: float


@dataclass(frozen=True)
class _Ask:
    pixels: NDArray[np.uint8]
    left: threading.Event
    answer: "Future[Answer]" = field(default_factory=Future)
    since: float = field(default_factory=perf_counter)


class Batcher:
    """Runs the engine from `with` to the end of it.

    wait_seconds  longest wait for somebody who is known to come
    on_batch      is told of each batch: its pictures, its callers, and its seconds in the engine
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
        self._line: deque[_Ask] = deque()
        self._coming = 0
        self._closed = False
        self._changed = threading.Condition()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Callers in line."""
        return len(self._line)

    def submit(self, pixels: NDArray[np.uint8], left: threading.Event) -> "Future[Answer]":
        """pixels (N, S, S, 3) uint8 -> a future answer; cancelled when `left` is set before the engine is free.

        What the engine raises is raised to all of its batch. Overloaded once the batcher is closed.
        """
        ask = _Ask(pixels, left)
        with self._changed:
            if self._closed:
                raise Overloaded("The server is stopping. Try again when it runs.")
            self._line.append(ask)
            if len(self._line) == 1 or self._is_full():
                self._changed.notify()
        return ask.answer

    @contextmanager
    def coming(self) -> Iterator[None]:
        """While somebody prepares pixels: the engine may wait a moment for them."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                if self._line and not self._coming:
                    self._changed.notify()

    @contextmanager
    def alone(self) -> Iterator[Engine]:
        """The engine without company, between two batches."""
        with self._turn:
            yield self.engine

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._embed(batch)

    def _next_batch(self) -> list[_Ask] | None:
        """Waits for callers -> those of the next batch, first come first; None when closed and nobody waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closed)
            if not self._line:
                return None
            until = self._line[0].since + self.wait_seconds
            while self._coming and not self._is_full() and not self._closed:
                if (left := until - perf_counter()) <= 0:
                    break
                self._changed.wait(left)
            batch: list[_Ask] = []
            room = self.engine.max_batch
            while self._line and (not batch or len(self._line[0].pixels) <= room):
                ask = self._line.popleft()
                if ask.left.is_set():
                    ask.answer.cancel()
                    continue
                room -= len(ask.pixels)
                batch.append(ask)
            return batch

    def _is_full(self) -> bool:
        """Whether the line holds a whole batch."""
        return sum(len(ask.pixels) for ask in self._line) >= self.engine.max_batch

    def _embed(self, batch: list[_Ask]) -> None:
        with self._turn:
            began = perf_counter()
            try:
                vectors = self.engine.embed(np.concatenate([ask.pixels for ask in batch]))
            except Exception as error:
                # Broad on purpose: whatever broke, it is the callers who must hear of it, and the line goes on.
                for ask in batch:
                    ask.answer.set_exception(error)
                return
            seconds = perf_counter() - began
        self.on_batch(len(vectors), len(batch), seconds)
        ends = np.cumsum([len(ask.pixels) for ask in batch])
        for ask, own in zip(batch, np.split(vectors, ends[:-1]), strict=True):
            ask.answer.set_result(Answer(own, began - ask.since, seconds))
