"""vicmae.index.duplicates.blocking: items that share frames are proposed, in either order and across blocks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_items import ENGINE, new_item, unit_vectors

from vicmae.export.engine.engine import FAKE_CALIBRATION
from vicmae.index.collection import Collection
from vicmae.index.duplicates import blocking
from vicmae.index.duplicates.blocking import candidate_pairs
from vicmae.index.library import Library


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def proposed(collection: Collection) -> list[tuple[str, str]]:
    return candidate_pairs(collection, collection.items(1000)[0], FAKE_CALIBRATION)


@pytest.mark.parametrize(("batch", "block"), [(1, 7), (3, 1000), (128, 8192)])
def test_batches_and_blocks_change_nothing(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, batch: int, block: int
) -> None:
    monkeypatch.setattr(blocking, "BATCH_ITEMS", batch)
    monkeypatch.setattr(blocking, "BLOCK_ROWS", block)
    items = [collection.add(new_item(seed, 20)) for seed in range(8)]
    copies = [collection.add(new_item(100 + seed, 20, vectors=unit_vectors(seed, 20))) for seed in (2, 5)]
    wanted = sorted((min(a.id, b.id), max(a.id, b.id)) for a, b in ((items[2], copies[0]), (items[5], copies[1])))
    assert proposed(collection) == wanted


def test_cells_find_the_copies_that_comparing_everything_finds(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 films, and noisy copies of ten of them."""
    for seed in range(40):
        collection.add(new_item(seed, 30))
    for seed in range(10):
        noisy = unit_vectors(seed, 30) + 0.2 * unit_vectors(900 + seed, 30)
        collection.add(new_item(100 + seed, 30, vectors=noisy))
    in_one_cell = proposed(collection)
    monkeypatch.setattr(blocking, "ONE_CELL_ROWS", 100)
    assert proposed(collection) == in_one_cell
    assert len(in_one_cell) == 10


def test_every_probe_meets_its_own_vector(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "ONE_CELL_ROWS", 20)
    monkeypatch.setattr(blocking, "BLOCK_ROWS", 16)
    places = {collection.add(new_item(seed, 25)).id: seed for seed in range(8)}
    probes = np.concatenate([unit_vectors(seed, 25) for seed in range(8)])
    met = np.zeros((len(probes), 8), np.float32)
    with blocking.cells_of(collection, places) as found:
        assert len(found.centres) == 29
        for rows, vectors, owners in found.near(probes):
            np.maximum.at(met, (rows[:, None], owners[None, :]), probes[rows] @ vectors.T)
    assert (met[np.arange(200), np.repeat(np.arange(8), 25)] > 0.999).all()


def test_an_empty_collection_has_no_pairs(collection: Collection) -> None:
    assert proposed(collection) == []


def test_a_picture_is_no_candidate_of_a_film(collection: Collection) -> None:
    collection.add(new_item(1, 20))
    collection.add(new_item(2, 1, vectors=unit_vectors(1, 20)[:1]))
    assert proposed(collection) == []


def test_a_crowd_gives_each_item_its_share(collection: Collection) -> None:
    intro = unit_vectors(500, 10)
    for seed in range(30):
        collection.add(new_item(seed, 40, vectors=np.concatenate([intro, unit_vectors(seed, 30)])))
    pairs = proposed(collection)
    assert len({item for pair in pairs for item in pair}) == 30
    assert len(pairs) <= 30 * blocking.MAX_CANDIDATES


def test_every_stored_vector_comes_once(collection: Collection) -> None:
    for seed in range(5):
        collection.add(new_item(seed, 11))
    blocks = list(collection.vectors_in_blocks(7))
    owners = [item_id for held_by, _ in blocks for item_id in held_by]
    assert [len(held_by) for held_by, _ in blocks] == [7] * 7 + [6]
    assert len(owners) == 55 and len(set(owners)) == 5
    assert all(len(held_by) == len(vectors) for held_by, vectors in blocks)
