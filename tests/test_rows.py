"""vicmae.index.rows and packing: what is read back is what was written, however it is read."""

from pathlib import Path

import numpy as np
import pytest
from made_items import unit_vectors

from vicmae.index import rows
from vicmae.index.packing import halves, pack_vectors, unpack_rows


@pytest.mark.parametrize("count", [0, 1, 5, 400, 1000])
def test_rows_are_read_one_by_one_or_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(rows, "CHUNK_ROWS", 300)
    held = unit_vectors(1, 1000)
    (tmp_path / "rows").write_bytes(b"".join(pack_vectors(held)))
    file = rows.RowFile(tmp_path / "rows", 1000, held.shape[1])
    places = np.sort(np.random.default_rng(0).choice(1000, count, replace=False))
    assert file.at(places) == pytest.approx(held[places], abs=1e-3)
    assert file.cosines(places, held[0]) == pytest.approx(file.at(places) @ held[0], abs=1e-6)


def test_every_finite_half_becomes_the_same_single() -> None:
    every = np.arange(2**16, dtype="<u2").view("<f2")
    every = every[np.isfinite(every)]
    assert np.array_equal(halves(every.tobytes()), every.astype(np.float32))


def test_a_zero_vector_stays_zero() -> None:
    assert not unpack_rows(bytes(8), 4).any()
