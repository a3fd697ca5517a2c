"""Vectors that no segment holds yet and that are too many for memory: every search reads them from the catalog.

So a search never waits for a segment to be built, and memory stays bounded until there is one.
"""

from dataclasses import dataclass

import numpy as np

from ..catalog import Catalog, unpack_rows, vectors_between, vectors_with_ids
from .memtable import empty_memtable
from .topk import Floats, Found, Ids, best_of


@dataclass(frozen=True)
class Unsealed:
    """The catalog's vectors with ids in span (first, last)."""

    catalog: Catalog
    span: tuple[int, int]
    dim: int

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> tuple[Found, int]:
        """query (Q, D) -> cosines (Q, k) best first, ids (Q, k), -1 where there are no more; and the rows compared.

        allowed: sorted ids within the span.
        """
        best, rows = best_of([], len(query), k), 0
        with self.catalog.read() as db:
            for ids, raw in vectors_between(db, self.span) if allowed is None else vectors_with_ids(db, allowed):
                best = best_of([best, empty_memtable(self.dim).plus(ids, raw).search(query, k)], len(query), k)
                rows += len(ids)
        return best, rows

    def sample(self, count: int) -> Floats:
        """(n, D) float32, n <= count: vectors spread evenly over the span."""
        chosen = np.unique(np.linspace(*self.span, count).astype(np.int64))
        with self.catalog.read() as db:
            blocks = [unpack_rows(raw, self.dim) for _, raw in vectors_with_ids(db, chosen)]
        return np.concatenate([np.empty((0, self.dim), np.float32), *blocks])
