"""vicmae.index.vectors.sketch: rows are ranked about as they are, whatever their dimension, and none is left out."""

from pathlib import Path

import numpy as np
import pytest
from made_index import alike
from made_items import unit_vectors

from vicmae.index.vectors.exact import in_blocks
from vicmae.index.vectors.sketch import read_sketch, write_sketch

COUNT = 1000


@pytest.mark.parametrize("dim", [7, 10, 96])
def test_any_dimension_can_be_sketched(tmp_path: Path, dim: int) -> None:
    held, query = unit_vectors(0, COUNT, dim), unit_vectors(1, 20, dim)
    write_sketch(tmp_path / "sketch", held[:100], in_blocks(held, np.arange(COUNT), 5000))
    places = np.arange(0, COUNT, 3)
    ranked = read_sketch(tmp_path / "sketch").of(places).nearest(query, COUNT)
    assert np.array_equal(np.sort(ranked, axis=1), np.tile(np.arange(len(places)), (20, 1)))
    best = np.argmax(query @ held[places].T, axis=1)
    ranks = [row.tolist().index(one) for row, one in zip(ranked, best, strict=True)]
    assert np.median(ranks) < len(places) / 20, "by chance it would be in the middle"


def test_few_are_needed_of_vectors_that_vary_in_few_ways(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    held, query = alike(0, COUNT), alike(1, 50)
    write_sketch(tmp_path / "sketch", held[:50], in_blocks(held, np.arange(COUNT), 5000))
    ranked = read_sketch(tmp_path / "sketch").of(np.arange(COUNT)).nearest(query, 80)
    true = np.argsort(-(query @ held.T), axis=1)[:, :10]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(true, ranked, strict=True)]) >= 0.95
    assert "WARNING" not in "".join(capfd.readouterr())
