"""Exact search: the k best rows of all rows, block by block with matrix products. Knows arrays only.

One place orders answers: by cosine, the smaller id first where two of them tie. Memory is a block of similarities,
whatever the number of rows.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK_CELLS = 1_000_000  # of similarities held at once: 4 MB, about what the processor's cache holds
LEAST_BLOCK_ROWS = 1024

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Block = tuple[Floats, Ids]  # rows (B, D) and their ids (B,)


class Best:
    """The k best seen so far of each of Q queries."""

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self._scores = np.full((queries, k), -np.inf, np.float32)
        self._ids = np.full((queries, k), -1, np.int64)

    def add(self, similarity: Floats, ids: Ids) -> None:
        """similarity (Q, B) of rows with ids (B,), or (Q, B) where each query has rows of its own; -inf: no row.

        Of rows that tie with the k-th, those that came first stay; so add them by ascending id.
        """
        better = similarity > self._scores[:, -1:]
        if similarity.shape[1] > self._k and np.count_nonzero(better) > 4 * self._scores.size:
            similarity, ids = _cut(similarity, ids, self._k)
            better = similarity > self._scores[:, -1:]
        rows, columns = np.nonzero(better)
        if not len(rows):
            return
        found = ids[columns] if ids.ndim == 1 else ids[rows, columns]
        owners = np.concatenate([np.repeat(np.arange(len(similarity)), self._k), rows])
        scores = np.concatenate([self._scores.ravel(), similarity[rows, columns]])
        known = np.concatenate([self._ids.ravel(), found])
        order = np.lexsort((known, -scores, owners))
        firsts = np.searchsorted(owners[order], np.arange(len(similarity)))
        kept = order[(firsts[:, None] + np.arange(self._k)).ravel()]
        self._scores = scores[kept].reshape(self._scores.shape)
        self._ids = known[kept].reshape(self._ids.shape)

    def result(self) -> tuple[Floats, Ids]:
        """cosines (Q, k) within -1..1, best first, and ids (Q, k); -1 and -1 where there are no more."""
        nothing = self._ids < 0
        return np.where(nothing, np.float32(-1), np.clip(self._scores, -1, 1)).astype(np.float32), self._ids


def best_rows(query: Floats, blocks: Iterable[Block], k: int) -> tuple[Floats, Ids]:
    """query (Q, D) and blocks of rows -> cosines (Q, k) best first, ids (Q, k), as Best.result."""
    best = Best(len(query), k)
    for rows, ids in blocks:
        best.add(query @ rows.T, ids)
    return best.result()


def in_blocks(rows: Floats, ids: Ids, queries: int) -> Iterator[Block]:
    """Views of rows (N, D) and ids (N,), of a size that suits that number of queries."""
    size = block_rows(queries)
    for start in range(0, len(rows), size):
        yield rows[start : start + size], ids[start : start + size]


def block_rows(queries: int) -> int:
    return max(LEAST_BLOCK_ROWS, BLOCK_CELLS // max(queries, 1))


def _cut(similarity: Floats, ids: Ids, k: int) -> tuple[Floats, Ids]:
    """The k best columns of each row, in no order. Of several that tie with the last, any may go."""
    columns = np.argpartition(similarity, similarity.shape[1] - k, axis=1)[:, -k:]
    found = ids[columns] if ids.ndim == 1 else np.take_along_axis(ids, columns, axis=1)
    return np.take_along_axis(similarity, columns, axis=1), found
