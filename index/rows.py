"""A file of vectors, one after another, read piece by piece: what is not looked at takes no memory."""

import os
import weakref
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np

from .exact import Block, Floats, Ids
from .packing import cosines, unpack_rows

CHUNK_ROWS = 10_000
DENSE = 16  # of so many rows at least one is wanted: then the whole file is read in large pieces


class RowFile:
    """(N, D) fp16 little-endian; the file stays open, also when its name is gone."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self.count, self._dim = count, dim

    def at(self, places: Ids) -> Floats:
        """places (P,) ascending -> rows (P, D) float32 unit length."""
        size, file = 2 * self._dim, self._file
        if DENSE * len(places) < self.count:
            return unpack_rows(self._raw(places), self._dim)
        picked = []
        for start in range(0, self.count, CHUNK_ROWS):
            here = places[slice(*np.searchsorted(places, (start, start + CHUNK_ROWS)))]
            raw = os.pread(file, size * min(CHUNK_ROWS, self.count - start), size * start)
            picked.append(np.frombuffer(raw, "<f2").reshape(-1, self._dim)[here - start])
        return unpack_rows(b"".join(part.tobytes() for part in picked), self._dim)

    def cosines(self, places: Ids, query: Floats) -> Floats:
        """places (P,), few, and a query (D,) of unit length -> (P,) float32."""
        return cosines(self._raw(places), query)

    def blocks(self, rows_a_block: int) -> Iterator[Block]:
        """All rows with their places."""
        size = 2 * self._dim
        for start in range(0, self.count, rows_a_block):
            end = min(start + rows_a_block, self.count)
            raw = os.pread(self._file, size * (end - start), size * start)
            yield unpack_rows(raw, self._dim), np.arange(start, end)

    def _raw(self, places: Ids) -> bytes:
        size = 2 * self._dim
        return b"".join(map(os.pread, repeat(self._file), repeat(size), (size * places).tolist()))
