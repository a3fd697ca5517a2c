"""vicmae.index.tail: rows come and go, and a search goes on in the Tail it holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import DIM, unit_vectors

from vicmae.index.tail import Tail, empty_tail, places_of


def found(tail: Tail, allowed: list[int] | None = None) -> list[int]:
    chosen = None if allowed is None else np.array(sorted(allowed), np.int64)
    _, ids = tail.search(unit_vectors(0, 1), max(1, len(tail)), chosen)
    known: list[int] = ids[ids >= 0].tolist()
    return sorted(known)


@given(st.lists(st.tuples(st.sampled_from(["plus", "minus", "after"]), st.integers(1, 40)), max_size=30))
def test_it_holds_what_a_set_would(history: list[tuple[str, int]]) -> None:
    tail, held, last = empty_tail(DIM), set[int](), 0
    for deed, number in history:
        if deed == "plus":
            ids = list(range(last + 1, last + 2 * number, 2))
            tail = tail.plus(unit_vectors(last, len(ids)), np.array(ids, np.int64))
            held |= set(ids)
            last = ids[-1]
        elif deed == "minus":
            gone = [i for i in held if i % number == 0]
            tail = tail.minus(np.array([*gone, 10**6], np.int64))
            held -= set(gone)
        else:
            tail = tail.after(number)
            held = {i for i in held if i > number}
        assert found(tail) == sorted(held) and len(tail) == len(held)
        assert found(tail, [1, 3, 5, 7]) == sorted(held & {1, 3, 5, 7})


def test_a_search_keeps_the_rows_it_began_with() -> None:
    before = empty_tail(DIM).plus(unit_vectors(1, 3), np.array([1, 2, 3]))
    after = before.plus(unit_vectors(2, 300), np.arange(4, 304)).minus(np.array([2]))
    assert found(before) == [1, 2, 3] and len(after) == 302


@pytest.mark.parametrize("ids", [[], [5, 6, 7], [2, 5, 9]])
def test_places(ids: list[int]) -> None:
    wanted = [0, 2, 5, 6, 9, 30]
    places = places_of(np.array(ids, np.int64), np.array(wanted, np.int64))
    assert [ids[place] for place in places] == [i for i in wanted if i in ids]
