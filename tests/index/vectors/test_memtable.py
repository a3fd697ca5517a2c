"""vicmae.index.vectors.memtable: rows come and go, and a search goes on in the Tail it holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import DIM, unit_vectors

from vicmae.index.catalog.packing import pack_vectors, unpack_rows
from vicmae.index.vectors.exact import Floats, best_rows
from vicmae.index.vectors.in_place import MANY_QUERIES
from vicmae.index.vectors.memtable import Tail, empty_tail, places_of


def packed(vectors: Floats) -> bytes:
    return b"".join(pack_vectors(vectors))


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
            tail = tail.plus(packed(unit_vectors(last, len(ids))), np.array(ids, np.int64))
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
    before = empty_tail(DIM).plus(packed(unit_vectors(1, 3)), np.array([1, 2, 3]))
    after = before.plus(packed(unit_vectors(2, 300)), np.arange(4, 304)).minus(np.array([2]))
    assert found(before) == [1, 2, 3] and len(after) == 302


def near(seed: int, count: int, spread: float) -> Floats:
    """(count, DIM) unit vectors about one direction: as good as equal when spread is 0."""
    chance = np.random.default_rng(seed)
    made = np.ones(DIM) + spread * chance.normal(size=(count, DIM))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-2, 3.0])
@pytest.mark.parametrize("queries", [1, MANY_QUERIES])
def test_it_answers_as_brute_force_does(spread: float, queries: int) -> None:
    count, chance = 700, np.random.default_rng(4)
    raw, ids = packed(near(1, count, spread)), 3 * np.arange(count)
    gone = chance.choice(ids, 90, replace=False)
    tail = empty_tail(DIM).plus(raw, ids).minus(gone)
    assert len(tail) == count - 90
    query, rows = near(9, queries, spread), unpack_rows(raw, DIM)
    for allowed in (None, ids[::2], ids[::50], ids[:5]):
        known = ~np.isin(ids, gone) & (True if allowed is None else np.isin(ids, allowed))
        for k in (1, 10, 300):
            true, places = best_rows(query, [(rows[known], ids[known])], k)
            cosines, found = tail.search(query, k, allowed)
            assert cosines == pytest.approx(true, abs=2e-6)
            for row, got in enumerate(found):
                held = got[got >= 0]
                assert len(set(held.tolist())) == len(held) == min(k, int(known.sum()))
                assert np.isin(held, ids[known]).all()
                assert (query[row] @ rows[held // 3].T) == pytest.approx(cosines[row, : len(held)], abs=2e-6)
                if spread == 3.0:
                    assert got.tolist() == places[row].tolist()


def test_a_row_whose_rounding_made_it_shorter_is_not_overlooked() -> None:
    """FAISS ranks by product with what is stored: rows of too small a length must still come first by cosine."""
    row = near(1, 1, 1.0)
    beside = row + 0.02 * near(2, 1, 30.0)
    beside /= np.linalg.norm(beside)
    raw = (
        (row * 0.9992).astype("<f2").tobytes()
        + 200 * (beside * 1.0008).astype("<f2").tobytes()
        + packed(near(3, 300, 9))
    )
    rows = unpack_rows(raw, DIM)
    assert float(rows[1] @ row[0]) * 1.0008 > 0.9992, "by product the others come first"
    tail = empty_tail(DIM).plus(raw, np.arange(501))
    cosines, found = tail.search(row, 1)
    assert found[0, 0] == 0 and cosines[0, 0] == pytest.approx(float(rows[0] @ row[0]), abs=2e-6)


@pytest.mark.parametrize("ids", [[], [5, 6, 7], [2, 5, 9]])
def test_places(ids: list[int]) -> None:
    wanted = [0, 2, 5, 6, 9, 30]
    places = places_of(np.array(ids, np.int64), np.array(wanted, np.int64))
    assert [ids[place] for place in places] == [i for i in wanted if i in ids]
