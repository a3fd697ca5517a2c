"""The frames of long films, kept as they were read: reading an hour of them again costs more than all else in a search.

Bounded in bytes, for all collections of a library together; what was asked for last stays. Knows no catalog: who keeps
a film marks it with what tells that it is still the same.
"""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

LONG_FRAMES = 1000  # of an item, from which it is worth keeping: below, reading takes some milliseconds
MOST_BYTES = 128 * 2**20  # 80 hours at 2 a second of 192 numbers, were none of them folded

Key = tuple[int, str]  # which opened collection, and its item
Mark = tuple[object, ...]


@dataclass(frozen=True)
class Reel:
    """T frames in time order: raw (T rows of D fp16, as the catalog has them), start_seconds, end_seconds (T,) float64,
    informative (T,) float32."""

    raw: bytes
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start_seconds)

    @property
    def nbytes(self) -> int:
        return len(self.raw) + self.start_seconds.nbytes + self.end_seconds.nbytes + self.informative.nbytes


class Reels:
    """The long films that were read last. Any thread may use it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._held: OrderedDict[Key, tuple[Mark, Reel]] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key, mark: Mark) -> Reel | None:
        """The film with that very mark; None: it is not here, or no longer as it was."""
        with self._lock:
            held = self._held.get(key)
            if held is None or held[0] != mark:
                return None
            self._held.move_to_end(key)
            return held[1]

    def put(self, key: Key, mark: Mark, reel: Reel) -> None:
        """Keeps it in the place of those that nobody asked for lately, unless it is too large by itself."""
        if reel.nbytes > self._most_bytes:
            return
        with self._lock:
            self._drop(key)
            self._held[key] = mark, reel
            self._bytes += reel.nbytes
            while self._bytes > self._most_bytes:
                self._drop(next(iter(self._held)))

    def _drop(self, key: Key) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._bytes -= held[1].nbytes
