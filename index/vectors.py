"""The FAISS side: an exact inner-product index over vector ids, derived from the catalog at any time.

It follows what any process commits to the catalog. It knows vector ids and nothing of items, files or times.
"""

import sqlite3
from threading import Lock

import faiss
import numpy as np
from numpy.typing import NDArray

from .catalog import Catalog

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
    """Nearest vectors of a catalog. Thread-safe: FAISS must not be searched while written, hence one lock."""

    def __init__(self, catalog: Catalog, dim: int) -> None:
        self._catalog = catalog
        self._dim = dim
        self._lock = Lock()
        self._faiss = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
        self._last_frame = 0
        self._last_removed = 0

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    def refresh(self) -> None:
        """Takes in what any process has committed since the last call; cheap when that is nothing."""
        with self._lock, self._catalog.read() as db:
            tops = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('frames', 'removed')"))
            last_frame, last_removed = tops.get("frames", 0), tops.get("removed", 0)
            if last_removed > self._last_removed and len(self):
                self._remove(db)
            if last_frame > self._last_frame:
                self._add(db)
            self._last_frame, self._last_removed = last_frame, last_removed

    def search(
        self, vectors: NDArray[np.float32], k: int, allowed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """vectors (Q, D) float32 unit length -> cosines (Q, k) best first, ids (Q, k); -1: none left.

        allowed (A,) int64 ascending: only these vector ids are answered; None: all.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self._dim:
            raise ValueError(f"vectors must be (Q, {self._dim}), got {vectors.shape}")
        selector = None if allowed is None else faiss.IDSelectorBatch(allowed)
        only = None if selector is None else faiss.SearchParameters()
        if only is not None:
            only.sel = selector
        with self._lock:
            scores, ids = self._faiss.search(np.ascontiguousarray(vectors, np.float32), k, params=only)
        return np.where(ids < 0, np.float32(-1), np.clip(scores, -1, 1)).astype(np.float32), ids

    def mean(self, sample: int = 2048) -> NDArray[np.float32]:
        """(D,) float32: the mean of an even sample of the vectors held; zeros when there are none."""
        with self._lock:
            held = faiss.vector_to_array(self._faiss.id_map)
            if len(held) == 0:
                return np.zeros(self._dim, np.float32)
            chosen = held[np.linspace(0, len(held) - 1, min(sample, len(held))).astype(np.int64)]
            return np.asarray(self._faiss.reconstruct_batch(chosen).mean(axis=0), np.float32)

    def _remove(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT vector_id FROM removed WHERE seq > ?", (self._last_removed,))
        gone = np.fromiter((row[0] for row in rows), np.int64)
        self._faiss.remove_ids(faiss.IDSelectorBatch(gone))

    def _add(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT vector_id, vector FROM frames WHERE vector_id > ?", (self._last_frame,))
        while chunk := rows.fetchmany(CHUNK_ROWS):
            ids, blobs = zip(*chunk, strict=True)
            self._faiss.add_with_ids(unpack_vectors(list(blobs), self._dim), np.array(ids, np.int64))
