"""vicmae.index.vectors.places: whatever the order of the rows, each id is found at its row and each row has its id."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vicmae.index.vectors.places import places_by


@given(st.lists(st.integers(1, 60), unique=True), st.lists(st.integers(-5, 70), unique=True), st.integers(0, 2**40))
def test_rows_and_ids_lead_to_one_another(ids: list[int], wanted: list[int], first: int) -> None:
    by_row = np.array(ids, np.int64) + first
    places = places_by(by_row)
    assert len(places) == len(ids)
    assert np.array_equal(places.ids_at(np.arange(len(ids))), by_row)
    asked = np.sort(np.array(wanted, np.int64) + first)
    assert by_row[places.of(asked)].tolist() == [i for i in asked.tolist() if i in set(by_row.tolist())]


def test_ids_too_far_apart_for_four_bytes() -> None:
    places = places_by(np.array([2**40, 3, 2**33]))
    assert places.ids_at(np.array([[0], [2]])).tolist() == [[2**40], [2**33]]
    assert places.of(np.array([0, 3, 4, 2**33, 2**40, 2**41])).tolist() == [1, 2, 0]
