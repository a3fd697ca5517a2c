"""vicmae.index.vectors.chosen: few rows that a filter allows are found, exactly or as the sketch ranks them."""

import numpy as np
import pytest
from made_items import DIM, unit_vectors

from vicmae.index.catalog.packing import pack_vectors
from vicmae.index.vectors.chosen import Chosen
from vicmae.index.vectors.rows import RowFile, write_rows
from vicmae.index.vectors.sketch import Sketch, read_sketch, write_sketch

COUNT = 2000
FEW = np.arange(3, COUNT, 20)


Made = tuple[Sketch, RowFile]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, held = tmp_path_factory.mktemp("d"), unit_vectors(0, COUNT)
    file = RowFile(folder / "rows", COUNT, DIM, write_rows(folder / "rows", DIM, pack_vectors(held)))
    write_sketch(folder / "sketch", held, file.blocks(700))
    return read_sketch(folder / "sketch"), file


@pytest.mark.parametrize("queries", [1, 30])
def test_the_best_of_few_rows_are_exact(made: Made, queries: int) -> None:
    _, file = made
    rows, query = file.at(FEW), unit_vectors(5, queries)
    found = Chosen(FEW[::-1], COUNT).exactly(file, query, 10)
    assert found is not None
    order = np.argsort(-found[0], axis=1)[:, :10]
    true = np.argsort(-(query @ rows.T), axis=1)[:, :10]
    assert np.array_equal(np.take_along_axis(found[1], order, axis=1), FEW[true])
    cosines = np.take_along_axis(found[0], order, axis=1)
    assert cosines == pytest.approx(np.take_along_axis(query @ rows.T, true, axis=1), abs=1e-6)


@pytest.mark.parametrize("queries", [1, 30])
def test_those_that_the_sketch_ranks_first_are_compared(made: Made, queries: int) -> None:
    sketch, file = made
    query = unit_vectors(6, queries)
    chosen = Chosen(FEW, COUNT)
    true = FEW[np.argsort(-(query @ file.at(FEW).T), axis=1)[:, :5]]
    found_of = []
    for enough in (len(FEW), 30, 30):
        cosines, found = chosen.nearly(sketch, file, query, 5, enough)
        assert found.shape == (queries, 5) and np.isin(found, FEW).all()
        for row, places, one in zip(cosines, found, query, strict=True):
            assert row == pytest.approx([(file.at(places[[i]]) @ one)[0] for i in range(5)], abs=1e-6)
        found_of.append(np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]))
    assert found_of[0] == 1.0 and found_of[1] == found_of[2] >= 0.6


def test_rows_that_lie_far_from_the_query_are_found_too(made: Made) -> None:
    sketch, file = made
    query = file.at(np.array([0]))
    far = np.sort(np.argsort(file.at(np.arange(COUNT)) @ query[0])[:100])
    cosines, found = Chosen(far, COUNT).nearly(sketch, file, query, 10, 20)
    assert np.isin(found, far).all() and len(set(found[0])) == 10
    assert cosines.max() == pytest.approx((file.at(far) @ query[0]).max(), abs=0.05)


def test_what_was_packed_is_kept(made: Made) -> None:
    sketch, file = made
    chosen = Chosen(FEW, COUNT)
    before = chosen.nbytes
    chosen.nearly(sketch, file, unit_vectors(1, 1), 5, 20)
    assert chosen.nbytes >= before + len(FEW) * DIM // 8


def test_more_than_a_share_is_left_to_a_matrix_product(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Chosen(FEW, COUNT)
    assert chosen.exactly(made[1], unit_vectors(1, 1), len(FEW) // 2) is None
    monkeypatch.setattr("vicmae.index.vectors.chosen.MOST_COPIED_BYTES", 100)
    assert chosen.exactly(made[1], unit_vectors(1, 1), 5) is None


@pytest.mark.parametrize("step", [3, 50])
def test_only_those_alive_are_left(step: int) -> None:
    places = np.arange(0, COUNT, step)
    alive = np.ones(COUNT, np.bool_)
    made = Chosen(places, COUNT)
    assert made.among(alive) is made
    alive[places[::2]] = False
    left = made.among(alive)
    assert left.count == left.only.count == len(places) - len(places[::2])
    assert np.array_equal(np.flatnonzero(left.only.mask), places[1::2])
    assert (left.places is None) == (step == 3)
