"""vicmae.training.sources: folders and tar shards -> decoded pictures in a cache."""

import gzip
import io
import json
import os
import resource
import tarfile
from pathlib import Path

import numpy as np
import pytest
from made_media import picture, write_empty, write_text, write_truncated, write_video
from made_runs import write_pictures

from vicmae.errors import TrainingError
from vicmae.training import sources
from vicmae.training.sources import CLIP_FRAMES_PER_SECOND, Pictures, list_files, load_pictures


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as shard:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    return path


def png(seed: int) -> bytes:
    out = io.BytesIO()
    picture(seed, (64, 48)).save(out, "png")
    return out.getvalue()


def squashed(seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    return np.asarray(picture(seed, (64, 48)).resize((24, 24)), np.int16)


def load(tmp_path: Path, *given: Path) -> Pictures:
    return load_pictures(list(given), tmp_path / "cache", 24)


def test_a_folder_of_images_and_clips(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "media", 3)
    (folder / "deeper").mkdir()
    write_video(folder / "deeper" / "clip.mp4", 1, seconds=2.0, fps=25, size=(64, 48))
    write_text(folder / "notes.txt")
    found = load(tmp_path, folder)
    assert len(found) == 4 and found.bad == []
    assert found.is_clip.sum() == 1
    assert found.data.shape == (3 + found.count.max(), 24, 24, 3) and found.data[0].dtype == np.uint8
    clip = int(np.flatnonzero(found.is_clip)[0])
    times = found.seconds[found.first[clip] : found.first[clip] + found.count[clip]]
    assert len(times) == round(2.0 * CLIP_FRAMES_PER_SECOND)
    assert times[0] == 0.0 and (np.diff(times) > 0).all() and times[-1] < 2.0
    for item in np.flatnonzero(~found.is_clip):
        row = found.data[found.first[item]].astype(np.int16)
        assert min(np.abs(row - squashed(seed)).mean() for seed in range(3)) < 3


@pytest.mark.parametrize("name", ["shard.tar", "shard.tar.gz", "shard.tgz"])
def test_the_media_in_a_shard(tmp_path: Path, name: str) -> None:
    shard = write_shard(tmp_path / name, {"a/0.png": png(0), "a/0.json": b"{}", "a/1.PNG": png(1), "a/2.txt": b"no"})
    found = load(tmp_path, shard)
    assert len(found) == 2 and not found.is_clip.any()
    for seed in (0, 1):
        assert np.abs(found.data[seed].astype(np.int16) - squashed(seed)).mean() < 3


def test_a_folder_may_hold_shards_and_a_file_may_be_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "media", 2)
    write_shard(folder / "more.tar", {"5.png": png(5)})
    write_pictures(tmp_path / "other", 1)
    assert len(load(tmp_path, folder, tmp_path / "other" / "0.png")) == 4


def test_bad_items_are_counted_and_skipped(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "media", 40)
    write_truncated(folder / "half.png", folder / "1.png", 0.3)
    write_shard(folder / "s.tar", {"text.jpg": b"plain text"})
    found = load(tmp_path, folder)
    assert len(found) == 40
    assert sorted(name for name, _ in found.bad) == ["half.png", "s.tar:text.jpg"]
    assert all(reason.endswith(".") for _, reason in found.bad)
    assert load(tmp_path, folder).bad == found.bad


def test_more_than_a_twentieth_of_bad_items_stops(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "media", 30)
    write_text(folder / "a.jpg")
    write_empty(folder / "b.jpg")
    for _ in ("decoded", "from the cache"):
        with pytest.raises(TrainingError, match=r"2 of 32 items cannot be decoded, .* 5%. .* The first: a.jpg: "):
            load(tmp_path, folder)


def test_nothing_decodable_stops(tmp_path: Path) -> None:
    write_text(tmp_path / "a.jpg")
    with pytest.raises(TrainingError, match="Not one item could be decoded. The first: a.jpg"):
        load(tmp_path, tmp_path / "a.jpg")


def test_the_cache_is_reused_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pictures(tmp_path / "media", 3)
    decoded: list[int] = []
    decode = sources.decode_sample

    def counted(content: bytes, size: int, clip_frames_per_second: float) -> object:
        decoded.append(size)
        return decode(content, size, clip_frames_per_second)

    monkeypatch.setattr(sources, "decode_sample", counted)
    first = load(tmp_path, folder)
    again = load(tmp_path, folder)
    assert len(decoded) == 3
    assert (np.asarray(first.data) == np.asarray(again.data)).all() and (first.first == again.first).all()

    picture(9, (64, 48)).save(folder / "1.png")
    os.utime(folder / "1.png", ns=(1, 1))
    changed = load(tmp_path, folder)
    assert len(decoded) == 6
    assert not (changed.data[1] == first.data[1]).all() and (changed.data[0] == first.data[0]).all()

    assert load_pictures([folder], tmp_path / "cache", 12).data.shape == (3, 12, 12, 3)
    picture(4, (64, 48)).save(folder / "new.png")
    assert len(load(tmp_path, folder)) == 4


def test_decoding_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "media", 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # a real refusal, at a real write
    try:
        with pytest.raises(OSError, match="File too large"):
            load(tmp_path, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (folder / "cut.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(TrainingError, match="cut.tar cannot be read"):
        load(tmp_path, folder)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []
    (folder / "cut.tar").unlink()
    assert len(load(tmp_path, folder)) == 3


def test_decoding_that_was_killed_begins_again(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "media", 2)
    first = np.asarray(load(tmp_path, folder).data)
    (cache,) = (tmp_path / "cache").iterdir()
    cache.rename(cache.with_name(f"{cache.name}.partial"))  # as this version is killed
    assert (np.asarray(load(tmp_path, folder).data) == first).all()
    (cache / "index.json").rename(cache / "index.json.partial")  # and as versions before left it
    (cache / "pictures.u8").rename(cache / "pictures.u8.partial")
    assert (np.asarray(load(tmp_path, folder).data) == first).all()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [cache.name]


def test_many_bytes_are_decoded_in_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_BYTES", 1)
    told: list[int] = []
    folder = write_pictures(tmp_path / "media", 3)
    found = load_pictures([folder], tmp_path / "cache", 24, lambda done: told.append(done))
    assert len(found) == 3 and told == [1, 2, 3]


def test_a_broken_shard_stops_with_its_name(tmp_path: Path) -> None:
    for name, content in (("text.tar", b"no archive" * 100), ("text.tar.gz", b"\x1f\x8b\x08" + b"x" * 500)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrainingError, match=f"{name} cannot be read"):
            load(tmp_path, tmp_path / name)
    whole = write_shard(tmp_path / "whole.tar.gz", {f"{seed}.png": png(seed) for seed in range(4)})
    with pytest.raises(TrainingError, match="half.tar.gz cannot be read"):
        load(tmp_path, write_truncated(tmp_path / "half.tar.gz", whole))


def test_a_shard_that_was_cut_anywhere_stops(tmp_path: Path) -> None:
    """Also exactly between two members, or in a header, where Python's tarfile sees nothing but an end."""
    whole = write_shard(tmp_path / "whole.tar", {f"{seed}.png": png(seed) for seed in range(4)})
    assert len(load(tmp_path, whole)) == 4
    content = whole.read_bytes()
    with tarfile.open(whole) as shard:
        begins = shard.getmembers()[2].offset
    damaged = content[:begins] + b"x" * 200 + content[begins + 200 :]
    for name, left, told in (
        ("between", content[:begins], "ends without a tar file's end mark"),
        ("header", content[: begins + 100], "a member's header is damaged or cut off"),
        ("damaged", damaged, "a member's header is damaged or cut off"),
        ("member", content[: begins + 600], "unexpected end of data"),
    ):
        for packed, suffix in ((left, ".tar"), (gzip.compress(left), ".tar.gz")):
            cut = tmp_path / f"{name}{suffix}"
            cut.write_bytes(packed)
            with pytest.raises(TrainingError, match=f"{cut.name} cannot be read .*{told}"):
                load(tmp_path, cut)
    packed = gzip.compress(content)
    (tmp_path / "trailer.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(TrainingError, match=r"trailer.tar.gz cannot be read"):
        load(tmp_path, tmp_path / "trailer.tar.gz")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no file or folder .*none"):
        list_files([tmp_path / "none"])
    with pytest.raises(TrainingError, match="No picture, video or tar shard"):
        list_files([tmp_path])


def test_a_dataset_gives_its_train_items_and_each_item_knows_its_source(tmp_path: Path) -> None:
    plain = write_pictures(tmp_path / "plain", 2)
    for split, count in (("train", 3), ("val", 2)):
        write_pictures(tmp_path / "set" / split / "cat", count)
    write_shard(tmp_path / "s.tar", {"7.png": png(7), "8.png": png(8)})
    sources_given = [tmp_path / "s.tar", Path(f"classes:{tmp_path / 'set'}"), plain, plain / "0.png"]
    found = load(tmp_path, *sources_given)
    assert found.source is not None and sorted(found.source.tolist()) == [0, 0, 1, 1, 1, 2, 2]
    for number, seeds in ((0, (7, 8)), (1, (0, 1, 2)), (2, (0, 1))):
        rows = [found.data[found.first[i]].astype(np.int16) for i in np.flatnonzero(found.source == number)]
        assert all(min(np.abs(row - squashed(seed)).mean() for seed in seeds) < 3 for row in rows)
    again = load(tmp_path, *sources_given)
    assert again.source is not None and (again.source == found.source).all()


@pytest.mark.parametrize("knows_files", [True, False])
def test_a_cache_of_before_is_used_as_it_is(tmp_path: Path, knows_files: bool) -> None:
    """All columns in index.json, the oldest without the files; its folder has the name that it has now."""
    folder = write_pictures(tmp_path / "media", 2)
    write_video(folder / "clip.mp4", 1, seconds=1.0, fps=10, size=(64, 48))
    first = load(tmp_path, folder)
    assert first.source is not None
    (cache,) = (tmp_path / "cache").iterdir()
    columns = {"first": first.first, "count": first.count, "seconds": first.seconds}
    known: dict[str, object] = {name: column.tolist() for name, column in columns.items()}
    known |= {"bad": [["x.jpg", "broken."]] * 0, **({"file": [0, 1, 2]} if knows_files else {})}
    (cache / "index.json").write_text(json.dumps(known))
    for path in cache.glob("*.npy"):
        path.unlink()
    again = load(tmp_path, folder)
    assert (again.source is not None) == knows_files and (np.asarray(again.data) == np.asarray(first.data)).all()
    for name, column in columns.items():
        assert (getattr(again, name) == column).all()


def test_missing_files_of_a_dataset_are_counted(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set", 30)
    lines = [f"{seed}.png 0" for seed in range(31)]
    (tmp_path / "set" / "train.csv").write_text("\n".join(lines))
    source = Path(f"list:{tmp_path / 'set'}")
    found = load(tmp_path, source)
    assert len(found) == 30 and found.bad == []
    assert found.missing == ((str(source), f"1 listed files are not there, such as {tmp_path / 'set' / '30.png'}."),)
    (tmp_path / "set" / "train.csv").rename(tmp_path / "set" / "val.csv")
    with pytest.raises(TrainingError, match="has no train items"):
        load(tmp_path, source)
