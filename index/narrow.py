"""A search among few of a segment's rows: those that a filter allows, in the lists of its ivf nearest the query.

Asking the ivf itself would look at most of what lies in a list in vain. Here enough of the allowed rows are taken,
those in the nearest lists first, and compared as they are stored. Where few are allowed that is all of them, and the
answer exact.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import ann
from .exact import Floats, Ids
from .places import in_ranges

ENOUGH = (250, 500, 750, 1000, 2000, 4000)  # allowed rows that are compared for ten answers
SHARES = (10, 100)  # one row in so many is allowed while levels are measured
MOST_SHARE = SHARES[0]  # of so many rows at most one may be allowed: beyond nothing is measured
ROW_MICROSECONDS = 0.2  # to find and compare one
CENTRE_MICROSECONDS = 0.02
LISTS_LOOKED_AT = 2  # times as many as would hold enough, were all of a size


@dataclass(frozen=True)
class Reach:
    """How many allowed rows to compare for ten answers, and the recall of that."""

    enough: int
    recall: float

    def cost(self, k: int, allowed: int, lists: int) -> float:
        """Microseconds of a query, about."""
        return min(allowed, enough_for(self.enough, k)) * ROW_MICROSECONDS + lists * CENTRE_MICROSECONDS


def enough_for(enough: int, k: int) -> int:
    """`enough`, which is said for ten answers, for k."""
    return enough * max(10, k) // 10


def cheapest_reach(reaches: tuple[Reach, ...], min_recall: float) -> Reach | None:
    """The least that holds min_recall; None: none does."""
    return min((r for r in reaches if r.recall >= min_recall), key=lambda reach: reach.enough, default=None)


def nearest_by_list(codes: ann.Codes, sizes: Ids, query: Floats, enough: int) -> Ids:
    """Which of some rows, in the order of the lists of an ivf, to compare with query (1, D): (E,) ascending, at least
    `enough` where there are so many: all of the lists whose centres are nearest. sizes (L,): how many each list holds.
    """
    count, lists = int(sizes.sum()), len(sizes)
    if count <= enough + enough // 2:
        return np.arange(count)
    nearest = ann.nearest_lists(codes, query, min(lists, LISTS_LOOKED_AT * enough * lists // count + 1))
    if sizes[nearest].sum() < enough:
        nearest = ann.nearest_lists(codes, query, lists)
    taken = np.sort(nearest[: 1 + np.searchsorted(np.cumsum(sizes[nearest]), enough)])
    return in_ranges((np.cumsum(sizes) - sizes)[taken], sizes[taken])


def measured_reaches(
    codes: ann.Codes, lists: NDArray[np.uint16], probes: Floats, true: Ids, stop: Callable[[], None]
) -> list[Reach]:
    """probes (P, D) and the places of their nearest rows, true (P, T) best first -> what each of ENOUGH finds of ten.

    lists (N,): of each row. Allowed are one row in each of SHARES, drawn by chance; the ten nearest of those are known
    from `true`.
    """
    chance = np.random.default_rng(0)
    bounds: dict[int, list[float]] = {enough: [] for enough in ENOUGH}
    for one_in in SHARES:
        chosen = chance.random(len(codes)) < 1 / one_in
        allowed = np.flatnonzero(chosen)
        sizes = np.bincount(lists[allowed], minlength=codes.lists)
        known = [row[(row >= 0) & chosen[row]][: ann.DEPTHS[0]] for row in true]
        asked = [place for place, row in enumerate(known) if len(row)]
        for enough in ENOUGH if asked else ():
            stop()
            near = (allowed[nearest_by_list(codes, sizes, probes[i : i + 1], enough)] for i in asked)
            hits = [np.isin(known[i], rows).mean() for i, rows in zip(asked, near, strict=True)]
            bounds[enough].append(ann.lower_bound(np.array(hits)))
    return [Reach(enough, min(recalls)) for enough, recalls in bounds.items() if recalls]
