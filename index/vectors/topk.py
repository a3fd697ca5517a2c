"""The k best of several searches as one answer, ordered: the one place that says which answer comes first."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Found = tuple[Floats, Ids]  # scores (Q, n) and ids (Q, n); id -1: no answer


def nothing_found(queries: int, k: int) -> Found:
    """For a search of no vectors."""
    return np.full((queries, k), -1, np.float32), np.full((queries, k), -1, np.int64)


def best_of(found: Sequence[Found], queries: int, k: int) -> Found:
    """Answers in any order -> scores (Q, k) float32 within -1..1, best first, and ids (Q, k) int64.

    Of equal scores the smaller id comes first. Where there are fewer than k, score and id are -1.
    """
    every = [*found, nothing_found(queries, k)]
    scores = np.concatenate([part[0] for part in every], axis=1)
    ids = np.concatenate([part[1] for part in every], axis=1)
    scores = np.where(ids < 0, np.float32(-np.inf), scores)
    order = np.lexsort((ids, -scores))[:, :k]
    scores, ids = np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
    return np.where(ids < 0, np.float32(-1), np.clip(scores, -1, 1)).astype(np.float32), ids
