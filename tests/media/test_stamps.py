"""media/video/stamps.py and its use: wrong stamps and headers do not outvote the pictures."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_media import scene_at, write_video

from vicmae.media.limits import MediaLimits
from vicmae.media.reader import frame_at, probe, read_frames
from vicmae.media.sampling import Sampling
from vicmae.media.video.stamps import NO_STAMP, Stamps, mend_stamps

LIMITS = MediaLimits(max_duration_seconds=60.0)
HOURS = 7 * 3600.0


def restamped(path: Path, source: Path, shift_seconds: Callable[[int], tuple[float, float]]) -> Path:
    """The packets of another film; shift_seconds(place) is added to when each is decoded and shown."""
    with av.open(str(source)) as film, av.open(str(path), "w") as out:
        stream = film.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for place, packet in enumerate(p for p in film.demux(stream) if p.size):
            decoded, shown = (round(seconds / float(packet.time_base)) for seconds in shift_seconds(place))
            assert packet.dts is not None and packet.pts is not None
            packet.dts, packet.pts = packet.dts + decoded, packet.pts + shown
            packet.stream = copy
            out.mux(packet)
    return path


def check(path: Path, seconds: float, start: float = 0.0) -> None:
    """The film of seed 3 shows at every second what it should, whoever asks, and lasts `seconds`."""
    info = probe(path, LIMITS)
    assert info.duration_seconds == pytest.approx(seconds, abs=0.2)
    samplings: tuple[Sampling, ...] = ("rate", "keyframes", "auto")
    for sampling in samplings:
        for fps in (2.0, 50.0) if sampling == "rate" else (1.0,):
            chunks = list(read_frames(path, fps, LIMITS, sampling=sampling))
            shown = np.concatenate([c.seconds for c in chunks])
            assert shown[0] < 1 and shown[-1] < seconds + 0.2 and (np.diff(shown) > 0).all()
            if sampling == "rate":
                assert len(shown) >= 0.95 * min(fps, 20) * seconds
            pictures = np.concatenate([c.data for c in chunks])
            for second, picture in list(zip(shown, pictures, strict=True))[:: 1 if fps < 50 else 7]:
                assert difference(picture, second + start) < 25
    for second in (0.5, 0.55 * seconds, seconds - 0.5):
        frame = frame_at(path, second)
        assert frame.seconds[0] == pytest.approx(second, abs=0.11)
        assert difference(frame.data[0], second + start) < 25


def difference(picture: np.ndarray, second: float) -> float:
    """From the scene around that second: stamps that are put between others are not exact."""
    around = [scene_at(3, max(0.0, second + step)).astype(int) for step in (-0.1, -0.05, 0.0, 0.05, 0.1)]
    return min(float(np.abs(picture.astype(int) - scene).mean()) for scene in around)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("films") / "film.mp4", 3, 12.0, gop=24)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4", "mov"])
@pytest.mark.parametrize("place", [0, 5, 100, 235])
def test_one_frame_stamped_hours_ahead(tmp_path: Path, film: Path, suffix: str, place: int) -> None:
    """Only when it is shown; when it is decoded goes on as before, which alone muxers accept."""
    path = restamped(tmp_path / f"a.{suffix}", film, lambda at: (0.0, HOURS if at == place else 0.0))
    check(path, 12.0)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_a_clock_that_jumps_hours_ahead(tmp_path: Path, film: Path, suffix: str) -> None:
    check(restamped(tmp_path / f"a.{suffix}", film, lambda at: (HOURS,) * 2 if at >= 120 else (0.0, 0.0)), 12.0)


@pytest.mark.parametrize("jump", [15.0, 400.0, 90_000.0])
def test_the_clock_of_a_transport_stream_jumps(tmp_path: Path, film: Path, jump: float) -> None:
    check(restamped(tmp_path / "a.ts", film, lambda at: (jump,) * 2 if at >= 120 else (0.0, 0.0)), 12.0)


@pytest.mark.parametrize("back", [0.0, 2.5, 5.9, 3000.0])
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_the_clock_of_a_transport_stream_steps_back(tmp_path: Path, back: float, codec: str) -> None:
    """As where two recordings were joined."""
    parts = []
    for name, start in (("a", 0.0), ("b", 6.0)):
        options: dict[str, Any] = {"codec": codec, "fps": 25} if codec == "mpeg2video" else {}
        whole = write_video(tmp_path / f"{name}-whole.ts", 3, 12.0, gop=24, **options)
        parts.append(part_of(tmp_path / f"{name}.ts", whole, start, 4000.0 - (back if name == "b" else 0.0)))
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    info = probe(path, LIMITS)
    seconds = info.duration_seconds
    assert 11 < seconds < 13.5
    shown = np.concatenate([c.seconds for c in read_frames(path, 50.0, LIMITS)])
    assert len(shown) > 200 and (np.diff(shown) > 0).all() and shown[-1] < seconds + 0.1
    for second in (1.0, 4.0, seconds - 3.0, seconds - 1.0):
        frame = frame_at(path, second)
        assert abs(frame.seconds[0] - second) < 0.5
        assert difference(frame.data[0], second if second < 6 else second + 12 - seconds) < 40


def part_of(path: Path, whole: Path, start: float, offset: float) -> Path:
    """Six seconds of a film from a key frame at or after start, its clock moved on by offset."""
    with av.open(str(whole)) as film, av.open(str(path), "w") as out:
        stream = film.streams.video[0]
        copy = out.add_stream_from_template(stream)
        tick, begun = float(stream.time_base or 0), False
        origin = film.start_time / av.time_base if film.start_time else 0.0
        for packet in film.demux(stream):
            if not packet.size or packet.pts is None or packet.dts is None:
                continue
            second = packet.pts * tick - origin
            begun = begun or (packet.is_keyframe and second >= start)
            if begun and second < start + 6:
                packet.pts += round(offset / tick)
                packet.dts += round(offset / tick)
                packet.stream = copy
                out.mux(packet)
    return path


def test_an_avi_of_absurd_length(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 3, 12.0, codec="mpeg4")
    data = bytearray(path.read_bytes())
    for mark, place in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        struct.pack_into("<I", data, data.index(mark) + place, 0x7FFFFFF0)
    path.write_bytes(data)
    check(path, 12.0)


@pytest.mark.parametrize("absurd", [1e9, 0.0, -5.0, float("nan")])
def test_a_matroska_file_of_absurd_length(tmp_path: Path, absurd: float) -> None:
    path = write_video(tmp_path / "a.mkv", 3, 12.0)
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3
    struct.pack_into(">d", data, place, absurd)
    path.write_bytes(data)
    check(path, 12.0)


def test_a_long_pause_is_no_mistake(tmp_path: Path) -> None:
    """A slide show in which a picture stays for half an hour."""
    for name in ("a.mp4", "a.mkv"):
        path = write_video(tmp_path / name, 3, timestamps=[0.0, 5.0, 1800.0, 1801.0])
        assert np.concatenate([c.seconds for c in read_frames(path, 1.0)]) == pytest.approx([0, 5, 1800, 1801])


REGULAR = st.lists(st.integers(1, 200), min_size=3, max_size=120)


@given(REGULAR)
def test_regular_stamps_are_left_alone(steps: list[int]) -> None:
    decoded = np.cumsum(steps).astype(np.int64)
    assert mend_stamps(Stamps(decoded, decoded + 3), 1000) is None
    assert mend_stamps(Stamps(decoded, np.full(len(decoded), NO_STAMP)), 1000) is None


@given(REGULAR, st.data())
def test_whatever_the_stamps_the_mended_ones_grow(steps: list[int], data: st.DataObject) -> None:
    decoded = np.cumsum(steps).astype(np.int64)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(decoded) - 1))
        until = data.draw(st.integers(place + 1, len(decoded)))
        decoded[place:until] += data.draw(st.integers(-(10**6), 10**6))
    mended = mend_stamps(Stamps(decoded, decoded.copy()), 1000)
    if mended is None:
        assert (np.diff(decoded) >= 0).all()
    else:
        assert (np.diff(mended.decoded) >= 0).all() and (np.diff(mended.decoded) <= 1000).all()
        assert len(mended.shown) == len(decoded)


@given(st.integers(40, 120), st.data(), st.integers(1100, 10**7))
def test_one_stray_changes_no_other(count: int, data: st.DataObject, ahead: int) -> None:
    decoded = np.arange(count, dtype=np.int64) * 40
    place = data.draw(st.integers(1, count - 2))
    wrong = decoded.copy()
    wrong[place] += ahead * data.draw(st.sampled_from([1, -1]))
    mended = mend_stamps(Stamps(wrong, wrong.copy()), 1000)
    assert mended is not None and (np.abs(mended.decoded - decoded) <= 40).all()
