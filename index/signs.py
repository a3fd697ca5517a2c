"""The nearest of some rows, by one bit a number of each and by the list it is in: what a search under a filter asks.

An ivf segment is quick where any of its rows may be answered. Where few may, most of what lies in a list is looked at
in vain; so the same rows are also kept as signs (FAISS: RaBitQ around the segment's mean) in the order of the rows.
Only the allowed rows in the lists nearest the query are looked at: as many lists as hold enough of them. Proposes
places, compares nothing with the stored rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from . import ann
from .exact import Floats, Ids

faiss: Any = untyped_faiss  # its stubs know neither its factories nor keyword parameters

ENOUGH = (250, 1000, 4000)  # allowed rows that are looked at for ten answers
SHARES = (10, 100)  # one row in so many is allowed while levels are measured
LEAST_ALLOWED = 200  # rows, fewer of which tell nothing about a level
QUERY_BITS = 4
SIGNS_A_ROW = 20  # that are compared in the time it takes to read one stored row
CENTRES_A_ROW = 40  # the same of centres


@dataclass(frozen=True)
class Reach:
    """How many allowed rows to look at for ten answers, how many times the usual candidates to take, and the recall."""

    enough: int
    spare: int
    recall: float

    def cost(self, k: int, allowed: int, lists: int) -> float:
        """Of a query, in stored rows read, about."""
        looked_at = min(allowed, scaled(self.enough, k))
        return looked_at / SIGNS_A_ROW + ann.candidates_for("ivf", k, self.spare) + lists / CENTRES_A_ROW


@dataclass(frozen=True)
class Signs:
    """codes (N, B) uint8 of every row, lists (N,) uint16: which one each row is in, mean (D,) that codes are around."""

    codes: NDArray[np.uint8]
    lists: NDArray[np.uint16]
    mean: Floats

    def nearest(self, index: Any, query: Floats, allowed: Ids, count: int, enough: int) -> Ids:
        """query (Q, D), allowed places (A,) ascending -> places (Q, count), -1: none left. index: the segment's ivf."""
        found = np.full((len(query), count), -1, np.int64)
        for row, one in zip(found, query[:, None], strict=True):
            near = self._in_near_lists(index, one, allowed, enough)
            quantizer = _quantizer(self.mean)
            quantizer.add_sa_codes(self.codes[near])
            best = near[quantizer.search(one, min(count, len(near)))[1][0]]
            row[: len(best)] = best
        return found

    def _in_near_lists(self, index: Any, query: Floats, allowed: Ids, enough: int) -> Ids:
        """Those of the allowed places that lie in the lists nearest the query: `enough`, or a few more, or all."""
        if len(allowed) <= 2 * enough:
            return allowed
        lists = self.lists[allowed]
        held = np.bincount(lists, minlength=index.nlist)
        wanted = 2 * enough * index.nlist // len(allowed) + 1
        while True:
            order = ann.nearest_lists(index, query, min(wanted, index.nlist))
            reached = int(np.searchsorted(np.cumsum(held[order]), enough)) + 1
            if reached <= len(order) or len(order) == index.nlist:
                break
            wanted *= 4
        near = np.zeros(index.nlist, np.bool_)
        near[order[:reached]] = True
        return np.asarray(allowed[near[lists]])


def encode(rows: Floats, mean: Floats) -> NDArray[np.uint8]:
    """rows (B, D) float32 -> codes (B, D / 8 and a few bytes)."""
    return np.asarray(_quantizer(mean).sa_encode(np.ascontiguousarray(rows)))


def code_bytes(dim: int) -> int:
    return int(_quantizer(np.zeros(dim, np.float32)).sa_code_size())


def scaled(enough: int, k: int) -> int:
    """`enough`, which is said for ten answers, for k."""
    return enough * max(10, k) // 10


def cheapest_reach(reaches: tuple[Reach, ...], k: int, allowed: int, lists: int, min_recall: float) -> Reach | None:
    """The one that costs least of those that hold min_recall; None: none does."""
    held = [reach for reach in reaches if reach.recall >= min_recall]
    return min(held, key=lambda reach: reach.cost(k, allowed, lists), default=None)


def measured_reaches(signs: Signs, index: Any, probes: Floats, true: Ids, stop: Callable[[], None]) -> list[Reach]:
    """probes (P, D) and the places of their nearest rows, true (P, T) best first -> what each reach finds of ten.

    Allowed are one row in each of SHARES, drawn by chance; the ten nearest of those are known from `true`.
    """
    chance = np.random.default_rng(0)
    shares: dict[tuple[int, int], list[float]] = {(enough, s): [] for enough in ENOUGH for s in ann.SPARES}
    for one_in in SHARES:
        chosen = chance.random(len(signs.lists)) < 1 / one_in
        allowed = np.flatnonzero(chosen)
        if len(allowed) < LEAST_ALLOWED:
            continue
        known = [row[(row >= 0) & chosen[row]][: ann.DEPTHS[0]] for row in true]
        asked = [place for place, row in enumerate(known) if len(row)]
        for enough in ENOUGH:
            stop()
            most = ann.candidates_for("ivf", ann.DEPTHS[0], ann.SPARES[-1])
            found = signs.nearest(index, probes[asked], allowed, most, enough)
            for spare in ann.SPARES:
                taken = found[:, : ann.candidates_for("ivf", ann.DEPTHS[0], spare)]
                hits = [np.isin(known[place], row).mean() for place, row in zip(asked, taken, strict=True)]
                shares[enough, spare] += [ann.lower_bound(np.array(hits))]
    return [Reach(*setting, min(recalls)) for setting, recalls in shares.items() if recalls]


def _quantizer(mean: Floats) -> Any:
    """An empty FAISS index of signs around the mean."""
    index = faiss.IndexRaBitQ(len(mean), faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.ascontiguousarray(mean, np.float32), index.center)
    index.is_trained = True
    index.qb = QUERY_BITS
    return index
