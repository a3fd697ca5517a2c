"""Thumbnails already made, newest kept, bounded in bytes. Thread-safe; knows no files and no formats."""

from collections import OrderedDict
from threading import Lock

Key = tuple[str, float, int]  # sha256 of the file, seconds, longest side


class ThumbnailCache:
    """An LRU of JPEGs."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self.max_bytes = max_bytes
        self._held = 0
        self._pictures: OrderedDict[Key, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key) -> bytes | None:
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
            return self._pictures.get(key)

    def put(self, key: Key, jpeg: bytes) -> None:
        with self._lock:
            self._held += len(jpeg) - len(self._pictures.pop(key, b""))
            self._pictures[key] = jpeg
            while self._held > self.max_bytes:
                _, oldest = self._pictures.popitem(last=False)
                self._held -= len(oldest)
