"""What people ask, and what every width of search would have found of it. Keeps nothing on disk, and starts no threads.

A segment is measured when it is sealed, with queries made of its own vectors (ann.made_probes); people may ask for
something quite unlike those. So some of what they ask waits here, is compared with every vector later (tuning.py says
when), and from then on a segment's levels tell what people's queries find.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from . import ann
from .exact import Best, Floats
from .segment import Segment, sealed_levels

MOST_WAITING = 128  # questions
ONE_IN = 8  # of those that come while so many wait takes the place of one: to keep each would cost a search a tenth
WINDOW = ann.PROBES  # comparisons that count, the latest
LEAST_COMPARED = 32  # from which they count
BLOCK_ROWS = 4096  # read and compared at once: 6 MB of vectors of 384 numbers
SPARES = {"ivf": (*ann.SPARES["ivf"], 32), "hnsw": ann.SPARES["hnsw"]}  # one bit a number tells odd queries little
SAME = 2e-6  # of cosine: equal rows are equally good answers, and products are summed in different orders

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """vector (1, D) float32 of unit length, whose k nearest were asked for."""

    vector: Floats
    k: int


class Waiting:
    """Questions that were not compared yet: MOST_WAITING of them. New ones take the place of any, so old ones fade.

    Any thread may use it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._chance = random.Random(0)
        self._held: list[Question] = []

    def __len__(self) -> int:
        return len(self._held)

    def put(self, query: Floats, k: int) -> None:
        """One of the queries (Q, D): a clip's frames are much alike. None where more is asked for than is measured."""
        if len(self._held) == MOST_WAITING and self._chance.random() * ONE_IN >= 1:
            return
        if k > ann.DEPTHS[-1] or not len(query):
            return
        with self._lock:
            row = self._chance.randrange(len(query)) if len(query) > 1 else 0
            question = Question(query[row : row + 1].copy(), k)
            if len(self._held) < MOST_WAITING:
                self._held.append(question)
            else:
                self._held[self._chance.randrange(MOST_WAITING)] = question

    def take(self, most: int) -> list[Question]:
        """As many, drawn by chance; they wait no longer."""
        with self._lock:
            self._chance.shuffle(self._held)
            taken, self._held = self._held[:most], self._held[most:]
            return taken


@dataclass(frozen=True)
class Findings:
    """What each of `ways` found of the questions compared, at each of ann.DEPTHS: shares (n, ways), the latest last.

    A way's own recalls are what the sealing, of it or of a narrower one, lets one expect.
    """

    ways: tuple[ann.Level, ...]
    shares: tuple[Shares, ...]
    compared: int = 0

    def plus(self, found: Sequence[Sequence[Shares]]) -> "Findings":
        """found: for each question, shares (ways,) at the first of the depths, as far as it was measured."""
        shares = list(self.shares)
        for at_depths in found:
            for i, row in enumerate(at_depths):
                shares[i] = np.concatenate([shares[i], row[None]])[-WINDOW:]
        return replace(self, shares=tuple(shares), compared=self.compared + len(found))

    @property
    def depth(self) -> int:
        """For up to so many neighbours enough was compared to count."""
        depths = (d for d, rows in zip(ann.DEPTHS, self.shares, strict=True) if len(rows) >= LEAST_COMPARED)
        return max(depths, default=0)

    def levels(self) -> tuple[ann.Level, ...]:
        """What is known of each way now, by cost."""
        levels = []
        for column, way in enumerate(self.ways):
            recalls: list[float] = []
            for depth, rows, expected in zip(ann.DEPTHS, self.shares, way.recalls, strict=True):
                if depth <= self.depth:
                    recalls.append(tuned(rows[:, column], expected))
                else:  # deeper than people ask; but what is not found of ten is not found of a hundred
                    recalls.append(min([expected, *recalls]))
            levels.append(replace(way, recalls=tuple(recalls)))
        return tuple(sorted(levels, key=lambda level: level.cost))

    def recall(self, levels: Sequence[ann.Level], min_recall: float) -> float | None:
        """The mean share that is found of what was compared with the level now in use; None: nothing was compared."""
        measured = [i for i, rows in enumerate(self.shares) if len(rows)]
        if not measured:
            return None
        level = ann.cheapest(levels, ann.DEPTHS[measured[-1]], min_recall)
        columns = (
            []
            if level is None
            else [
                column for column, way in enumerate(self.ways) if (way.width, way.spare) == (level.width, level.spare)
            ]
        )  # none: every vector is compared
        return float(self.shares[measured[-1]][:, columns].mean()) if columns else 1.0


def tuned(shares: Shares, expected: float) -> float:
    """shares (n,) that people's queries found -> the recall they may be expected to have at least.

    They lower what is expected when they clearly find less, and raise it when they clearly find more. Between the two
    it stays, so that a level does not change to and fro.
    """
    error = shares.std() / len(shares) ** 0.5
    agreed = min(expected, float(shares.mean() - error))
    return max(ann.lower_bound(shares), agreed)


def nothing_found(segment: Segment, codes: ann.Codes) -> Findings:
    """Where a segment stands before anything was compared. Its ways go on beyond the widest that the sealing tried."""
    sealed = sealed_levels(segment.manifest)
    ways = []
    for width in ann.WIDTHS[codes.kind]:
        if codes.kind == "ivf" and width > codes.lists:
            break
        for spare in SPARES[codes.kind]:
            narrower = (level.recalls for level in sealed if level.spare <= spare and level.width <= width)
            expected = max(narrower, default=(0.0,) * len(ann.DEPTHS))
            ways.append(ann.Level(width, spare, ann.cost(codes, width, spare), expected))
    return Findings(tuple(ways), tuple(np.empty((0, len(ways))) for _ in ann.DEPTHS))


def compare(
    segment: Segment,
    codes: ann.Codes,
    ways: Sequence[ann.Level],
    questions: Sequence[Question],
    pause: Callable[[], None],
) -> list[list[Shares]]:
    """For each question, at each of ann.DEPTHS up to the first that holds its k: shares (ways,) of the truly nearest.

    All rows are read once for all questions, a block at a time. pause is called between blocks, and raises to end.
    """
    depths = [_depths(question.k, len(segment)) for question in questions]
    deepest = max((max(own, default=0) for own in depths), default=0)
    if not deepest:
        return [[] for _ in questions]
    true = _true_cosines(segment, np.concatenate([question.vector for question in questions]), deepest, pause)
    found = []
    for question, own, row in zip(questions, depths, true, strict=True):
        at_depths = []
        for depth in own:
            at_depths.append(_shares(segment, codes, ways, question.vector, depth, float(row[depth - 1]), pause))
        found.append(at_depths)
    return found


def _depths(k: int, rows: int) -> list[int]:
    """Those to measure: none where so few rows are left that a search compares them all."""
    first = next((i for i, depth in enumerate(ann.DEPTHS) if depth >= k), len(ann.DEPTHS) - 1)
    return [depth for depth in ann.DEPTHS[: first + 1] if 2 * depth <= rows]


def _true_cosines(segment: Segment, queries: Floats, depth: int, pause: Callable[[], None]) -> Floats:
    """queries (Q, D) -> (Q, depth): the cosines of the nearest of all rows, best first."""
    best = Best(len(queries), depth)
    for rows, places in segment.file.blocks(BLOCK_ROWS):
        pause()
        here = slice(None) if segment.alive is None else segment.alive[places]
        best.add(queries @ rows[here].T, places[here])
    return best.result()[0]


def _shares(
    segment: Segment,
    codes: ann.Codes,
    ways: Sequence[ann.Level],
    query: Floats,
    depth: int,
    least: float,
    pause: Callable[[], None],
) -> Shares:
    """(ways,): the share of answers at least as near as the last of the true ones, whose cosine is `least`."""
    shares = np.empty(len(ways))
    for i, way in enumerate(ways):
        pause()
        if i and ways[i - 1].width == way.width and shares[i - 1] == 1.0:
            shares[i] = 1.0  # more candidates of the same search lose none
            continue
        found = segment.at_level(codes, way, query, depth)
        shares[i] = 1.0 if found is None else (found[0] >= least - SAME).mean()  # None: then every vector is compared
    return shares
