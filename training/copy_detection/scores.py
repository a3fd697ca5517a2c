"""How well edited pictures find their originals: R@k for each edit, and micro-AP with one threshold over all.

Knows vectors and numbers only, nothing of pictures or encoders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 10  # of each query that micro-AP counts, as in the Image Similarity Challenge (arXiv 2106.09672)
RESAMPLES = 200


@dataclass(frozen=True)
class Figure:
    """A mean with its standard error over the photos that were asked."""

    value: float
    error: float

    def to_dict(self) -> dict[str, float]:
        return {"value": round(self.value, 4), "error": round(self.error, 4)}


@dataclass(frozen=True)
class EditScores:
    """`ranks` (photos,): place of the original in the answer to each edited photo, 0 the first."""

    ranks: NDArray[np.int64]

    @property
    def recall_at_1(self) -> Figure:
        return mean_of(self.ranks < 1)

    @property
    def recall_at_10(self) -> Figure:
        return mean_of(self.ranks < 10)


@dataclass(frozen=True)
class CopyScores:
    """What `judge` gives: scores by edit, and micro-AP over all edits, with edited strangers among the questions."""

    by_edit: dict[str, EditScores]
    micro_ap: Figure

    def mean(self, k: int = 1, edits: Sequence[str] | None = None) -> Figure:
        """R@k over those edits (all, if none are named); the error is over photos, since edits of one photo agree."""
        found = [self.by_edit[edit].ranks < k for edit in edits or self.by_edit]
        return mean_of(np.mean(found, axis=0))

    def to_dict(self) -> dict[str, Any]:
        edits = {
            name: {"R@1": scores.recall_at_1.to_dict(), "R@10": scores.recall_at_10.to_dict()}
            for name, scores in self.by_edit.items()
        }
        return {
            "R@1": self.mean(1).to_dict(),
            "R@10": self.mean(10).to_dict(),
            "micro-AP": self.micro_ap.to_dict(),
            "edits": edits,
        }


def mean_of(values: NDArray[Any]) -> Figure:
    """values (n,) -> their mean, and its standard error (0 for a single one)."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Figure(float(np.mean(values)), spread / len(values) ** 0.5)


def ranks_of(queries: NDArray[np.float32], library: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """queries (N, D), library (M, D), unit length; rows (N,): the original of each -> its rank (N,), 0 the first.

    Others as near as the original stand before it, so that vectors which are all alike find nothing.
    """
    similarity = queries @ library.T
    own = similarity[np.arange(len(rows)), rows]
    return np.asarray((similarity >= own[:, None]).sum(axis=1) - 1)


def micro_average_precision(
    cosines: NDArray[np.float32], right: NDArray[np.bool_], asked: float, weights: NDArray[np.float64] | None = None
) -> float:
    """cosines, right, weights (pairs,) -> average precision of all pairs in one order, by cosine; `asked`: what there
    is to find. Pairs of one cosine count as one step."""
    weights = np.ones(len(cosines)) if weights is None else weights
    order = np.argsort(-cosines, kind="stable")
    hits = np.cumsum(weights[order] * right[order])
    taken = np.cumsum(weights[order])
    ends = np.append(np.flatnonzero(np.diff(cosines[order])), len(order) - 1)
    found = np.diff(hits[ends], prepend=0.0)
    precision = np.divide(hits[ends], taken[ends], out=np.zeros(len(ends)), where=taken[ends] > 0)
    return float((found * precision).sum() / asked)


def micro_ap(
    queries: NDArray[np.float32], library: NDArray[np.float32], rows: NDArray[np.int64], photos: NDArray[np.int64]
) -> Figure:
    """queries (N, D), library (M, D), unit length; rows (N,): the original of each, -1 for a stranger's; photos (N,):
    which photo a query was made of. The error is by resampling photos, with all their edits."""
    similarity = queries @ library.T
    kept = min(CANDIDATES, similarity.shape[1])
    nearest = np.argpartition(-similarity, kept - 1, axis=1)[:, :kept]
    cosines = np.take_along_axis(similarity, nearest, axis=1).ravel()
    right = (nearest == rows[:, None]).ravel()
    owner = np.repeat(photos, kept)
    positive = rows >= 0

    def value(times: NDArray[np.float64]) -> float:
        asked = float(times[photos[positive]].sum())
        return micro_average_precision(cosines, right, asked, times[owner]) if asked else 0.0

    count = int(photos.max()) + 1
    dice = np.random.default_rng(0)
    drawn = [np.bincount(dice.integers(count, size=count), minlength=count).astype(float) for _ in range(RESAMPLES)]
    return Figure(value(np.ones(count)), float(np.std([value(times) for times in drawn])))
