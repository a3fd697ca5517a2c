"""Collections with many vectors, and what an index must answer about them. For tests of the index."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from made_items import DIM, new_item, unit_vectors
from numpy.typing import NDArray

from vicmae.index.catalog.packing import unpack_vectors
from vicmae.index.collection import Collection
from vicmae.index.vectors import ivf, merge_policy
from vicmae.index.vectors.id_ranges import allowed_of
from vicmae.index.vectors.index import VectorIndex
from vicmae.index.vectors.plan import Effort

HALF = 5e-4  # about what rounding to fp16 changes a cosine by


def begin_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments begin at a few rows."""
    monkeypatch.setattr(merge_policy, "SEAL_ROWS", 5)
    monkeypatch.setattr(ivf, "LEAST_ROWS", 200)


def stored(collection: Collection) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    with collection.catalog.read() as db:
        rows = db.execute("SELECT vector_id, vector FROM frames ORDER BY vector_id").fetchall()
    return np.array([row[0] for row in rows], np.int64), unpack_vectors([row[1] for row in rows], DIM)


def agrees(index: VectorIndex, collection: Collection, effort: Effort | None = None) -> None:
    """Asserts that the index answers as comparing every stored vector does, restricted too."""
    ids, rows = stored(collection)
    query = unit_vectors(77, 2)
    for allowed in (None, ids[::3], np.array([], np.int64)):
        known = ids if allowed is None else allowed
        k = min(7, max(1, len(known)))
        scores, found = index.search(query, k, None if allowed is None else allowed_of(allowed), effort)
        true = query @ rows[np.isin(ids, known)].T if len(known) else np.empty((2, 0), np.float32)
        wanted = -np.sort(-true, axis=1)[:, :k]
        assert scores[:, : wanted.shape[1]] == pytest.approx(wanted, abs=HALF)
        assert (found[:, wanted.shape[1] :] == -1).all() and np.isin(found[found >= 0], known).all()
    assert len(index) == len(ids)


def fill(collection: Collection, items: int, frames: int, first: int = 0) -> None:
    for seed in range(first, first + items):
        collection.add(new_item(seed, frames=frames, vectors=alike(seed, frames)))


def alike(seed: int, count: int) -> NDArray[np.float32]:
    """(count, DIM) unit vectors that vary in few ways, as those of pictures do."""
    ways = np.random.default_rng(0).normal(size=(8, DIM))
    made = np.random.default_rng(seed).normal(size=(count, 8)) @ ways
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def awaited(ready: Callable[[], object]) -> None:
    for _ in range(600):
        if ready():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")
