"""vicmae.export.embed: files -> rows -> .npz or .parquet."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from made_items import unit_vectors
from made_media import write_image, write_text, write_video

from vicmae.errors import InvalidRequest
from vicmae.export import embed as module
from vicmae.export.embed import Rows, check_out, embed_file, embed_files, join, write_rows
from vicmae.export.engine import FakeEngine
from vicmae.media.limits import MediaLimits

ENGINE = FakeEngine()
LIMITS = MediaLimits()


def rows(count: int = 3) -> Rows:
    names = np.array([f"é {i}.png" for i in range(count)])
    return Rows(names, np.arange(count) / 2, unit_vectors(0, count))


def test_a_picture_is_one_row(tmp_path: Path) -> None:
    seconds, vectors = embed_file(ENGINE, write_image(tmp_path / "a.png", 1), 2.0, False, LIMITS)
    assert seconds.tolist() == [0.0] and vectors.shape == (1, ENGINE.spec.dim)


def test_a_video_is_a_row_a_frame_or_their_mean(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", 1, seconds=3.0)
    seconds, vectors = embed_file(ENGINE, path, 2.0, False, LIMITS)
    assert seconds == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5]) and vectors.shape == (6, ENGINE.spec.dim)
    at, mean = embed_file(ENGINE, path, 2.0, True, LIMITS)
    assert at.tolist() == [0.0] and mean.dtype == np.float32
    expected = vectors.mean(axis=0)
    assert np.allclose(mean[0], expected / np.linalg.norm(expected), atol=1e-6)


def test_a_bad_file_gives_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / "a.png", 1), write_text(tmp_path / "b.jpg"), tmp_path / "none.png", tmp_path]
    paths.append(write_image(tmp_path / "c.png", 2))
    found = dict(embed_files(ENGINE, paths, 2.0, False, LIMITS))
    assert list(found) == paths
    assert [isinstance(found[p], Rows) for p in paths] == [True, False, False, False, True]
    for path in paths[1:4]:
        assert str(found[path]).endswith(".")
    first = found[paths[0]]
    assert isinstance(first, Rows) and first.uri.tolist() == [str(paths[0])]


def test_a_limit_is_kept(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    ((_, told),) = embed_files(ENGINE, [path], 2.0, False, MediaLimits(max_pixels=100))
    assert isinstance(told, str) and "pixels" in told


def test_parts_are_joined_in_order() -> None:
    whole = join([rows(2), rows(1)], ENGINE.spec.dim)
    assert len(whole) == 3 and whole.uri.tolist() == ["é 0.png", "é 1.png", "é 0.png"]
    nothing = join([], 7)
    assert len(nothing) == 0 and nothing.vectors.shape == (0, 7) and nothing.vectors.dtype == np.float32


@pytest.mark.parametrize("count", [3, 0])
def test_npz_comes_back(tmp_path: Path, count: int) -> None:
    given = rows(count) if count else join([], ENGINE.spec.dim)
    write_rows(given, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == ["start_seconds", "uri", "vectors"]
        assert (stored["uri"] == given.uri).all() and (stored["start_seconds"] == given.start_seconds).all()
        assert (stored["vectors"] == given.vectors).all() and stored["vectors"].dtype == np.float32
    assert [p.name for p in tmp_path.iterdir()] == ["out.npz"]


@pytest.mark.parametrize("count", [3, 0])
def test_parquet_comes_back(tmp_path: Path, count: int) -> None:
    given = rows(count) if count else join([], ENGINE.spec.dim)
    write_rows(given, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["uri", "start_seconds", "vectors"]
    assert table["uri"].to_pylist() == given.uri.tolist()
    vectors = np.array(table["vectors"].to_pylist(), np.float32).reshape(count, ENGINE.spec.dim)
    assert (vectors == given.vectors).all()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("out.csv", "ends in '.csv'"),
        ("out", "ends in 'nothing'"),
        ("no/out.npz", "no folder"),
        ("dir.npz", "is a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "dir.npz").mkdir()
    with pytest.raises(InvalidRequest, match=told):
        check_out(tmp_path / name)
    with pytest.raises(InvalidRequest, match=told):
        write_rows(rows(), tmp_path / name)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(rows(1), tmp_path / "out.npz")
    before = (tmp_path / "out.npz").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(module.WRITERS, ".npz", full)
    with pytest.raises(InvalidRequest, match="No space left on device"):
        write_rows(rows(), tmp_path / "out.npz")
    assert (tmp_path / "out.npz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.npz"]
