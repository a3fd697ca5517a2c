"""vicmae.index.vectors.ivf: fp16 stays what it is, a width holds what it promises, a file is whole or refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_index import HALF, alike
from made_items import DIM, unit_vectors

from vicmae.index.vectors import ivf
from vicmae.index.vectors.id_ranges import selector_of
from vicmae.index.vectors.topk import Floats, best_of

ROWS = 4000


def filled(rows: Floats, lists: int) -> ivf.faiss.IndexIVFScalarQuantizer:
    index = ivf.empty_index(DIM, lists, rows)
    index.add_with_ids(rows, np.arange(len(rows)))
    return index


@pytest.mark.parametrize("lists", [1, 32])
def test_all_lists_are_brute_force_under_any_selector(lists: int) -> None:
    rows, query = alike(1, ROWS), alike(2, 20)
    index = filled(rows, lists)
    for step in (1, 3, 1000):
        mask = np.arange(ROWS) % step == 0
        scores, ids = ivf.search(index, query, 10, lists, selector_of(mask))
        true = -np.sort(-(query @ rows[mask].T), axis=1)[:, :10]
        assert scores[:, : true.shape[1]] == pytest.approx(true, abs=HALF)
        assert mask[ids[ids >= 0]].all() and (ids[:, true.shape[1] :] == -1).all()


@pytest.mark.parametrize("made", [alike, unit_vectors])
@pytest.mark.parametrize("least", [0.9, 0.99])
def test_the_width_holds_its_recall_on_queries_it_never_saw(made: object, least: float) -> None:
    assert callable(made)
    rows, query = made(1, ROWS), made(2, 200)
    index = filled(rows, 32)
    width, recall = ivf.chosen_width(index, rows[: ivf.PROBES], least, lambda: None)
    assert recall >= least and 1 <= width <= 32
    true = np.argsort(-(query @ rows.T), axis=1)[:, :10]
    found = ivf.search(index, query, 10, width)[1]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]) >= least - 0.02


def test_a_recall_that_no_width_promises_takes_all_lists() -> None:
    rows = unit_vectors(1, 2000)
    assert ivf.chosen_width(filled(rows, 16), rows[:100], 1.0, lambda: None) == (16, 1.0)


def test_stopping_ends_the_measuring() -> None:
    rows = unit_vectors(1, 2000)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        ivf.chosen_width(filled(rows, 16), rows[:100], 0.9, stop)


@pytest.mark.parametrize("lists", [1, 8])
def test_what_is_mapped_is_what_was_written(lists: int, tmp_path: Path) -> None:
    rows = unit_vectors(1, 500).astype(np.float16)
    size, crc = ivf.write(filled(rows.astype(np.float32), lists), tmp_path / "f")
    assert (size, crc) == ivf.checksum(tmp_path / "f") and size == (tmp_path / "f").stat().st_size
    index = ivf.read(tmp_path / "f")
    (tmp_path / "f").unlink()
    held = dict(pair for ids, some in ivf.rows_by_list(index) for pair in zip(ids.tolist(), some, strict=True))
    assert len(held) == 500 and all(np.array_equal(held[i], rows[i]) for i in range(500))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"something else")
    with pytest.raises(ValueError, match="cannot read it"):
        ivf.read(tmp_path / "f")
    ivf.faiss.write_index(ivf.faiss.IndexFlatIP(4), str(tmp_path / "g"))
    with pytest.raises(ValueError, match="IndexFlat"):
        ivf.read(tmp_path / "g")


def test_a_disk_that_is_full_is_an_os_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        ivf.write(filled(unit_vectors(1, 3000), 1), Path("/dev/full"))


@given(st.integers(0, 10**8), st.sampled_from(["auto", "exact", "ivf"]))
def test_there_are_lists_where_they_are_worth_it(rows: int, kind: str) -> None:
    lists = ivf.lists_for(rows, kind)
    assert 1 <= lists <= ivf.MOST_LISTS and (lists == 1 or rows >= ivf.LEAST_ROWS)
    assert lists == 1 or lists * 25 <= max(rows, 1) * 2
    if kind == "exact" or (kind == "auto" and rows <= ivf.FLAT_ROWS):
        assert lists == 1


@given(st.lists(st.lists(st.integers(-8, 8), max_size=6), min_size=1, max_size=4), st.integers(1, 9))
def test_the_best_of_several_is_the_best_of_all(parts: list[list[int]], k: int) -> None:
    found, every, number = [], [], 0
    for part in parts:
        pairs = [(score / 8, number + i) for i, score in enumerate(part)]
        number += len(pairs)
        every += pairs
        scores_here = np.array([[score for score, _ in pairs]], np.float32).reshape(1, -1)
        found.append((scores_here, np.array([[i for _, i in pairs]], np.int64).reshape(1, -1)))
    scores, ids = best_of(found, 1, k)
    wanted = sorted(every, key=lambda pair: (-pair[0], pair[1]))[:k]
    assert ids[0].tolist() == [i for _, i in wanted] + [-1] * (k - len(wanted))
    assert scores[0].tolist() == [s for s, _ in wanted] + [-1.0] * (k - len(wanted))
