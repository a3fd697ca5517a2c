"""The newest vectors, in memory as they are: exact search, quick to add to and to remove from. Knows arrays only.

A Tail is a value: adding and removing give another one, and searches go on in the one they hold. Rows are not copied
for that: the buffers behind are shared and only ever written beyond the end of every Tail that exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .exact import Block, Floats, Ids, best_rows, in_blocks

FIRST_ROWS = 256
WORTH_CLEANING = 0.25  # share of dead rows above which they are dropped


@dataclass(frozen=True)
class Tail:
    """rows (N, D) float32 unit length, ids (N,) int64 ascending, alive (N,) bool.

    The buffers begin with the rows and ids and may be longer.
    """

    row_buffer: Floats
    id_buffer: Ids
    alive: NDArray[np.bool_]

    @property
    def rows(self) -> Floats:
        return self.row_buffer[: len(self.alive)]

    @property
    def ids(self) -> Ids:
        return self.id_buffer[: len(self.alive)]

    def __len__(self) -> int:
        """How many rows are alive."""
        return int(np.count_nonzero(self.alive))

    def plus(self, rows: Floats, ids: Ids) -> "Tail":
        """With rows whose ids are all greater. Only the newest Tail of a line may be added to."""
        used, wanted = len(self.alive), len(self.alive) + len(ids)
        row_buffer, id_buffer = self.row_buffer, self.id_buffer
        if wanted > len(id_buffer):
            size = max(wanted, used + used // 2, FIRST_ROWS)
            row_buffer = np.empty((size, row_buffer.shape[1]), np.float32)
            id_buffer = np.empty(size, np.int64)
            row_buffer[:used], id_buffer[:used] = self.rows, self.ids
        row_buffer[used:wanted], id_buffer[used:wanted] = rows, ids
        return Tail(row_buffer, id_buffer, np.append(self.alive, np.ones(len(ids), np.bool_)))

    def minus(self, ids: Ids) -> "Tail":
        """Without the rows of these ids; ids that are not here are ignored."""
        places = places_of(self.ids, ids)
        if not len(places):
            return self
        alive = self.alive.copy()
        alive[places] = False
        if np.count_nonzero(alive) < (1 - WORTH_CLEANING) * len(alive):
            return Tail(self.rows[alive], self.ids[alive], np.ones(int(alive.sum()), np.bool_))
        return replace(self, alive=alive)

    def after(self, last_id: int) -> "Tail":
        """Only the rows with greater ids, in buffers of their own."""
        kept = self.alive & (self.ids > last_id)
        return Tail(self.rows[kept], self.ids[kept], np.ones(int(kept.sum()), np.bool_))

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """query (Q, D) -> cosines (Q, k) best first, ids (Q, k), -1 where there are no more; allowed: sorted ids."""
        chosen = self.alive
        if allowed is not None:
            chosen = np.zeros_like(self.alive)
            chosen[places_of(self.ids, allowed)] = True
            chosen &= self.alive
        return best_rows(query, self._blocks(chosen, len(query)), k)

    def _blocks(self, chosen: NDArray[np.bool_], queries: int) -> Iterator[Block]:
        if chosen.all():
            yield from in_blocks(self.rows, self.ids, queries)
            return
        at = 0
        for rows, ids in in_blocks(self.rows, self.ids, queries):
            here = chosen[at : at + len(ids)]
            at += len(ids)
            if here.all():
                yield rows, ids
            elif here.any():
                yield rows[here], ids[here]


def empty_tail(dim: int) -> Tail:
    return Tail(np.empty((0, dim), np.float32), np.empty(0, np.int64), np.empty(0, np.bool_))


def places_of(ids: Ids, wanted: Ids) -> Ids:
    """ids (N,) ascending -> where those of `wanted` that are among them stand."""
    if not len(ids):
        return np.empty(0, np.int64)
    if int(ids[-1]) - int(ids[0]) == len(ids) - 1:  # without a gap, as nearly always
        places = wanted - ids[0]
        return np.asarray(places[(places >= 0) & (places < len(ids))], np.int64)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.asarray(places[ids[places] == wanted], np.int64)
