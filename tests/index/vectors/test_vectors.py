"""vicmae.index.vectors.index: the FAISS side always equals the catalog."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_index import HALF
from made_items import DIM, ENGINE, new_item, unit_vectors
from numpy.typing import NDArray

from vicmae.index.catalog.packing import pack_vectors, unpack_vectors
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.vectors.index import VectorIndex


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def stored(collection: Collection) -> tuple[list[int], NDArray[np.float32]]:
    with collection.catalog.read() as db:
        rows = db.execute("SELECT vector_id, vector FROM frames ORDER BY vector_id").fetchall()
    return [row[0] for row in rows], unpack_vectors([row[1] for row in rows], DIM)


def held(index: VectorIndex) -> list[int]:
    _, ids = index.search(unit_vectors(1, 1), max(1, len(index)))
    known: list[int] = ids[ids >= 0].tolist()
    return sorted(known)


def test_vectors_survive_packing() -> None:
    vectors = unit_vectors(3, 50)
    again = unpack_vectors(pack_vectors(vectors), DIM)
    assert again.shape == vectors.shape
    assert (again * vectors).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(again, axis=1) == pytest.approx(1, abs=1e-6)


def test_packing_scales_to_unit_length() -> None:
    vectors = unit_vectors(3, 5) * 1000
    assert np.linalg.norm(unpack_vectors(pack_vectors(vectors), DIM), axis=1) == pytest.approx(1, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["add", "delete", "refresh"]), st.integers(0, 5)), max_size=25))
def test_it_follows_any_history(tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        follower = VectorIndex(collection.catalog, DIM)
        here: set[str] = set()
        for deed, seed in history:
            item = new_item(seed, frames=1 + seed % 3)
            if deed == "add":
                collection.add(item)
                here.add(item.id)
            elif deed == "delete" and item.id in here:
                collection.delete(item.id)
                here.remove(item.id)
            elif deed == "refresh":
                follower.refresh()
        follower.refresh()
        assert held(follower) == stored(collection)[0]


def test_search_is_exact(collection: Collection) -> None:
    for seed in range(10):
        collection.add(new_item(seed, frames=7))
    collection.index.refresh()
    query = unit_vectors(99, 3)
    scores, ids = collection.index.search(query, 12)
    vector_ids, vectors = stored(collection)
    true = query @ vectors.T
    assert scores == pytest.approx(-np.sort(-true, axis=1)[:, :12], abs=HALF)
    for row in range(3):
        best = np.argsort(-true[row], kind="stable")[:12]
        assert ids[row].tolist() == [vector_ids[i] for i in best]


def test_another_process_is_followed(tmp_path: Path, collection: Collection) -> None:
    collection.add(new_item(1))
    with Library(tmp_path) as elsewhere:
        other = elsewhere.open("c")
        other.index.refresh()
        collection.add(new_item(2, frames=3))
        collection.delete(new_item(1).id)
        other.index.refresh()
        assert held(other.index) == stored(collection)[0]


def test_ids_are_never_used_again(collection: Collection) -> None:
    first = collection.add(new_item(1))
    before = stored(collection)[0]
    collection.delete(first.id)
    collection.add(new_item(1))
    assert min(stored(collection)[0]) > max(before)


def test_more_than_there_is_gives_minus_one(collection: Collection) -> None:
    collection.add(new_item(1, frames=2))
    collection.index.refresh()
    scores, ids = collection.index.search(unit_vectors(0, 1), 5)
    assert (ids[0, 2:] == -1).all() and (scores[0, 2:] == -1).all()


def test_the_mean_of_nothing_is_zero_and_else_the_mean(collection: Collection) -> None:
    assert not collection.index.mean().any()
    collection.add(new_item(1, frames=6))
    collection.index.refresh()
    assert collection.index.mean() == pytest.approx(stored(collection)[1].mean(axis=0), abs=1e-6)


def test_loading_goes_in_chunks(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicmae.index.catalog.frames.CHUNK_ROWS", 3)
    for seed in range(4):
        collection.add(new_item(seed, frames=4))
    collection.index.refresh()
    assert held(collection.index) == stored(collection)[0]


def test_a_vector_of_another_size_is_refused(collection: Collection) -> None:
    with pytest.raises(ValueError, match="must be"):
        collection.index.search(np.zeros((1, DIM + 1), np.float32), 1)
