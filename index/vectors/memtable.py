"""The newest vectors, in memory as they are stored: exact search, quick to add to and remove from. Knows arrays only.

A Memtable is a value: adding and removing give another one, and searches go on in the one they hold. The buffers
behind are shared, and only ever written beyond the end of every Memtable that exists.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from ..catalog import unpack_rows
from .id_ranges import selector_of
from .ivf import use_threads
from .topk import Floats, Found, Ids, nothing_found

faiss: Any = untyped_faiss  # its stubs know neither its views nor keyword parameters

FIRST_ROWS = 256
WORTH_CLEANING = 0.25  # share of dead rows above which they are dropped


@dataclass(frozen=True)
class Memtable:
    """N rows of D fp16 and their ids, int64 ascending; alive (N,) bool; total (D,) float64: the sum of those alive.

    The buffers begin with the rows and ids and may be longer.
    """

    row_buffer: NDArray[np.float16]
    id_buffer: Ids
    alive: NDArray[np.bool_]
    total: NDArray[np.float64]

    @property
    def ids(self) -> Ids:
        return self.id_buffer[: len(self.alive)]

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.row_buffer.nbytes + self.id_buffer.nbytes + self.alive.nbytes

    def __len__(self) -> int:
        """How many rows are alive."""
        return int(np.count_nonzero(self.alive))

    def plus(self, ids: Ids, raw: bytes) -> "Memtable":
        """With rows, D little-endian fp16 each, whose ids are all greater. Only the newest of a line may grow."""
        used, wanted = len(self.alive), len(self.alive) + len(ids)
        dim = self.row_buffer.shape[1]
        rows, held = self.row_buffer, self.id_buffer
        if wanted > len(held):
            size = max(wanted, used + used // 2, FIRST_ROWS)
            rows, held = np.empty((size, dim), "<f2"), np.empty(size, np.int64)
            rows[:used], held[:used] = self.row_buffer[:used], self.ids
        rows[used:wanted] = np.frombuffer(raw, "<f2").reshape(-1, dim)
        held[used:wanted] = ids
        total = self.total + unpack_rows(raw, dim).sum(axis=0, dtype=np.float64)
        return Memtable(rows, held, np.append(self.alive, np.ones(len(ids), np.bool_)), total)

    def minus(self, ids: Ids) -> "Memtable":
        """Without the rows of these ids; ids that are not here are ignored."""
        gone = self.alive & np.isin(self.ids, ids)
        if not gone.any():
            return self
        alive, total = self.alive & ~gone, self.total - self._sum(gone)
        if np.count_nonzero(alive) < (1 - WORTH_CLEANING) * len(alive):
            return self._only(alive, total)
        return replace(self, alive=alive, total=total)

    def after(self, last_id: int) -> "Memtable":
        """Only the rows with greater ids, in buffers of their own."""
        kept = self.alive & (self.ids > last_id)
        return self._only(kept, self._sum(kept))

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> Found:
        """query (Q, D) -> cosines (Q, k) best first, ids (Q, k), -1 where there are no more; allowed: sorted ids."""
        chosen = self.alive if allowed is None else self.alive & np.isin(self.ids, allowed)
        count = int(np.count_nonzero(chosen))
        if count == 0:
            return nothing_found(len(query), k)
        use_threads(len(query))
        selector = None if count == len(chosen) else selector_of(chosen)
        scores, places = self._index.search(query, min(k, count), params=faiss.SearchParameters(sel=selector))
        return scores, np.where(places < 0, -1, self.ids[places])

    def _only(self, kept: NDArray[np.bool_], total: NDArray[np.float64]) -> "Memtable":
        places = np.flatnonzero(kept)
        return Memtable(self.row_buffer[places], self.id_buffer[places], np.ones(len(places), np.bool_), total)

    def _sum(self, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        rows = self.row_buffer[np.flatnonzero(chosen)]
        return np.asarray(unpack_rows(rows.tobytes(), rows.shape[1]).sum(axis=0, dtype=np.float64))

    @cached_property
    def _index(self) -> Any:
        """The rows where they lie, as a FAISS index; the buffer must outlive it."""
        count, dim = len(self.alive), self.row_buffer.shape[1]
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.codes = index.codes.create_view(faiss.swig_ptr(self.row_buffer), 2 * dim * count, index.codes.owner)
        index.ntotal = count
        return index


def empty_memtable(dim: int) -> Memtable:
    return Memtable(np.empty((0, dim), "<f2"), np.empty(0, np.int64), np.empty(0, np.bool_), np.zeros(dim))
