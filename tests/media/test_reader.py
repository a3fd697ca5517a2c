"""media/reader.py: the door itself: sources, chunks, what is let in, and that files are closed."""

import os
from pathlib import Path

import numpy as np
import pytest
from made_media import picture, write_image, write_video

from vicmae.errors import CorruptMedia, NotFound, UnsupportedMedia
from vicmae.media import reader
from vicmae.media.frames import Frames
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import MEDIA_SUFFIXES, frame_at, probe, read_frames


def test_bytes_and_paths_give_the_same(tmp_path: Path) -> None:
    for path in (write_image(tmp_path / "a.png", 1), write_video(tmp_path / "a.mp4", 1, 1.0)):
        data = path.read_bytes()
        assert probe(path) == probe(data)
        for a, b in zip(read_frames(path, 5.0), read_frames(data, 5.0), strict=True):
            assert (a.data == b.data).all() and (a.seconds == b.seconds).all()
        assert (frame_at(path, 0.5).data == frame_at(data, 0.5).data).all()


@pytest.mark.parametrize("chunk", [1, 3, 16, 1000])
def test_chunks_are_the_same_frames_in_the_same_order(tmp_path: Path, chunk: int) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 2.0)
    whole = np.concatenate([c.seconds for c in read_frames(path, 10.0)])
    chunks = list(read_frames(path, 10.0, chunk=chunk))
    assert all(len(c) == chunk for c in chunks[:-1]) and 1 <= len(chunks[-1]) <= chunk
    assert (np.concatenate([c.seconds for c in chunks]) == whole).all()


def test_large_frames_come_in_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 1, 2.0)
    monkeypatch.setattr(reader, "_MAX_CHUNK_BYTES", 160 * 120 * 3 * 2)
    assert [len(c) for c in read_frames(path, 2.5)] == [2, 2, 1]
    monkeypatch.setattr(reader, "_MAX_CHUNK_BYTES", 1)
    assert [len(c) for c in read_frames(path, 2.5)] == [1] * 5


def test_a_window_means_nothing_to_a_picture(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    (frames,) = read_frames(path, 2.0, start_seconds=3.0, end_seconds=4.0)
    assert frames.seconds.tolist() == [0.0]
    assert (frame_at(path, 7.0).data[0] == np.asarray(picture(1))).all()


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file .*missing\.jpg"):
        probe(tmp_path / "missing.jpg")
    with pytest.raises(UnsupportedMedia, match="folder"):
        probe(tmp_path)
    with pytest.raises(CorruptMedia, match="cannot be opened"):
        probe(Path("a\0b.jpg"))
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnsupportedMedia, match="device"):
        probe(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 100, b"<svg></svg>", b"%PDF-1.7\n" * 50, bytes(5000)])
def test_other_bytes_are_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises((UnsupportedMedia, CorruptMedia), match=r"\.$"):
        probe(data)


def test_odd_file_names(tmp_path: Path) -> None:
    for name in ("100%d.mp4", "concat:a.mp4", "-i.mp4", "ünï 'quote'.mp4", "http:x.mp4"):
        path = write_video(tmp_path / "plain.mp4", 1, 0.2).rename(tmp_path / name)
        assert probe(path).kind == "video"
    raw = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4"))
    assert probe(path.rename(raw)).kind == "video"


def test_files_are_closed_also_when_nobody_reads_on(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to count open files")
    path = write_video(tmp_path / "a.mp4", 1, 2.0)
    picture_path = write_image(tmp_path / "a.jpg", 1)
    before = open_files()
    for _ in range(3):
        stream = read_frames(path, 20.0, chunk=1)
        next(stream)
        stream.close()
        list(read_frames(picture_path, 2.0))
        frame_at(path, 1.0)
        with pytest.raises(UnsupportedMedia):
            probe(b"nothing" * 10)
    assert open_files() == before


def test_suffixes_are_lower_case_with_a_dot() -> None:
    assert {".jpg", ".heic", ".gif", ".mp4", ".mov", ".webm", ".avi", ".mkv"} <= MEDIA_SUFFIXES
    assert all(s.startswith(".") and s == s.lower() for s in MEDIA_SUFFIXES)
    assert not {".mp3", ".txt", ".md", ".csv", ".json"} & MEDIA_SUFFIXES


def test_frames_check_themselves() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Frames(np.zeros((1, 2, 2, 3)), np.zeros(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seconds"):
        Frames(np.zeros((2, 2, 2, 3), np.uint8), np.zeros(1))
    assert "2x4x6x3" in repr(Frames(np.zeros((2, 4, 6, 3), np.uint8), np.zeros(2)))


def test_limits_have_room_for_usual_media() -> None:
    limits = MediaLimits()
    limits.check_bytes(2**30)
    limits.check_pixels(16_320, 12_240)
    limits.check_duration(3 * 3600.0)
