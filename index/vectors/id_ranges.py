"""The vectors that a search may answer, as ranges of their ids: an item's follow one another.

With them goes what the index found out about them (chosen.py), so that it need not when they are the same again.
Knows nothing of filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .chosen import Known
from .exact import Ids
from .places import in_ranges


@dataclass(frozen=True, eq=False)
class Allowed:
    """The ids from firsts[i] to lasts[i] for each i, (R,) int64 ascending; no two ranges share one.

    seen   ids beyond this one were not looked at: they are not allowed, but may be once they are
    known  which rows of segments they are
    """

    firsts: Ids
    lasts: Ids
    seen: int
    known: Known = field(default_factory=Known)

    @cached_property
    def _count(self) -> int:
        return int((self.lasts - self.firsts + 1).sum())

    def __len__(self) -> int:
        """How many vectors."""
        return self._count

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self.firsts.nbytes + self.lasts.nbytes + self.known.nbytes

    def touches(self, first: int, last: int) -> bool:
        """Whether any lies from first to last."""
        here = int(np.searchsorted(self.lasts, first))
        return here < len(self.firsts) and int(self.firsts[here]) <= last

    def within(self, first: int, last: int) -> Ids:
        """Those from first to last, ascending."""
        here = slice(np.searchsorted(self.lasts, first), np.searchsorted(self.firsts, last, "right"))
        starts, ends = np.maximum(self.firsts[here], first), np.minimum(self.lasts[here], last)
        return in_ranges(starts, ends - starts + 1)

    def until(self, last: int) -> "Allowed":
        """Without ids beyond the last."""
        kept = self.firsts <= last
        return Allowed(self.firsts[kept], np.minimum(self.lasts[kept], last), self.seen)

    def without(self, ids: Sequence[int] | Ids) -> "Allowed":
        """Without the ranges that begin with one of these ids."""
        kept = ~np.isin(self.firsts, np.asarray(ids, np.int64))
        return Allowed(self.firsts[kept], self.lasts[kept], self.seen)


def allowed_of(ids: Ids) -> Allowed:
    """ids (A,) ascending, no two alike; no others, whatever may come."""
    cuts = np.flatnonzero(np.diff(ids) != 1)
    starts, ends = np.concatenate([[0], cuts + 1])[: len(ids)], np.append(cuts, len(ids) - 1)[: len(ids)]
    return Allowed(ids[starts], ids[ends], np.iinfo(np.int64).max)
