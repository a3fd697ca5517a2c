"""Blocking: which items may share something? A few frames of every item against the stored vectors near them.

Every frame that is alike counts, not only the nearest few, and the work is matrix products: asking FAISS for one item
at a time took several times as long (docs/benchmarks.md). Vectors near each other mostly lie in one cell: the vectors
nearest to one of a few of themselves, drawn at random. So a probe meets only a few cells. The vectors lie in a file
without a name, in half precision as in the catalog; in memory are their cells and owners, and BATCH_ITEMS' probes.
Reads no media.
"""

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ...errors import NotFound, StorageError
from ...export.calibration import Calibration
from ..catalog import Item, Moments
from ..collection import Collection
from ..matching import cosine_of

PROBES = 16  # frames of an item that look for candidates
MAX_CANDIDATES = 12  # other items aligned for each item
BATCH_ITEMS = 128  # whose probes meet the stored vectors in one pass
BLOCK_ROWS = 8192  # vectors compared at a time
ONE_CELL_ROWS = 20_000  # so many are compared one by one: cells would not be quicker
CELLS_PER_ROOT = 2.0  # cells for each of the square root of the number of vectors
VISITED = 8  # cells in which a probe looks for its like

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def candidate_pairs(
    collection: Collection,
    items: list[Item],
    calibration: Calibration,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[str, str]]:
    """Pairs of ids of items of one kind, smaller first, of which some frames are alike; MAX_CANDIDATES an item."""
    collection.index.refresh()
    mean = collection.index.mean()
    are_videos = np.array([item.kind == "video" for item in items])
    pairs: dict[tuple[str, str], None] = {}
    with cells_of(collection, {item.id: place for place, item in enumerate(items)}) as cells:
        for first in range(0, len(items), BATCH_ITEMS):
            on_progress(first, len(items))
            batch = items[first : first + BATCH_ITEMS]
            probes, owners = _probes_of(collection, batch)
            least = cosine_of(calibration.same_footage, probes @ mean, calibration)
            ones, others, votes = _votes(cells, probes, owners, least, len(items))
            fit = (ones + first != others) & (are_videos[ones + first] == are_videos[others])
            for row, own in _by_row(ones[fit], others[fit], votes[fit]):
                for other in own[:MAX_CANDIDATES].tolist():
                    one_id, other_id = batch[row].id, items[other].id
                    pairs[min(one_id, other_id), max(one_id, other_id)] = None
    return sorted(pairs)


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

    def near(self, probes: Floats) -> Iterator[tuple[Ids, Floats, Ids]]:
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
def cells_of(collection: Collection, places: dict[str, int]) -> Iterator[Cells]:
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


def _votes(cells: Cells, probes: Floats, owners: Ids, least: Floats, items: int) -> tuple[Ids, Ids, Ids]:
    """(V,) places in the batch, places of other items, and to how many probes of the one some frame of those is alike.

    probes (P, D), owners (P,) places in the batch, least (P,) cosine that counts as alike. A probe votes once for an
    item, however many of its frames are alike: a still scene has no more to say.
    """
    votes_of_probes: list[Ids] = [np.zeros(0, np.int64)]
    for rows, vectors, held_by in cells.near(probes):
        met, columns = np.nonzero(probes[rows] @ vectors.T >= least[rows][:, None])
        known = held_by[columns] >= 0
        votes_of_probes.append(np.unique(rows[met[known]] * items + held_by[columns[known]]))
    once = np.unique(np.concatenate(votes_of_probes))
    voted, votes = np.unique(owners[once // items] * items + once % items, return_counts=True)
    return voted // items, voted % items, votes


def _by_row(ones: Ids, others: Ids, votes: Ids) -> Iterator[tuple[int, Ids]]:
    """For each of the ones, the others with most votes first; of equals, the earlier."""
    order = np.lexsort((others, -votes, ones))
    ones, others = ones[order], others[order]
    rows, starts = np.unique(ones, return_index=True)
    yield from zip(rows.tolist(), np.split(others, starts)[1:], strict=True)


def _probes_of(collection: Collection, batch: list[Item]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(P, D) probes of all items, (P,) place in the batch; items deleted in the meantime have none."""
    found, owners = [np.zeros((0, collection.spec.dim), np.float32)], [np.zeros(0, np.int64)]
    for place, item in enumerate(batch):
        try:
            own = _probes(collection.moments_of(item.id))
        except NotFound:
            continue
        found.append(own)
        owners.append(np.full(len(own), place))
    return np.concatenate(found), np.concatenate(owners)


def _probes(moments: Moments) -> NDArray[np.float32]:
    """(P, D): evenly chosen telling frames; the most telling one where all are flat."""
    telling = np.flatnonzero(moments.informative >= 0.5 * moments.informative.max())
    return moments.vectors[telling[np.unique(np.linspace(0, len(telling) - 1, PROBES).astype(np.int64))]]


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
