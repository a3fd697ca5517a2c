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
from .rows import RowFile

ENOUGH = (250, 500, 750, 1000, 2000, 4000)  # allowed rows that are compared for ten answers
SHARES = (10, 100)  # one row in so many is allowed while levels are measured
MOST_SHARE = SHARES[0]  # of so many rows at most one may be allowed: beyond nothing is measured
ROW_MICROSECONDS = 0.2  # to find and compare one
CENTRE_MICROSECONDS = 0.05
ALLOWED_MICROSECONDS = 0.02  # to look up the list of one, and how near it is


@dataclass(frozen=True)
class Reach:
    """How many allowed rows to compare for ten answers, and the recall of that."""

    enough: int
    recall: float

    def cost(self, k: int, allowed: int, lists: int) -> float:
        """Microseconds of a query, about."""
        compared = min(allowed, enough_for(self.enough, k))
        return compared * ROW_MICROSECONDS + lists * CENTRE_MICROSECONDS + allowed * ALLOWED_MICROSECONDS


def enough_for(enough: int, k: int) -> int:
    """`enough`, which is said for ten answers, for k."""
    return enough * max(10, k) // 10


def cheapest_reach(reaches: tuple[Reach, ...], min_recall: float) -> Reach | None:
    """The least that holds min_recall; None: none does."""
    return min((r for r in reaches if r.recall >= min_recall), key=lambda reach: reach.enough, default=None)


def best_allowed(
    codes: ann.Codes, lists: NDArray[np.uint16], file: RowFile, query: Floats, k: int, allowed: Ids, enough: int
) -> tuple[Floats, Ids]:
    """query (Q, D), allowed places (A,), k <= A -> cosines (Q, k), places (Q, k), in no order.

    codes: of an ivf whose rows are in order; lists (N,): in which one each of them is.
    """
    answers = []
    for one in query[:, None]:
        near = _nearest_by_list(codes, lists, one, allowed, max(enough, k))
        answers.append(file.best(one, k, near))
    scores, places = zip(*answers, strict=True)
    return np.concatenate(scores), np.concatenate(places)


def _nearest_by_list(codes: ann.Codes, lists: NDArray[np.uint16], query: Floats, allowed: Ids, enough: int) -> Ids:
    """`enough` of the allowed places, those whose list's centre is nearest the query; all, where that is few."""
    if len(allowed) <= enough + enough // 2:
        return allowed
    assert codes.centres is not None
    nearness = (codes.centres @ query[0])[lists[allowed]]
    return np.sort(allowed[np.argpartition(nearness, len(allowed) - enough)[-enough:]])


def measured_reaches(
    codes: ann.Codes, lists: NDArray[np.uint16], probes: Floats, true: Ids, stop: Callable[[], None]
) -> list[Reach]:
    """probes (P, D) and the places of their nearest rows, true (P, T) best first -> what each of ENOUGH finds of ten.

    Allowed are one row in each of SHARES, drawn by chance; the ten nearest of those are known from `true`.
    """
    chance = np.random.default_rng(0)
    bounds: dict[int, list[float]] = {enough: [] for enough in ENOUGH}
    for one_in in SHARES:
        chosen = chance.random(len(codes)) < 1 / one_in
        allowed = np.flatnonzero(chosen)
        known = [row[(row >= 0) & chosen[row]][: ann.DEPTHS[0]] for row in true]
        asked = [place for place, row in enumerate(known) if len(row)]
        for enough in ENOUGH if asked else ():
            stop()
            near = (_nearest_by_list(codes, lists, probes[i : i + 1], allowed, enough) for i in asked)
            hits = [np.isin(known[i], rows).mean() for i, rows in zip(asked, near, strict=True)]
            bounds[enough].append(ann.lower_bound(np.array(hits)))
    return [Reach(enough, min(recalls)) for enough, recalls in bounds.items() if recalls]
