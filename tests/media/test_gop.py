"""media/video/gop.py and its use: decoding only what is wanted shows, frame for frame, what decoding all shows."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st
from made_media import scene_at, write_damaged, write_truncated, write_video

from vicmae.media.frames import TimedFrame
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import read_frames
from vicmae.media.sampling import SamplingGrid, sample
from vicmae.media.video import medium as video
from vicmae.media.video.gop import IrregularTimestamps, plan_decoding
from vicmae.media.video.medium import VideoMedium, _expected

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "samples"


@dataclass(frozen=True)
class Stamp:
    pts: int | None
    is_keyframe: bool = False
    is_discard: bool = False
    size: int = 1


Picked = list[tuple[float, bytes]]


def picked(path: Path, choose: Callable[[VideoMedium], Iterator[TimedFrame]]) -> Picked:
    """(second, pixels) of the frames that `choose` takes from a film."""
    with path.open("rb") as file:
        medium = VideoMedium(file, file.read(64), MediaLimits())
        return [(shown.seconds, shown.render().tobytes()) for shown in choose(medium)]


def everything(grid: SamplingGrid) -> Callable[[VideoMedium], Iterator[TimedFrame]]:
    return lambda medium: sample(medium.shown(grid.start_seconds), grid)


@dataclass(frozen=True)
class Decoded:
    """A frame whose pixels are at hand."""

    seconds: float
    pixels: bytes


def decoded(path: Path) -> list[Decoded]:
    """Every frame of a film, decoded once for all rates that are compared."""
    return [Decoded(seconds, pixels) for seconds, pixels in picked(path, lambda medium: medium.shown(0.0))]


def sampled(frames: list[Decoded], grid: SamplingGrid) -> Picked:
    """What `everything` gives for a grid from the start of the film."""
    return [(frame.seconds, frame.pixels) for frame in sample(frames, grid)]


def planned(grid: SamplingGrid) -> Callable[[VideoMedium], Iterator[TimedFrame]]:
    """Without the way back to decoding everything."""
    return lambda medium: sample(medium._planned(grid), grid)


def wanted(grid: SamplingGrid) -> Callable[[VideoMedium], Iterator[TimedFrame]]:
    return lambda medium: sample(medium.frames_for(grid), grid)


def write_film(path: Path, options: dict[str, str], codec: str = "libx264", stamps: list[int] | None = None) -> Path:
    """Six seconds of the scene at 20 frames a second, encoded with these options of the codec."""
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=20, options=options))
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if codec != "libx264":
            stream.gop_size, stream.bit_rate = 24, 1_000_000
        for index, milliseconds in enumerate(stamps or range(0, 6000, 50)):
            frame = av.VideoFrame.from_ndarray(scene_at(3, index / 20), format="rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


X264 = {"preset": "veryfast", "crf": "20"}
FILMS: dict[str, dict[str, str]] = {
    "closed.mp4": {"x264-params": "keyint=30:min-keyint=30:scenecut=0:bframes=3:b-pyramid=normal:open-gop=0"},
    "open.mkv": {"x264-params": "keyint=30:min-keyint=30:scenecut=0:bframes=3:b-pyramid=normal:open-gop=1"},
    "open.mp4": {"x264-params": "keyint=24:min-keyint=24:scenecut=0:bframes=5:b-adapt=0:open-gop=1"},
    "open.ts": {"x264-params": "keyint=24:min-keyint=24:scenecut=0:bframes=5:b-adapt=0:open-gop=1"},
    "long.mp4": {"x264-params": "keyint=1000:bframes=3"},
    "short.mp4": {"x264-params": "keyint=5:min-keyint=5:bframes=2"},
    "intra.mp4": {"x264-params": "keyint=1"},
    "sliced.mkv": {"x264-params": "keyint=30:slices=4:bframes=2"},
}
RATES = (0.3, 1.0, 2.0, 7.0, 30.0)


@pytest.mark.parametrize("name", FILMS)
def test_what_is_wanted_of_a_film_is_what_decoding_everything_gives(tmp_path: Path, name: str) -> None:
    path = write_film(tmp_path / name, {**X264, **FILMS[name]})
    frames = decoded(path)
    for rate in RATES:
        grid = SamplingGrid(rate)
        assert picked(path, wanted(grid)) == sampled(frames, grid)
        if rate < 20:
            assert picked(path, planned(grid)) == sampled(frames, grid)


OTHERS = {
    "a.mpg": "mpeg2video",
    "b.ts": "mpeg2video",
    "c.mp4": "mpeg4",
    "d.webm": "libvpx",
    "e.webm": "libvpx-vp9",
    "f.mp4": "libx265",
    "g.avi": "mpeg4",
}
# Fast, and still with the frames that matter here: open groups, pictures that are shown later, hidden references.
OPTIONS: dict[str, dict[str, str]] = {
    "libx265": {"preset": "veryfast", "x265-params": "log-level=none:keyint=24:open-gop=1"},
    "libvpx": {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"},
    "libvpx-vp9": {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_codecs_and_containers(tmp_path: Path, name: str) -> None:
    path = (
        write_video(tmp_path / name, 3, fps=25, gop=24, codec=OTHERS[name])
        if "mpeg" in OTHERS[name]
        else write_film(tmp_path / name, OPTIONS[OTHERS[name]], OTHERS[name])
    )
    frames = decoded(path)
    for rate in (0.4, 1.0, 3.0):
        grid = SamplingGrid(rate)
        assert picked(path, wanted(grid)) == sampled(frames, grid)


def test_a_varying_frame_rate(tmp_path: Path) -> None:
    steps = np.random.default_rng(4).integers(5, 400, 120)
    stamps = np.cumsum(steps).tolist()
    for name in ("a.mp4", "a.mkv"):
        path = write_film(tmp_path / name, {**X264, **FILMS["open.mkv"]}, stamps=stamps)
        frames = decoded(path)
        for rate in (0.5, 1.0, 3.0):
            grid = SamplingGrid(rate)
            assert picked(path, planned(grid)) == sampled(frames, grid)


@pytest.mark.parametrize("name", ["closed.mp4", "open.mkv", "open.ts"])
def test_a_part_of_a_film(tmp_path: Path, name: str) -> None:
    path = write_film(tmp_path / name, {**X264, **FILMS[name]})
    for start, end in ((0.0, 2.0), (1.47, 3.2), (3.0, 3.01), (2.02, 2.04), (5.9, 9.0)):
        grid = SamplingGrid(2.0, start, end)
        assert picked(path, wanted(grid)) == picked(path, everything(grid))


@pytest.mark.parametrize("name", ["closed.mp4", "open.mkv", "open.ts"])
def test_damage_falls_back_to_decoding_everything(tmp_path: Path, name: str) -> None:
    whole = write_film(tmp_path / name, {**X264, **FILMS[name]})
    for broken in (
        write_damaged(tmp_path / f"damaged-{name}", whole, 0.4, 0.43),
        *([] if name.endswith("mp4") else [write_truncated(tmp_path / f"cut-{name}", whole, 0.6)]),
    ):
        # FFmpeg's frame threads leave out now this, now that frame of a damaged stretch, so two readings of the same
        # kind differ now and then as well.
        readings = {tuple(s for s, _ in picked(broken, everything(SamplingGrid(2.0)))) for _ in range(5)}
        assert any(tuple(s for s, _ in picked(broken, wanted(SamplingGrid(2.0)))) in readings for _ in range(5))


def test_key_frames_are_those_of_decoding_everything(tmp_path: Path) -> None:
    for name in ("closed.mp4", "open.mkv", "open.ts", "short.mp4", "long.mp4"):
        path = write_film(tmp_path / name, {**X264, **FILMS[name]})
        keys = picked(path, lambda medium: medium.key_frames(0.0))
        assert keys == picked(path, lambda medium: (s for s in medium.shown(0.0) if s.is_key))
        assert keys == picked(path, lambda medium: medium._key_frames(0.0, one_by_one=True))
        read = [f for frames in read_frames(path, 100.0, end_seconds=3.0, sampling="keyframes") for f in frames.seconds]
        assert read == [second for second, _ in keys if second < 3.0]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the sample files in ../shared/data/samples")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("video_*")), ids=lambda p: p.name)
def test_odd_films_give_what_decoding_everything_gives(path: Path) -> None:
    if path.name in ("video_mjpeg.mov", "video_truncated.mp4"):
        pytest.skip("not one frame of it can be decoded")
    grid = SamplingGrid(1.0)
    with path.open("rb") as file:
        medium = VideoMedium(file, file.read(64), MediaLimits())
        for mine, all_of_it in zip(sample(medium.frames_for(grid), grid), read_all(path, grid), strict=True):
            assert mine.seconds == all_of_it[0] and mine.render().tobytes() == all_of_it[1]


def read_all(path: Path, grid: SamplingGrid) -> Iterator[tuple[float, bytes]]:
    with path.open("rb") as file:
        for shown in sample(VideoMedium(file, file.read(64), MediaLimits()).shown(0.0), grid):
            yield shown.seconds, shown.render().tobytes()


@pytest.mark.parametrize(("name", "most"), [("closed.mp4", 60), ("short.mp4", 12), ("intra.mp4", 3)])
def test_less_than_everything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    """120 frames, of which three are wanted."""
    path = write_film(tmp_path / name, {**X264, **FILMS[name]})
    decoded: list[int | None] = []

    def counted(frames: list[av.VideoFrame], expected: deque[int]) -> Iterator[av.VideoFrame]:
        decoded.extend(frame.pts for frame in frames)
        return _expected(frames, expected)

    monkeypatch.setattr(video, "_expected", counted)
    with path.open("rb") as file:
        medium = VideoMedium(file, file.read(64), MediaLimits())
        assert [shown.seconds for shown in medium.frames_for(SamplingGrid(0.5))] == [0.0, 2.0, 4.0]
    assert 3 <= len(decoded) <= most


groups_of_stamps = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=12)


@given(groups_of_stamps, st.floats(0.2, 12.0), st.floats(0.0, 5.0), st.floats(0.1, 20.0))
def test_the_plan_needs_exactly_what_sampling_takes(
    sizes: list[tuple[int, int]], rate: float, start: float, length: float
) -> None:
    """Groups of made stamps, ten a second, some with frames that are shown before their key frame."""
    packets, clock = [], 0
    for number, (behind, before) in enumerate(sizes):
        before = before if number else 0
        packets.append(Stamp(clock + before, is_keyframe=True))
        packets += [Stamp(clock + i) for i in range(before)]
        packets += [Stamp(clock + before + 1 + i) for i in reversed(range(behind))]
        clock += before + 1 + behind
    grid = SamplingGrid(rate, start, start + length)
    taken = [pts for step in plan_decoding(packets, grid, lambda pts: pts / 10) for pts in step.wanted]
    frames = [TimedFrame(pts / 10, lambda: np.zeros((1, 1, 3), np.uint8)) for pts in range(clock)]
    expected = [round(f.seconds * 10) for f in sample(frames, grid)]
    assert set(expected) <= set(taken) and taken == sorted(taken)
    assert [f.seconds for f in sample([frames[pts] for pts in taken], grid)] == [pts / 10 for pts in expected]
    for step in plan_decoding(packets, grid, lambda pts: pts / 10):
        inside = {p.pts for p in step.packets[: step.needed]}
        assert set(step.wanted) <= inside and step.packets[0].is_keyframe


@pytest.mark.parametrize(
    "packets",
    [
        [Stamp(None, is_keyframe=True)],
        [Stamp(0), Stamp(1)],
        [Stamp(0, True), Stamp(0)],
        [Stamp(5, True), Stamp(6), Stamp(3, True), Stamp(4)],
        [Stamp(0, True)] + [Stamp(i + 1) for i in range(6000)],
        [Stamp(0, True, size=2**30)],
    ],
)
def test_stamps_that_allow_no_plan(packets: list[Stamp]) -> None:
    with pytest.raises(IrregularTimestamps):
        list(plan_decoding(packets, SamplingGrid(1.0), float))


def test_frames_that_are_not_shown_are_never_wanted() -> None:
    """Edit lists: what lies before the edit is decoded, but not shown."""
    packets = [Stamp(0, True, is_discard=True), Stamp(1, is_discard=True), Stamp(2), Stamp(3)]
    (step,) = plan_decoding(packets, SamplingGrid(1.0), float)
    assert step.wanted == [2, 3] and step.needed == 4


def test_reading_goes_the_short_way(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", {**X264, **FILMS["open.mp4"]})
    read = [(s, p.tobytes()) for f in read_frames(path, 1.0) for s, p in zip(f.seconds.tolist(), f.data, strict=True)]
    assert read == picked(path, everything(SamplingGrid(1.0)))
