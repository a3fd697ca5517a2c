"""Vectors that no segment holds yet and that are too many for memory: every search reads them from the catalog.

So a search never waits for a segment to be made, and memory stays bounded until there is one. What is removed is
simply no longer read.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..catalog.database import Catalog
from ..catalog.packing import unpack_vectors
from .exact import Best, Block, Floats, Ids

CHUNK_ROWS = 10_000


@dataclass(frozen=True)
class Unsealed:
    """The catalog's vectors with ids in span (first, last)."""

    catalog: Catalog
    span: tuple[int, int]
    dim: int

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids, int]:
        """query (Q, D) -> cosines (Q, k) best first, ids (Q, k), -1 where there are no more; and the rows compared.

        allowed: sorted ids within the span.
        """
        best, rows = Best(len(query), k), 0
        with self.catalog.read() as db:
            for vectors, ids in self._all(db) if allowed is None else self._some(db, allowed):
                best.add(query @ vectors.T, ids)
                rows += len(ids)
        return *best.result(), rows

    def sample(self, count: int) -> Floats:
        """(n, D) float32, n <= count: vectors spread evenly over the span."""
        chosen = np.unique(np.linspace(*self.span, count).astype(np.int64))
        with self.catalog.read() as db:
            blocks = [vectors for vectors, _ in self._some(db, chosen)]
        return np.concatenate([np.empty((0, self.dim), np.float32), *blocks])

    def _all(self, db: sqlite3.Connection) -> Iterator[Block]:
        query = "SELECT vector_id, vector FROM frames WHERE vector_id BETWEEN ? AND ?"
        yield from self._blocks(db.execute(query, self.span))

    def _some(self, db: sqlite3.Connection, ids: Ids) -> Iterator[Block]:
        query = "SELECT vector_id, vector FROM frames WHERE vector_id IN (SELECT value FROM json_each(?)) ORDER BY 1"
        for first in range(0, len(ids), CHUNK_ROWS):
            yield from self._blocks(db.execute(query, (json.dumps(ids[first : first + CHUNK_ROWS].tolist()),)))

    def _blocks(self, found: sqlite3.Cursor) -> Iterator[Block]:
        while chunk := found.fetchmany(CHUNK_ROWS):
            ids, blobs = zip(*chunk, strict=True)
            yield unpack_vectors(list(blobs), self.dim), np.array(ids, np.int64)
