"""The vectors that a search may answer, as ranges of their ids: those of an item follow one another.

Knows nothing of filters, and gives FAISS its id selectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from .topk import Ids

faiss: Any = untyped_faiss  # its stubs do not know that a selector is made of a pointer


@dataclass(frozen=True, eq=False)
class Allowed:
    """The ids from firsts[i] to lasts[i] for each i, (R,) int64 ascending; no two ranges share one."""

    firsts: Ids
    lasts: Ids

    def __len__(self) -> int:
        """How many ids."""
        return int((self.lasts - self.firsts + 1).sum())

    def touches(self, first: int, last: int) -> bool:
        """Whether any lies from first to last."""
        here = int(np.searchsorted(self.lasts, first))
        return first <= last and here < len(self.firsts) and int(self.firsts[here]) <= last

    def within(self, first: int, last: int) -> Ids:
        """Those from first to last, ascending."""
        here = slice(np.searchsorted(self.lasts, first), np.searchsorted(self.firsts, last, "right"))
        starts, ends = np.maximum(self.firsts[here], first), np.minimum(self.lasts[here], last)
        lengths = np.maximum(ends - starts + 1, 0)
        before = np.cumsum(lengths) - lengths  # ids of the ranges before each
        return np.asarray(np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths), np.int64)

    def until(self, last: int) -> "Allowed":
        """Without ids beyond the last."""
        kept = self.firsts <= last
        return Allowed(self.firsts[kept], np.minimum(self.lasts[kept], last))

    def without(self, ids: Sequence[int] | Ids) -> "Allowed":
        """Without the ranges that begin with one of these ids."""
        kept = ~np.isin(self.firsts, np.asarray(ids, np.int64))
        return Allowed(self.firsts[kept], self.lasts[kept])


def allowed_of(ids: Ids) -> Allowed:
    """ids (A,) ascending, no two alike."""
    cuts = np.flatnonzero(np.diff(ids) != 1)
    starts, ends = np.concatenate([[0], cuts + 1])[: len(ids)], np.append(cuts, len(ids) - 1)[: len(ids)]
    return Allowed(ids[starts], ids[ends])


def selector_of(mask: NDArray[np.bool_]) -> Any:
    """mask (N,) -> a FAISS selector of the numbers i with mask[i]; holds the memory that it points into."""
    bits = np.packbits(mask, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    selector.bits = bits  # FAISS keeps only the address
    return selector
