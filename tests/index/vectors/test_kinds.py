"""vicmae.index.vectors.build and segment: which kind a segment becomes, and every kind answers with true cosines."""

from pathlib import Path

import numpy as np
import pytest
from made_items import DIM, ENGINE, new_item
from numpy.typing import NDArray

from vicmae.index.catalog.packing import unpack_vectors
from vicmae.index.library import Library
from vicmae.index.vectors import build, segment
from vicmae.index.vectors.id_ranges import allowed_of
from vicmae.index.vectors.plan import Effort, IndexOptions

ROWS = 1200


def alike(seed: int, count: int) -> NDArray[np.float32]:
    """(count, DIM) unit vectors that vary in 12 ways, as those of pictures vary in fewer than they have numbers."""
    ways = np.random.default_rng(0).normal(size=(12, DIM))
    made = np.random.default_rng(seed).normal(size=(count, 12)) @ ways
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize(
    ("slow", "memory_bytes", "kind"),
    [(1e9, 2**30, "ivf"), (0.0, 2**30, "hnsw"), (0.0, ROWS * DIM, "ivf")],
)
def test_auto_takes_a_graph_where_lists_are_slow_and_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float, memory_bytes: int, kind: str
) -> None:
    monkeypatch.setattr(build, "EXACT_ROWS", 500)
    monkeypatch.setattr(build, "SLOW_MICROSECONDS", slow)
    monkeypatch.setattr(segment, "SCANNED_ROWS", 50)
    with Library(tmp_path, IndexOptions(memory_bytes=memory_bytes, min_recall=0.9)) as library:
        collection = library.create("c", ENGINE)
        for seed in range(4):
            collection.add(new_item(seed, frames=ROWS // 4, vectors=alike(seed, ROWS // 4)))
        assert collection.index.seal(everything=True)
        collection.index.refresh()
        assert [part["kind"] for part in collection.index.status()["segments"]] == [kind]
        with collection.catalog.read() as db:
            held = unpack_vectors([row[0] for row in db.execute("SELECT vector FROM frames ORDER BY vector_id")], DIM)
        query = alike(9, 40)
        every = np.arange(1, ROWS + 1)
        for allowed in (None, every[::2], every[::15]):
            ids = every if allowed is None else allowed
            effort = Effort()
            cosines, found = collection.index.search(query, 5, None if allowed is None else allowed_of(allowed), effort)
            assert np.isin(found, ids).all() and (np.diff(cosines, axis=1) <= 0).all()
            assert cosines == pytest.approx(np.einsum("qd,qkd->qk", query, held[found - 1]), abs=1e-6)
            true = ids[np.argsort(-(query @ held[ids - 1].T), axis=1)[:, :5]]
            recall = np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)])
            assert recall >= effort.to_dict()["recall_estimate"] - 0.03
