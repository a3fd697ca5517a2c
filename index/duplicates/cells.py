"""Vectors in cells: those near each other mostly lie in one, so that a probe need not meet all of a collection.

A cell is the vectors nearest to one of a few of themselves, drawn at random: about the square root of their number. The
vectors lie in a file without a name, in half precision as in the catalog; in memory are their cells and owners.
"""

import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ...errors import StorageError
from ..collection import Collection

BLOCK_ROWS = 8192  # vectors compared at a time
ONE_CELL_ROWS = 20_000  # so many are compared one by one: cells would not be quicker
CELLS_PER_ROOT = 2.0  # cells for each of the square root of the number of vectors
VISITED = 8  # cells in which a probe looks for its like

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """vectors (N, D) float16 in a file, owners (N,) places of their items, -1: none of these; centres (C, D) float32.

    order (N,) lists the vectors cell by cell, cell c from ends[c] to ends[c + 1].
    """

    vectors: NDArray[np.float16]
    owners: Ids
    centres: Floats
    order: Ids
    ends: Ids

    def met(self, probes: Floats) -> Iterator[tuple[Ids, Floats, Ids]]:
        """probes (P, D) -> rows of those that visit a cell, its vectors (n, D) and their owners, in blocks."""
        visited = _nearest(probes, self.centres, VISITED)
        visitors = np.argsort(visited.ravel(), kind="stable")
        starts = np.searchsorted(visited.ravel()[visitors], np.arange(len(self.centres) + 1))
        for cell in range(len(self.centres)):
            rows = visitors[starts[cell] : starts[cell + 1]] // visited.shape[1]
            for first in range(self.ends[cell], self.ends[cell + 1] if len(rows) else 0, BLOCK_ROWS):
                held = np.sort(self.order[first : min(first + BLOCK_ROWS, self.ends[cell + 1])])
                yield rows, self.vectors[held].astype(np.float32), self.owners[held]


@contextmanager
def in_cells(collection: Collection, places: dict[str, int]) -> Iterator[Cells]:
    """All stored vectors of a collection; places: of the items that count, by id. StorageError without room."""
    dim = collection.spec.dim
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(dir=collection.folder))
            owners = _copied(collection, places, file)
        except OSError as error:
            raise StorageError(
                f"The vectors to compare cannot be laid out in {collection.folder}: {error.strerror}. Make room there."
            ) from error
        count = len(owners)
        stored = np.memmap(file, np.float16, "r", shape=(count, dim)) if count else np.zeros((0, dim), np.float16)
        centres = _centres(stored)
        blocks = (stored[first : first + BLOCK_ROWS] for first in range(0, count, BLOCK_ROWS))
        nearest = [_nearest(block.astype(np.float32), centres, 1)[:, 0] for block in blocks]
        cells = np.concatenate([np.zeros(0, np.int64), *nearest])
        order = np.argsort(cells, kind="stable")
        ends = np.searchsorted(cells[order], np.arange(len(centres) + 1))
        yield Cells(stored, owners, centres, order, ends)


def _copied(collection: Collection, places: dict[str, int], file: IO[bytes]) -> Ids:
    """Writes every stored vector in half precision; -> their owners (N,)."""
    owners: list[Ids] = [np.zeros(0, np.int64)]
    for held_by, vectors in collection.vectors_in_blocks(BLOCK_ROWS):
        owners.append(np.array([places.get(item_id, -1) for item_id in held_by], np.int64))
        file.write(vectors.astype(np.float16).tobytes())
    file.flush()
    return np.concatenate(owners)


def _centres(vectors: NDArray[np.float16]) -> Floats:
    """(C, D): vectors drawn at random, always the same ones."""
    count = len(vectors)
    wanted = 1 if count <= ONE_CELL_ROWS else math.ceil(CELLS_PER_ROOT * math.sqrt(count))
    drawn = np.random.default_rng(0).choice(count, min(wanted, count), replace=False)
    return np.asarray(vectors[np.sort(drawn)], np.float32)


def _nearest(vectors: Floats, centres: Floats, count: int) -> Ids:
    """(N, min(count, C)) int64: the centres of the highest cosine, in no order."""
    if count >= len(centres):
        return np.tile(np.arange(len(centres)), (len(vectors), 1))
    cosines = vectors @ centres.T
    if count == 1:
        return np.asarray(cosines.argmax(axis=1)[:, None], np.int64)
    return np.asarray(np.argpartition(cosines, -count, axis=1)[:, -count:], np.int64)
