"""Which items may share something? A few frames of every item against all stored vectors, in blocks; reads no files.

Every frame that is alike counts, not only the nearest few, and the work is matrix products: asking FAISS for one item
at a time took several times as long (docs/benchmarks.md). Memory is bounded by BATCH_ITEMS and BLOCK_ROWS.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFound
from .align import LEAST_LIKENESS
from .collection import Collection, Moments
from .items import Item

PROBES = 16  # frames of an item that look for candidates
MAX_CANDIDATES = 12  # other items aligned for each item
BATCH_ITEMS = 128  # whose probes meet the stored vectors in one pass
BLOCK_ROWS = 8192  # stored vectors at a time
MAX_USUAL = 0.94


def candidate_pairs(
    collection: Collection, items: list[Item], on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[tuple[str, str]]:
    """Pairs of ids of items of one kind, smaller first, of which some frames are alike; MAX_CANDIDATES an item."""
    collection.index.refresh()
    mean = collection.index.mean()
    places = {item.id: place for place, item in enumerate(items)}
    are_videos = np.array([item.kind == "video" for item in items])
    pairs: dict[tuple[str, str], None] = {}
    for first in range(0, len(items), BATCH_ITEMS):
        on_progress(first, len(items))
        batch = items[first : first + BATCH_ITEMS]
        votes = _votes(collection, batch, places, mean)
        for row, item in enumerate(batch):
            votes[row, (are_videos != are_videos[places[item.id]]) | (np.arange(len(items)) == places[item.id])] = 0
            best = np.argsort(-votes[row].astype(np.int64), kind="stable")[:MAX_CANDIDATES]
            for other in best[votes[row, best] > 0].tolist():
                pairs[min(item.id, items[other].id), max(item.id, items[other].id)] = None
    return sorted(pairs)


def _votes(
    collection: Collection, batch: list[Item], places: dict[str, int], mean: NDArray[np.float32]
) -> NDArray[np.int32]:
    """(batch, items) int32: to how many probes of the one some frame of the other is alike."""
    probes, owners = _probes_of(collection, batch)
    votes = np.zeros((len(batch), len(places)), np.int32)
    if not len(probes):
        return votes
    usual = np.minimum(probes @ mean, MAX_USUAL)
    least = (usual + LEAST_LIKENESS * (1 - usual))[:, None]
    for held_by, vectors in collection.vectors_in_blocks(BLOCK_ROWS):
        known = np.array([places.get(item_id, -1) for item_id in held_by])
        rows, columns = np.nonzero(probes @ vectors.T >= least)
        met = known[columns] >= 0
        # A probe votes once for an item, however many of its frames are alike: a still scene has no more to say.
        once = np.unique(rows[met] * len(places) + known[columns[met]])
        np.add.at(votes, (owners[once // len(places)], once % len(places)), 1)
    return votes


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
