"""vicmae.index.vectors.memtable: rows come and go, and a search goes on in the Memtable it holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_index import HALF
from made_items import DIM, unit_vectors

from vicmae.index.catalog.packing import pack_vectors, unpack_rows
from vicmae.index.vectors.memtable import Memtable, empty_memtable
from vicmae.index.vectors.topk import Floats


def packed(vectors: Floats) -> bytes:
    return b"".join(pack_vectors(vectors))


def found(memtable: Memtable, allowed: list[int] | None = None) -> list[int]:
    chosen = None if allowed is None else np.array(sorted(allowed), np.int64)
    _, ids = memtable.search(unit_vectors(0, 1), max(1, len(memtable)), chosen)
    known: list[int] = ids[ids >= 0].tolist()
    return sorted(known)


@given(st.lists(st.tuples(st.sampled_from(["plus", "minus", "after"]), st.integers(1, 40)), max_size=30))
def test_it_holds_what_a_set_would(history: list[tuple[str, int]]) -> None:
    memtable, held, last = empty_memtable(DIM), set[int](), 0
    for deed, number in history:
        if deed == "plus":
            ids = list(range(last + 1, last + 2 * number, 2))
            memtable = memtable.plus(np.array(ids, np.int64), packed(unit_vectors(last, len(ids))))
            held |= set(ids)
            last = ids[-1]
        elif deed == "minus":
            gone = [i for i in held if i % number == 0]
            memtable = memtable.minus(np.array([*gone, 10**6], np.int64))
            held -= set(gone)
        else:
            memtable = memtable.after(number)
            held = {i for i in held if i > number}
        assert found(memtable) == sorted(held) and len(memtable) == len(held)
        assert found(memtable, [1, 3, 5, 7]) == sorted(held & {1, 3, 5, 7})


def test_a_search_keeps_the_rows_it_began_with() -> None:
    before = empty_memtable(DIM).plus(np.array([1, 2, 3]), packed(unit_vectors(1, 3)))
    after = before.plus(np.arange(4, 304), packed(unit_vectors(2, 300))).minus(np.array([2]))
    assert found(before) == [1, 2, 3] and len(after) == 302


@pytest.mark.parametrize("queries", [1, 20])
def test_it_answers_as_brute_force_does(queries: int) -> None:
    count, chance = 700, np.random.default_rng(4)
    raw, ids = packed(unit_vectors(1, count)), 3 * np.arange(count)
    gone = chance.choice(ids, 90, replace=False)
    memtable = empty_memtable(DIM).plus(ids, raw).minus(gone)
    assert len(memtable) == count - 90
    query, rows = unit_vectors(9, queries), unpack_rows(raw, DIM)
    for allowed in (None, ids[::2], ids[::50], ids[:5]):
        known = ~np.isin(ids, gone) & (True if allowed is None else np.isin(ids, allowed))
        true = -np.sort(-(query @ rows[known].T), axis=1)
        for k in (1, 10, 300):
            cosines, found = memtable.search(query, k, allowed)
            for row, got in enumerate(found):
                held = got[got >= 0]
                assert len(set(held.tolist())) == len(held) == min(k, int(known.sum()))
                assert np.isin(held, ids[known]).all()
                assert cosines[row, : len(held)] == pytest.approx(true[row, : len(held)], abs=HALF)
                assert (query[row] @ rows[held // 3].T) == pytest.approx(cosines[row, : len(held)], abs=HALF)
