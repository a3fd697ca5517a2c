"""vicmae.index.vectors.rows and packing: what is read back is what was written, however it is read."""

from pathlib import Path

import numpy as np
import pytest
from made_items import unit_vectors

from vicmae.index.catalog.packing import halves, pack_vectors, unpack_rows
from vicmae.index.vectors import rows


@pytest.mark.parametrize("count", [0, 1, 5, 400, 1000])
def test_rows_are_read_one_by_one_or_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(rows, "CHUNK_ROWS", 300)
    held = unit_vectors(1, 1000)
    factors = rows.write_rows(
        tmp_path / "rows", held.shape[1], [b"".join(pack_vectors(held[i : i + 90])) for i in range(0, 1000, 90)]
    )
    file = rows.RowFile(tmp_path / "rows", 1000, held.shape[1], factors)
    places = np.sort(np.random.default_rng(0).choice(1000, count, replace=False))
    assert file.at(places) == pytest.approx(held[places], abs=1e-3)
    assert np.concatenate([block for block, _ in file.blocks(300)]) == pytest.approx(file.at(np.arange(1000)))
    if count:
        k = min(count, 3)
        true = file.at(places) @ held[0]
        cosines, found = file.best(held[:1], k, places)
        assert np.sort(cosines[0]) == pytest.approx(np.sort(true)[-k:], abs=1e-6)
        assert set(found[0]) == set(places[np.argsort(true)[-k:]])


def test_every_finite_half_becomes_the_same_single() -> None:
    every = np.arange(2**16, dtype="<u2").view("<f2")
    every = every[np.isfinite(every)]
    assert np.array_equal(halves(every.tobytes()), every.astype(np.float32))


def test_a_zero_vector_stays_zero() -> None:
    assert not unpack_rows(bytes(8), 4).any()
