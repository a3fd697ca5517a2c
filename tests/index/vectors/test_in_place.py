"""vicmae.index.vectors.in_place: FAISS compares stored rows where they lie, and only what is certain is answered."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_items import DIM, unit_vectors

from vicmae.index.catalog.packing import pack_vectors
from vicmae.index.vectors.exact import Floats, best_rows
from vicmae.index.vectors.in_place import Only, best_in_place
from vicmae.index.vectors.rows import RowFile, write_rows

ROWS = 600


def stored(folder: Path, vectors: Floats) -> RowFile:
    factors = write_rows(folder / "rows", DIM, [b"".join(pack_vectors(vectors))])
    return RowFile(folder / "rows", len(vectors), DIM, factors)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> RowFile:
    return stored(tmp_path_factory.mktemp("rows"), unit_vectors(1, ROWS))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, ROWS), st.floats(0, 1))
def test_the_best_of_all_rows_are_among_what_is_given(rows: RowFile, seed: int, q: int, k: int, share: float) -> None:
    query = unit_vectors(seed, q)
    mask = np.random.default_rng(seed).random(ROWS) < share
    only = None if share == 1 else Only(mask)
    allowed = np.arange(ROWS) if only is None else np.flatnonzero(mask)
    k = min(k, len(allowed))
    if not k:
        return
    found = best_in_place(rows.mapped, rows.factors, rows.extremes, query, k, only)
    if found is None:
        return
    cosines, places = found
    true, nearest = best_rows(query, [(rows.at(allowed), allowed)], k)
    for row in range(q):
        assert set(nearest[row].tolist()) <= set(places[row].tolist()) <= set(allowed.tolist())
        assert np.sort(cosines[row])[::-1][:k] == pytest.approx(true[row], abs=1e-6)


def test_it_is_mostly_certain(rows: RowFile) -> None:
    answers = [best_in_place(rows.mapped, rows.factors, rows.extremes, unit_vectors(i, 1), 50, None) for i in range(50)]
    assert sum(answer is not None for answer in answers) >= 45


def test_rows_as_good_as_equal_are_left_to_who_compares_all(tmp_path: Path) -> None:
    alike = np.repeat(unit_vectors(1, 1), ROWS, axis=0)
    rows = stored(tmp_path, alike)
    assert best_in_place(rows.mapped, rows.factors, rows.extremes, alike[:1], 5, None) is None
    everything = best_in_place(rows.mapped, rows.factors, rows.extremes, alike[:1], ROWS, None)
    assert everything is not None and set(everything[1][0].tolist()) == set(range(ROWS))
