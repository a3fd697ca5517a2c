"""The index: nearest vectors by exact search over vector ids, derived from the catalog at any time.

It follows what any process commits to the catalog. It knows vector ids and nothing of items, files or times.
"""

import sqlite3
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from .catalog import Catalog
from .tail import Tail, empty_tail

CHUNK_ROWS = 10_000


def pack_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """vectors (T, D) float32 -> T blobs of D little-endian fp16, each scaled to unit length."""
    return [row.tobytes() for row in unit_length(vectors).astype("<f2")]


def unpack_vectors(blobs: list[bytes], dim: int) -> NDArray[np.float32]:
    """T blobs of D little-endian fp16 -> (T, D) float32, unit length again after the rounding."""
    stored = np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), dim)
    return unit_length(stored.astype(np.float32))


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """vectors (..., D) scaled to length 1; a zero vector stays zero (it is similar to nothing)."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)


class VectorIndex:
    """Nearest vectors of a catalog. Any thread may search while another refreshes."""

    def __init__(self, catalog: Catalog, dim: int) -> None:
        self._catalog = catalog
        self._dim = dim
        self._lock = Lock()
        self._tail = empty_tail(dim)
        self._last_frame = 0
        self._last_removed = 0

    def __len__(self) -> int:
        return len(self._tail)

    def refresh(self) -> None:
        """Takes in what any process has committed since the last call; cheap when that is nothing."""
        with self._lock, self._catalog.read() as db:
            tops = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('frames', 'removed')"))
            last_frame, last_removed = tops.get("frames", 0), tops.get("removed", 0)
            if last_removed > self._last_removed and len(self):
                self._tail = self._tail.minus(self._removed(db))
            if last_frame > self._last_frame:
                self._tail = self._extended(db)
            self._last_frame, self._last_removed = last_frame, last_removed

    def search(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """query (Q, D) float32 unit length -> cosines (Q, k) best first, ids (Q, k); -1: none left.

        allowed: sorted vector ids; only these are answered, k of them whenever k exist.
        """
        if query.ndim != 2 or query.shape[1] != self._dim:
            raise ValueError(f"query must be (Q, {self._dim}), got {query.shape}")
        return self._tail.search(np.ascontiguousarray(query, np.float32), k, allowed)

    def mean(self, sample: int = 2048) -> NDArray[np.float32]:
        """(D,) float32: the mean of an even sample of the vectors held; zeros when there are none."""
        tail = self._tail
        held = np.flatnonzero(tail.alive)
        if len(held) == 0:
            return np.zeros(self._dim, np.float32)
        chosen = held[np.linspace(0, len(held) - 1, min(sample, len(held))).astype(np.int64)]
        return np.asarray(tail.rows[chosen].mean(axis=0), np.float32)

    def _removed(self, db: sqlite3.Connection) -> NDArray[np.int64]:
        rows = db.execute("SELECT vector_id FROM removed WHERE seq > ?", (self._last_removed,))
        return np.fromiter((row[0] for row in rows), np.int64)

    def _extended(self, db: sqlite3.Connection) -> Tail:
        tail = self._tail
        rows = db.execute("SELECT vector_id, vector FROM frames WHERE vector_id > ?", (self._last_frame,))
        while chunk := rows.fetchmany(CHUNK_ROWS):
            ids, blobs = zip(*chunk, strict=True)
            tail = tail.plus(unpack_vectors(list(blobs), self._dim), np.array(ids, np.int64))
        return tail
