"""Which row of a segment holds the vector of which id: rows lie in an order of their own. Knows arrays only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import Ids


@dataclass(frozen=True)
class Places:
    """offsets (N,) by row: the id, less the first. rows (N,) int32 by ascending id.

    ascending: the offsets in order, None where there is no gap, as nearly always.
    """

    first: int
    offsets: NDArray[Any]
    rows: NDArray[np.int32]
    ascending: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.offsets)

    def ids_at(self, rows: Ids) -> Ids:
        """rows of any shape -> their ids."""
        ids = self.offsets[rows].astype(np.int64)
        ids += self.first
        return ids

    def of(self, wanted: Ids) -> Ids:
        """The rows of those of the wanted ids (W,), which ascend, that are here; in the same order."""
        if not len(self) or not len(wanted):
            return np.empty(0, np.int64)
        last = len(self) - 1 if self.ascending is None else int(self.ascending[-1])
        offsets = wanted - self.first
        if offsets[0] < 0 or offsets[-1] > last:
            offsets = offsets[slice(*np.searchsorted(offsets, [0, last + 1]))]
        if self.ascending is not None:
            offsets = offsets.astype(self.ascending.dtype)
            at = np.searchsorted(self.ascending, offsets)
            offsets = at[self.ascending[at] == offsets]
        return self.rows[offsets].astype(np.int64)


def places_by(ids: Ids) -> Places:
    """ids (N,) by row, no two alike, in any order."""
    order = np.argsort(ids)
    first, last = (int(ids[order[0]]), int(ids[order[-1]])) if len(ids) else (0, -1)
    offsets = (ids - first).astype(np.uint32 if last - first < 2**32 else np.int64)
    ascending = None if last - first == len(ids) - 1 else offsets[order]
    return Places(first, offsets, order.astype(np.int32), ascending)


def in_ranges(starts: Ids, lengths: Ids) -> Ids:
    """starts, lengths (R,) -> the numbers of each range, one range after another."""
    ends = np.cumsum(lengths)
    count = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(count) + np.repeat(starts - (ends - lengths), lengths), np.int64)
