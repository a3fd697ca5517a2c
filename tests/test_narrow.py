"""vicmae.index.narrow and ann: few allowed rows are found, and recalls are promised with care."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import DIM, unit_vectors
from numpy.typing import NDArray

from vicmae.index import ann, narrow, rows
from vicmae.index.chosen import Chosen
from vicmae.index.exact import Block, in_blocks
from vicmae.index.packing import pack_vectors, unpack_vectors

COUNT = 2000
Made = tuple[ann.Codes, rows.RowFile, NDArray[np.float32]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An ivf of 2,000 rows, its file, and the rows (N, D) as they are stored; all in its order."""
    path = tmp_path_factory.mktemp("d") / "rows"
    blobs = pack_vectors(unit_vectors(0, COUNT))
    held = unpack_vectors(blobs, DIM)
    codes = ann.build("ivf", COUNT, held.mean(axis=0), held, lambda: in_blocks(held, np.arange(COUNT), 2000), no_stop)
    order = ann.in_order(codes)
    file = rows.RowFile(path, COUNT, DIM, rows.write_rows(path, DIM, [b"".join(blobs[i] for i in order)]))
    return codes, file, held[order]


def no_stop() -> None:
    """Nobody wants it to end."""


@pytest.mark.parametrize("one_in", [10, 50])
def test_comparing_enough_finds_all_and_fewer_finds_most(made: Made, one_in: int) -> None:
    codes, file, held = made
    allowed = np.arange(0, COUNT, one_in)
    query = unit_vectors(5, 20)
    true = allowed[np.argsort(-(query @ held[allowed].T), axis=1)[:, :5]]
    lists = ann.lists_of(codes)
    for enough, least in ((COUNT, 1.0), (max(20, len(allowed) // 2), 0.6)):
        cosines, found = Chosen(allowed, COUNT).near(codes, lists, file, query, 5, enough)
        assert np.isin(found, allowed).all()
        assert cosines == pytest.approx(np.einsum("qd,qkd->qk", query, held[found]), abs=1e-6)
        assert np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]) >= least


def test_allowed_rows_are_found_wherever_they_are(made: Made) -> None:
    """Those that are far from the query too: lists are taken until they hold enough."""
    codes, file, held = made
    query = held[:1]
    far = np.sort(np.argsort(held @ query[0])[:100])
    cosines, found = Chosen(far, COUNT).near(codes, ann.lists_of(codes), file, query, 10, 20)
    assert np.isin(found, far).all() and len(set(found[0])) == 10
    assert cosines.max() == pytest.approx((held[far] @ query[0]).max(), abs=0.05)


def test_every_row_is_in_the_list_that_the_ivf_put_it_in(made: Made) -> None:
    codes, _, held = made
    lists = ann.lists_of(codes)
    assert len(lists) == COUNT
    nearest = np.array([ann.nearest_lists(codes, row, 1)[0] for row in held[::40, None]])
    assert np.mean(lists[::40] == nearest) >= 0.95  # a tie may go either way


def test_many_centres_are_found_through_four_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ann, "MANY_LISTS", 16)
    held, query = unit_vectors(0, COUNT), unit_vectors(6, 40)

    def blocks() -> Iterator[Block]:
        return in_blocks(held, np.arange(COUNT), COUNT)

    ann.write(ann.build("ivf", COUNT, held.mean(axis=0), held, blocks, no_stop), tmp_path / "codes")
    codes = ann.read(tmp_path / "codes", "ivf", held.mean(axis=0))
    exact = codes.index.quantizer.search(query * codes.scale, 4)[1]
    rough = np.array([ann.nearest_lists(codes, one, codes.lists) for one in query[:, None]])
    assert np.array_equal(np.sort(rough, axis=1), np.tile(np.arange(codes.lists), (len(query), 1)))
    assert np.mean([np.isin(a, b[:8]).mean() for a, b in zip(exact, rough, strict=True)]) >= 0.9, "the same centres"
    true = ann.true_places(query, blocks)[:, :5]
    # A quarter of the lists, drawn by chance, would hold a quarter of what is near.
    for width, least in ((codes.lists // 4, 0.4), (codes.lists, 0.9)):
        found = ann.candidates(codes, query, 500, width)
        assert np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]) >= least
    assert "WARNING" not in "".join(capfd.readouterr())


def test_reaches_promise_more_for_more_rows(made: Made) -> None:
    codes, file, held = made
    probes = unit_vectors(8, 100)
    true = ann.true_places(probes, lambda: file.blocks(500))
    assert np.array_equal(true[:, 0], np.argmax(probes @ held.T, axis=1))
    reaches = narrow.measured_reaches(codes, ann.lists_of(codes), probes, true, no_stop)
    assert [reach.enough for reach in reaches] == list(narrow.ENOUGH)
    assert all(a.recall <= b.recall + 0.02 for a, b in zip(reaches, reaches[1:], strict=False))
    assert narrow.cheapest_reach(tuple(reaches), 1.0) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_a_bound_is_below_the_mean_and_never_certain(shares: list[float]) -> None:
    bound = ann.lower_bound(np.array(shares))
    assert 0 <= bound <= np.mean(shares) + 1e-9 and bound < 1


def test_more_queries_promise_more() -> None:
    assert ann.lower_bound(np.ones(50)) < 0.9905 < ann.lower_bound(np.ones(256))


def test_whole_numbers_keep_the_order_and_fit_a_byte() -> None:
    vectors = unit_vectors(3, 200)
    whole = ann.whole(vectors, np.float32(127 * DIM**0.5 / 10))
    assert np.abs(whole).max() <= 127 and np.array_equal(whole, np.rint(whole))
    cosines = (whole @ whole[0]) / np.linalg.norm(whole, axis=1) / np.linalg.norm(whole[0])
    assert cosines == pytest.approx(vectors @ vectors[0], abs=0.02)
