"""vicmae.index.vectors.narrow and ann: few allowed rows are found, and recalls are promised with care."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import DIM, unit_vectors
from numpy.typing import NDArray

from vicmae.index.catalog.packing import pack_vectors, unpack_vectors
from vicmae.index.vectors import ann, narrow, rows
from vicmae.index.vectors.exact import Block, in_blocks
from vicmae.index.vectors.sketch import Sketch, read_sketch, write_sketch

COUNT = 2000
Made = tuple[Sketch, rows.RowFile, NDArray[np.float32]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """2,000 rows: their sketch, their file, and they (N, D) as they are stored."""
    folder = tmp_path_factory.mktemp("d")
    blobs = pack_vectors(unit_vectors(0, COUNT))
    held = unpack_vectors(blobs, DIM)
    write_sketch(folder / "sketch", held, in_blocks(held, np.arange(COUNT), 2000))
    file = rows.RowFile(folder / "rows", COUNT, DIM, rows.write_rows(folder / "rows", DIM, blobs))
    return read_sketch(folder / "sketch"), file, held


def no_stop() -> None:
    """Nobody wants it to end."""


def test_many_centres_are_found_through_four_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ann, "MANY_LISTS", 16)
    held, query = unit_vectors(0, COUNT), unit_vectors(6, 40)

    def blocks() -> Iterator[Block]:
        return in_blocks(held, np.arange(COUNT), COUNT)

    ann.write(ann.build("ivf", COUNT, held.mean(axis=0), held, blocks, no_stop), tmp_path / "codes")
    codes = ann.read(tmp_path / "codes", "ivf", held.mean(axis=0))
    both: Any = faiss.downcast_index(codes.index.quantizer)
    nearest = both.refine_index.search(query * codes.scale, 1)[1].ravel()
    found_nearest = both.search(query * codes.scale, 1)[1].ravel()
    assert np.mean(found_nearest == nearest) >= 0.9, "four bits choose among the same centres"
    true = ann.true_places(query, blocks)[:, :5]
    # A quarter of the lists, drawn by chance, would hold a quarter of what is near.
    for width, least in ((codes.lists // 4, 0.4), (codes.lists, 0.9)):
        found = ann.candidates(codes, query, 500, width)
        assert np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]) >= least
    assert "WARNING" not in "".join(capfd.readouterr())


def test_reaches_promise_more_for_more_rows(made: Made) -> None:
    sketch, file, held = made
    probes = unit_vectors(8, 100)
    true = ann.true_places(probes, lambda: file.blocks(500))
    assert np.array_equal(true[:, 0], np.argmax(probes @ held.T, axis=1))
    reaches = narrow.measured_reaches(sketch, COUNT, probes, true, no_stop)
    assert [reach.enough for reach in reaches] == list(narrow.ENOUGH)
    assert all(a.recall <= b.recall for a, b in zip(reaches, reaches[1:], strict=False))
    assert 0.2 < reaches[0].recall < reaches[-1].recall, "random vectors are hard to rank"
    assert narrow.cheapest_reach(tuple(reaches), reaches[2].recall) in reaches[:3]
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
