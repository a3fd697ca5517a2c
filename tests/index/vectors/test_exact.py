"""vicmae.index.vectors.exact: the k best rows, whatever the blocks they come in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicmae.index.vectors.exact import best_rows, in_blocks


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 60), st.integers(1, 70), st.lists(st.integers(0, 60))
)
def test_any_blocks_give_the_best(seed: int, queries: int, rows: int, k: int, cuts: list[int]) -> None:
    chance = np.random.default_rng(seed)
    query, held = (chance.normal(size=(n, 6), scale=0.1).astype(np.float32) for n in (queries, rows))
    ids = np.sort(chance.choice(1000, rows, replace=False)).astype(np.int64)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    blocks = [(held[a:b], ids[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
    scores, found = best_rows(query, blocks, k)
    true = query @ held.T
    order = np.argsort(-true, axis=1, kind="stable")[:, :k]
    count = min(k, rows)
    assert (found[:, count:] == -1).all() and (scores[:, count:] == -1).all()
    assert scores[:, :count] == pytest.approx(np.take_along_axis(true, order, axis=1), abs=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(row[:count].tolist())) == count for row in found)


def test_of_equal_rows_the_smaller_id_comes_first() -> None:
    row = np.array([[1.0, 0.0]], np.float32)
    _, ids = best_rows(row, [(np.repeat(row, 3, axis=0), np.array([4, 7, 9])) for _ in range(1)], 2)
    assert ids.tolist() == [[4, 7]]


def test_a_large_block_is_cut_first() -> None:
    chance = np.random.default_rng(1)
    query, rows = (chance.normal(size=(n, 8), scale=0.1).astype(np.float32) for n in (3, 5000))
    ids = np.arange(5000)
    _, found = best_rows(query, in_blocks(rows, ids, 1000), 10)
    assert found.tolist() == np.argsort(-(query @ rows.T), axis=1)[:, :10].tolist()
