"""One cache for all that is dear to make again and differs in size: bounded in bytes, what was asked for last stays."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """The values used last, of at most `max_bytes` together as `size` counts them. Any thread may use it."""

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self.max_bytes = max_bytes
        self._size = size
        self._lock = Lock()
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: K) -> V | None:
        """The value; None when it is not (any more) here."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            return held[0]

    def put(self, key: K, value: V) -> None:
        """Keeps it, in the place of those used longest ago; one that is too large by itself is not kept."""
        size = self._size(value)
        with self._lock:
            _, before = self._held.pop(key, (None, 0))
            self._bytes -= before
            if size > self.max_bytes:
                return
            self._held[key] = value, size
            self._bytes += size
            while self._bytes > self.max_bytes:
                _, (_, gone) = self._held.popitem(last=False)
                self._bytes -= gone
