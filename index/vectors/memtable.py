"""The newest vectors, in memory as they are stored: exact search, quick to add to and remove from. Knows arrays only.

A Tail is a value: adding and removing give another one, and searches go on in the one they hold. Rows are not copied
for that: the buffers behind are shared and only ever written beyond the end of every Tail that exists.

Few queries are compared by FAISS, which reads the halves as they lie (in_place.py); many by matrix products.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from ..catalog.packing import halves, row_lengths
from .exact import Best, Floats, Ids, best_rows
from .in_place import MANY_QUERIES, Only, best_in_place, extremes_of

faiss: Any = untyped_faiss  # its stubs know neither its views nor keyword parameters

FIRST_ROWS = 256
WORTH_CLEANING = 0.25  # share of dead rows above which they are dropped
BLOCK_ROWS = 1024  # unpacked at a time: 1.5 MB for 384 numbers, what a processor's cache holds
SPARSE = 8  # of so many rows at most one is wanted: then those are unpacked one by one


@dataclass(frozen=True)
class Tail:
    """N rows of D fp16 with their factors (rows.py) and ids, int64 ascending; alive (N,) bool.
    total (D,) float64: the sum of those alive, of unit length.

    The buffers begin with the rows, factors and ids and may be longer.
    """

    row_buffer: NDArray[np.float16]
    factor_buffer: Floats
    id_buffer: Ids
    alive: NDArray[np.bool_]
    total: NDArray[np.float64]

    @property
    def ids(self) -> Ids:
        return self.id_buffer[: len(self.alive)]

    @property
    def factors(self) -> Floats:
        return self.factor_buffer[: len(self.alive)]

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.row_buffer.nbytes + self.factor_buffer.nbytes + self.id_buffer.nbytes + self.alive.nbytes

    def __len__(self) -> int:
        """How many rows are alive."""
        return int(np.count_nonzero(self.alive))

    def at(self, places: Ids | slice) -> Floats:
        """places (P,) -> rows (P, D) float32 unit length."""
        rows = self.row_buffer[: len(self.alive)][places]
        return halves(rows.tobytes()).reshape(rows.shape) * self.factors[places, None]

    def plus(self, raw: bytes, ids: Ids) -> "Tail":
        """With rows, D little-endian fp16 each, whose ids are all greater. Only the newest Tail of a line may grow."""
        used, wanted = len(self.alive), len(self.alive) + len(ids)
        dim = self.row_buffer.shape[1]
        rows, factors, held = self.row_buffer, self.factor_buffer, self.id_buffer
        if wanted > len(held):
            size = max(wanted, used + used // 2, FIRST_ROWS)
            rows, factors, held = np.empty((size, dim), "<f2"), np.empty(size, np.float32), np.empty(size, np.int64)
            rows[:used], factors[:used], held[:used] = self.row_buffer[:used], self.factors, self.ids
        rows[used:wanted] = np.frombuffer(raw, "<f2").reshape(-1, dim)
        numbers = halves(raw).reshape(-1, dim)
        factors[used:wanted] = np.reciprocal(row_lengths(numbers))
        held[used:wanted] = ids
        total = self.total + factors[used:wanted].astype(np.float64) @ numbers
        return Tail(rows, factors, held, np.append(self.alive, np.ones(len(ids), np.bool_)), total)

    def minus(self, ids: Ids) -> "Tail":
        """Without the rows of these ids; ids that are not here are ignored."""
        places = places_of(self.ids, ids)
        places = places[self.alive[places]]
        if not len(places):
            return self
        alive = self.alive.copy()
        alive[places] = False
        total = self.total - self._sum(places)
        if np.count_nonzero(alive) < (1 - WORTH_CLEANING) * len(alive):
            return self._only(alive, total)
        return replace(self, alive=alive, total=total)

    def after(self, last_id: int) -> "Tail":
        """Only the rows with greater ids, in buffers of their own."""
        kept = self.alive & (self.ids > last_id)
        return self._only(kept, self._sum(np.flatnonzero(kept)))

    def _only(self, kept: NDArray[np.bool_], total: NDArray[np.float64]) -> "Tail":
        places = np.flatnonzero(kept)
        alive = np.ones(len(places), np.bool_)
        return Tail(self.row_buffer[places], self.factor_buffer[places], self.id_buffer[places], alive, total)

    def _sum(self, places: Ids) -> NDArray[np.float64]:
        pieces = (self.at(places[first : first + BLOCK_ROWS]) for first in range(0, len(places), BLOCK_ROWS))
        return sum((piece.sum(axis=0, dtype=np.float64) for piece in pieces), np.zeros(self.row_buffer.shape[1]))

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """query (Q, D) -> cosines (Q, k) best first, ids (Q, k), -1 where there are no more; allowed: sorted ids."""
        chosen = self.alive
        if allowed is not None:
            chosen = np.zeros_like(self.alive)
            chosen[places_of(self.ids, allowed)] = True
            chosen &= self.alive
        count = int(np.count_nonzero(chosen))
        if SPARSE * count <= len(chosen):
            places = np.flatnonzero(chosen)
            pieces = (places[first : first + BLOCK_ROWS] for first in range(0, count, BLOCK_ROWS))
            return best_rows(query, ((self.at(piece), self.ids[piece]) for piece in pieces), k)
        best = Best(len(query), k)
        if len(query) < MANY_QUERIES:
            only = None if count == len(chosen) else Only(chosen)
            found = best_in_place(self._mapped, self.factors, self._extremes, query, min(k, count), only)
            if found is not None:
                best.add(found[0], self.ids[found[1]])
                return best.result()
        for first in range(0, len(chosen), BLOCK_ROWS):
            here = slice(first, min(first + BLOCK_ROWS, len(chosen)))
            if chosen[here].any():
                rows = halves(self.row_buffer[here].tobytes()).reshape(-1, query.shape[1])
                cosines = (query @ rows.T) * self.factors[here]
                cosines[:, ~chosen[here]] = -np.inf
                best.add(cosines, self.ids[here])
        return best.result()

    @cached_property
    def _mapped(self) -> Any:
        """The rows where they lie, as a FAISS index, for products; the buffer must outlive it."""
        count, dim = len(self.alive), self.row_buffer.shape[1]
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.codes = index.codes.create_view(faiss.swig_ptr(self.row_buffer), 2 * dim * count, index.codes.owner)
        index.ntotal = count
        return index

    @cached_property
    def _extremes(self) -> tuple[np.float32, np.float32]:
        return extremes_of(self.factors)


def empty_tail(dim: int) -> Tail:
    rows, alive = np.empty((0, dim), "<f2"), np.empty(0, np.bool_)
    return Tail(rows, np.empty(0, np.float32), np.empty(0, np.int64), alive, np.zeros(dim))


def places_of(ids: Ids, wanted: Ids) -> Ids:
    """ids (N,) ascending -> where those of `wanted` that are among them stand."""
    if not len(ids):
        return np.empty(0, np.int64)
    if int(ids[-1]) - int(ids[0]) == len(ids) - 1:  # without a gap, as nearly always
        places = wanted - ids[0]
        return np.asarray(places[(places >= 0) & (places < len(ids))], np.int64)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.asarray(places[ids[places] == wanted], np.int64)
