"""Which items may share something? A few frames of every item against the stored vectors near them; reads no media.

Every frame that is alike counts, not only the nearest few, and the work is matrix products: asking FAISS for one item
at a time took several times as long (docs/benchmarks.md). Memory is bounded by BATCH_ITEMS and what cells.py tells.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ...errors import NotFound
from ..catalog.items import Item, Moments
from ..collection import Collection
from ..matching.alignment import LEAST_LIKENESS
from .cells import Cells, Ids, in_cells

PROBES = 16  # frames of an item that look for candidates
MAX_CANDIDATES = 12  # other items aligned for each item
BATCH_ITEMS = 128  # whose probes meet the stored vectors in one pass
MAX_USUAL = 0.94


def candidate_pairs(
    collection: Collection, items: list[Item], on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[tuple[str, str]]:
    """Pairs of ids of items of one kind, smaller first, of which some frames are alike; MAX_CANDIDATES an item."""
    collection.index.refresh()
    mean = collection.index.mean()
    are_videos = np.array([item.kind == "video" for item in items])
    pairs: dict[tuple[str, str], None] = {}
    with in_cells(collection, {item.id: place for place, item in enumerate(items)}) as cells:
        for first in range(0, len(items), BATCH_ITEMS):
            on_progress(first, len(items))
            batch = items[first : first + BATCH_ITEMS]
            ones, others, votes = _votes(collection, cells, batch, len(items), mean)
            fit = (ones + first != others) & (are_videos[ones + first] == are_videos[others])
            for row, own in _by_row(ones[fit], others[fit], votes[fit]):
                for other in own[:MAX_CANDIDATES].tolist():
                    one_id, other_id = batch[row].id, items[other].id
                    pairs[min(one_id, other_id), max(one_id, other_id)] = None
    return sorted(pairs)


def _votes(
    collection: Collection, cells: Cells, batch: list[Item], items: int, mean: NDArray[np.float32]
) -> tuple[Ids, Ids, Ids]:
    """(V,) places in the batch, places of other items, and to how many probes of the one some frame of those is alike.

    A probe votes once for an item, however many of its frames are alike: a still scene has no more to say.
    """
    probes, owners = _probes_of(collection, batch)
    usual = np.minimum(probes @ mean, MAX_USUAL)
    least = usual + LEAST_LIKENESS * (1 - usual)
    votes_of_probes: list[Ids] = [np.zeros(0, np.int64)]
    for rows, vectors, held_by in cells.met(probes):
        met, columns = np.nonzero(probes[rows] @ vectors.T >= least[rows][:, None])
        known = held_by[columns] >= 0
        found = np.unique(rows[met[known]] * items + held_by[columns[known]])
        votes_of_probes.append(found)
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
