"""vicmae.index.chosen: the rows that a filter allows are compared the same way however often they are asked."""

import numpy as np
import pytest
from made_items import DIM, unit_vectors

from vicmae.index import chosen
from vicmae.index.chosen import Chosen
from vicmae.index.packing import pack_vectors
from vicmae.index.rows import RowFile, write_rows

COUNT = 2000
FEW = np.arange(3, COUNT, 20)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> RowFile:
    path = tmp_path_factory.mktemp("d") / "rows"
    return RowFile(path, COUNT, DIM, write_rows(path, DIM, pack_vectors(unit_vectors(0, COUNT))))


def known(places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Chosen:
    made = Chosen(places, COUNT)
    made.is_known = True
    return made


@pytest.mark.parametrize("asked_before", [False, True])
@pytest.mark.parametrize("queries", [1, 30])
def test_the_best_of_few_rows_are_exact(file: RowFile, asked_before: bool, queries: int) -> None:
    rows, query = file.at(FEW), unit_vectors(5, queries)
    rest = known(FEW[::-1]) if asked_before else Chosen(FEW[::-1], COUNT)
    found = rest.exactly(file, query, 10)
    assert found is not None
    order = np.argsort(-found[0], axis=1)[:, :10]
    true = np.argsort(-(query @ rows.T), axis=1)[:, :10]
    assert np.array_equal(np.take_along_axis(found[1], order, axis=1), FEW[true])
    cosines = np.take_along_axis(found[0], order, axis=1)
    assert cosines == pytest.approx(np.take_along_axis(query @ rows.T, true, axis=1), abs=1e-6)


def test_rows_are_copied_when_they_are_asked_again(file: RowFile, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = Chosen(FEW, COUNT), known(FEW)
    assert not first.is_quick(file) and again.is_quick(file)
    assert again.nbytes >= first.nbytes + len(FEW) * 2 * DIM
    monkeypatch.setattr(chosen, "QUICK_BYTES", 100)
    assert not known(FEW).is_quick(file)
    monkeypatch.setattr(chosen, "MOST_COPIED_BYTES", 100)
    large = known(FEW)
    assert large.exactly(file, unit_vectors(1, 1), 5) is None and large.nbytes == first.nbytes


def test_more_than_a_share_is_left_to_a_matrix_product(file: RowFile) -> None:
    assert known(FEW).exactly(file, unit_vectors(1, 1), len(FEW) // 2) is None


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
