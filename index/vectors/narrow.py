"""How many of the few rows that a filter allows are compared, once they are ranked by their sketch: measured.

Asking the approximate index itself would look at most of what it meets in vain. Of the allowed rows, those that the
sketch ranks first are compared as they are stored (chosen.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import ann
from .exact import Floats, Ids
from .sketch import Sketch

ENOUGH = (40, 80, 160, 320, 640, 1280)  # allowed rows that are compared for ten answers
SHARES = (10, 100)  # one row in so many is allowed while that is measured
MOST_SHARE = SHARES[0]  # of so many rows at most one may be allowed: beyond nothing is measured
ROW_MICROSECONDS = 0.25  # to find and compare one
ALLOWED_MICROSECONDS = 0.01  # to rank one


@dataclass(frozen=True)
class Reach:
    """How many allowed rows to compare for ten answers, and the recall of that."""

    enough: int
    recall: float

    def cost(self, k: int, allowed: int) -> float:
        """Microseconds of a query, about."""
        return min(allowed, enough_for(self.enough, k)) * ROW_MICROSECONDS + allowed * ALLOWED_MICROSECONDS


def enough_for(enough: int, k: int) -> int:
    """`enough`, which is said for ten answers, for k."""
    return enough * max(10, k) // 10


def cheapest_reach(reaches: tuple[Reach, ...], min_recall: float) -> Reach | None:
    """The least that holds min_recall; None: none does."""
    return min((r for r in reaches if r.recall >= min_recall), key=lambda reach: reach.enough, default=None)


def measured_reaches(sketch: Sketch, count: int, probes: Floats, true: Ids, stop: Callable[[], None]) -> list[Reach]:
    """probes (P, D), and where their nearest of `count` rows are, true (P, T) best first -> what each of ENOUGH finds.

    Allowed are one row in each of SHARES, drawn by chance; the ten nearest of those are known from `true`.
    """
    chance = np.random.default_rng(0)
    bounds: dict[int, list[float]] = {enough: [] for enough in ENOUGH}
    for one_in in SHARES:
        stop()
        chosen = chance.random(count) < 1 / one_in
        known = [row[(row >= 0) & chosen[row]][: ann.DEPTHS[0]] for row in true]
        asked = [place for place, row in enumerate(known) if len(row)]
        if not asked:
            continue
        allowed = np.flatnonzero(chosen)
        ranked = allowed[sketch.of(allowed).nearest(probes[asked], ENOUGH[-1])]
        for enough in ENOUGH:
            hits = [np.isin(known[i], row[:enough]).mean() for i, row in zip(asked, ranked, strict=True)]
            bounds[enough].append(ann.lower_bound(np.array(hits)))
    return [Reach(enough, min(recalls)) for enough, recalls in bounds.items() if recalls]
