"""media/video: times, turns, containers, codecs, seeking and damage, on films that are made here."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_media import (
    SHOT_SECONDS,
    frame_of,
    scene_at,
    write_damaged,
    write_sound,
    write_truncated,
    write_video,
)
from PIL import Image

from vicmae.errors import CorruptMedia, InvalidRequest, MediaError, MediaTooLarge, UnsupportedMedia
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import Source, frame_at, probe, read_frames
from vicmae.media.sampling import Sampling
from vicmae.media.video import container as film
from vicmae.media.video import medium as video

CONTAINERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "film.mp4": ({}, "h264", "video/mp4"),
    "film.mov": ({}, "h264", "video/quicktime"),
    "film.mkv": ({}, "h264", "video/x-matroska"),
    "film.ts": ({}, "h264", "video/mp2t"),
    "h264.avi": ({}, "h264", "video/x-msvideo"),
    "xvid.avi": ({"codec": "mpeg4"}, "mpeg4", "video/x-msvideo"),
    "vp8.webm": ({"codec": "libvpx"}, "vp8", "video/webm"),
    "vp9.webm": ({"codec": "libvpx-vp9"}, "vp9", "video/webm"),
    "av1.mp4": ({"codec": "libsvtav1"}, "av1", "video/mp4"),
    "hevc10.mp4": ({"codec": "libx265", "pix_fmt": "yuv420p10le"}, "hevc", "video/mp4"),
    "full.mp4": ({"pix_fmt": "yuv444p", "size": (161, 121)}, "h264", "video/mp4"),
    "jpeg.mov": ({"codec": "mjpeg", "pix_fmt": "yuvj420p"}, "mjpeg", "video/quicktime"),
    "dvd.mpg": ({"codec": "mpeg2video", "fps": 25}, "mpeg2video", "video/mpeg"),
    "old.flv": ({"codec": "flv1"}, "flv1", "video/x-flv"),
    "old.wmv": ({"codec": "wmv2"}, "wmv2", "video/x-ms-wmv"),
}


def everything(source: Source, fps: float = 1000.0, **window: Any) -> tuple[np.ndarray, np.ndarray]:
    """pictures (T, H, W, 3), seconds (T,) of a whole file."""
    chunks = list(read_frames(source, fps, MediaLimits(max_frames=10**6), **window))
    return np.concatenate([c.data for c in chunks]).astype(int), np.concatenate([c.seconds for c in chunks])


def difference(a: np.ndarray, b: np.ndarray | Image.Image) -> float:
    return float(np.abs(np.asarray(a, int) - np.asarray(b, int)).mean())


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_and_codec_shows_the_right_frame_at_the_right_second(tmp_path: Path, name: str) -> None:
    given, codec, mime = CONTAINERS[name]
    fps, size = given.get("fps", 20), given.get("size", (160, 120))
    path = write_video(tmp_path / name, 5, 2.5, **given)
    info = probe(path)
    assert (info.kind, info.width, info.height, info.codec, info.mime) == ("video", *size, codec, mime)
    assert info.duration_seconds == pytest.approx(2.5, abs=0.06)
    pictures, seconds = everything(path)
    assert seconds == pytest.approx(np.arange(round(2.5 * fps)) / fps, abs=0.0011)
    for second, shown in zip(seconds, pictures, strict=True):
        here, elsewhere = (difference(shown, scene_at(5, s, size)) for s in (second, (second + 1.25) % 2.5))
        assert here < 20 and here < elsewhere


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
@pytest.mark.parametrize("start_seconds", [0.5, 3.3])
def test_a_film_that_does_not_begin_at_zero(tmp_path: Path, name: str, start_seconds: float) -> None:
    path = write_video(tmp_path / name, 2, 2.0, start_seconds=start_seconds)
    pictures, seconds = everything(path)
    assert seconds == pytest.approx(np.arange(40) / 20, abs=0.0011)
    assert probe(path).duration_seconds == pytest.approx(2.0, abs=0.06)
    assert difference(pictures[25], scene_at(2, 1.25)) < 20
    assert difference(frame_at(path, 1.25).data[0], scene_at(2, 1.25)) < 20


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, name: str) -> None:
    stamps = [0.0, 0.1, 0.15, 1.0, 1.01, 2.5, 2.9, 2.95]
    path = write_video(tmp_path / name, 2, timestamps=stamps)
    pictures, seconds = everything(path)
    assert seconds == pytest.approx(stamps, abs=0.0011)
    for stamp, shown in zip(stamps, pictures, strict=True):
        assert difference(shown, scene_at(2, stamp)) < 20
    assert everything(path, 2.0)[1] == pytest.approx([0.0, 1.0, 2.5], abs=0.0011)


@pytest.mark.parametrize("rotation", [90, 180, 270, -90])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "film.mp4", 7, 0.5, rotation=rotation)
    size = (120, 160) if rotation % 180 else (160, 120)
    info = probe(path)
    assert (info.width, info.height) == size
    pictures, _ = everything(path)
    assert difference(pictures[0], frame_of(7, 0.0).rotate(rotation, expand=True)) < 20


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_mirrored_films_are_mirrored_back(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "film.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.set_display_rotation(turn, hflip=True)
        frame = av.VideoFrame.from_ndarray(scene_at(7, 0.0), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = frame_at(path, 0.0).data[0]
    stored = frame_of(7, 0.0)
    mirrored = [
        stored.transpose(Image.Transpose.FLIP_LEFT_RIGHT).rotate(turn, expand=True),
        stored.rotate(turn, expand=True).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    ]
    assert min(difference(shown, m) for m in mirrored if m.size == shown.shape[1::-1]) < 20


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 72, 60, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(scene_at(7, 0.0, (72, 60)), format="rgb24")))
        container.mux(stream.encode(None))
    assert (probe(path).width, probe(path).height) == (108, 60)
    assert frame_at(path, 0.0).data.shape == (1, 60, 108, 3)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "h264.avi", "xvid.avi", "vp9.webm"])
def test_seeking_gives_what_reading_from_the_start_gives(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, 3, 6.0, gop=30, **CONTAINERS[name][0])
    pictures, seconds = everything(path)
    for start in (0.0, 0.05, 1.49, 1.5, 3.33, 5.95, 5.99):
        shown = frame_at(path, start)
        index = int(np.flatnonzero(seconds <= start + 0.0011)[-1])
        assert shown.seconds[0] == pytest.approx(seconds[index], abs=0.0011)
        assert difference(shown.data[0], pictures[index]) < 3
    part, part_seconds = everything(path, 10.0, start_seconds=2.5, end_seconds=4.0)
    assert part_seconds == pytest.approx(np.arange(2.5, 4.0, 0.1), abs=0.0511)
    assert part_seconds[0] >= 2.4989 and part_seconds[-1] < 4.0
    assert difference(part[0], scene_at(3, float(part_seconds[0]))) < 20
    assert frame_at(path, 1000.0).seconds[0] == pytest.approx(seconds[-1], abs=0.0011)
    assert frame_at(path, -1.0).seconds[0] == 0.0


def test_a_single_key_frame_film_can_be_searched(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 3, 6.0, gop=1000)
    assert difference(frame_at(path, 5.0).data[0], scene_at(3, 5.0)) < 20


def test_a_window_without_a_frame_gives_the_one_on_screen(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 3, timestamps=[0.0, 1.0, 2.0])
    pictures, seconds = everything(path, 2.0, start_seconds=1.2, end_seconds=1.8)
    assert seconds == pytest.approx([1.0]) and difference(pictures[0], scene_at(3, 1.0)) < 20


def test_senseless_windows_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 3, 1.0)
    for window in (
        {"start_seconds": 5.0},
        {"start_seconds": -1.0},
        {"start_seconds": 0.5, "end_seconds": 0.5},
    ):
        with pytest.raises(InvalidRequest):
            everything(path, 2.0, **window)
    with pytest.raises(InvalidRequest, match="frames per second"):
        everything(path, 0.0)


def test_a_new_shot_begins_when_the_film_says(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 3, 4.0)
    before, after = frame_at(path, SHOT_SECONDS - 0.05).data[0], frame_at(path, SHOT_SECONDS).data[0]
    assert difference(before, after) > 30


def test_the_default_stream_is_read_and_cover_art_is_not_a_film(tmp_path: Path) -> None:
    cover = tmp_path / "cover.mkv"
    with av.open(str(cover), "w") as container:
        small, large = (container.add_stream("libx264", rate=10) for _ in range(2))
        for stream, size in ((small, (64, 48)), (large, (160, 120))):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.disposition = av.stream.Disposition(0)
        for stream, size in ((small, (64, 48)), (large, (160, 120))):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene_at(1, 0.0, size), format="rgb24")))
            container.mux(stream.encode(None))
    assert probe(cover).width == 160


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedMedia, match="sound but no pictures"):
        probe(write_sound(tmp_path / "sound.wav"))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "xvid.avi", "vp9.webm"])
def test_damage_in_the_middle_costs_the_damage_only(tmp_path: Path, name: str) -> None:
    whole = write_video(tmp_path / name, 4, 6.0, **CONTAINERS[name][0])
    path = write_damaged(tmp_path / f"damaged-{name}", whole, 0.3, 0.33)
    pictures, seconds = everything(path)
    assert len(seconds) > 40
    assert difference(pictures[0], scene_at(4, 0.0)) < 20
    assert (np.diff(seconds) > 0).all()


@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "vp9.webm", "xvid.avi"])
def test_a_film_cut_short_gives_what_it_has(tmp_path: Path, name: str) -> None:
    whole = write_video(tmp_path / name, 4, 6.0, **CONTAINERS[name][0])
    path = write_truncated(tmp_path / f"cut-{name}", whole, 0.5)
    pictures, seconds = everything(path)
    assert 20 < len(seconds) < 115
    assert difference(pictures[10], scene_at(4, 0.5)) < 20


def test_an_mp4_without_its_table_of_contents_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", 4)
    with pytest.raises(CorruptMedia, match="MP4 file is damaged or cut short"):
        probe(write_truncated(tmp_path / "cut.mp4", whole, 0.5))


def test_noise_in_every_frame_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", 4)
    data = bytearray(whole.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    with pytest.raises(CorruptMedia, match="Not one frame"):
        probe(bytes(data))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "vp8.webm", "xvid.avi", "film.ts", "old.flv"])
def test_flipped_bytes_end_in_frames_or_a_sentence(tmp_path: Path, name: str) -> None:
    data = write_video(tmp_path / name, 4, 0.5, size=(48, 32), **CONTAINERS[name][0]).read_bytes()
    dice = np.random.default_rng(0)
    for _ in range(25):
        broken = bytearray(data)
        for place in dice.integers(0, len(data), 6):
            broken[place] = dice.integers(256)
        try:
            for frames in read_frames(bytes(broken), 4.0, MediaLimits(max_pixels=10**6)):
                assert len(frames) >= 1
        except MediaError as error:
            assert str(error).endswith(".")


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """FFmpeg would follow these to any file or address on the machine."""
    film = write_video(tmp_path / "film.ts", 4, 1.0)
    for name, text in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{film}'\n",
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{film}\n#EXT-X-ENDLIST\n",
    }.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(UnsupportedMedia):
            probe(path)


def test_limits(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", 4, 3.0)
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        probe(path, MediaLimits(max_pixels=160 * 120 - 1))
    with pytest.raises(MediaTooLarge, match="max_duration_seconds"):
        next(read_frames(path, 1.0, MediaLimits(max_duration_seconds=2.9)))
    assert list(read_frames(path, 1.0, MediaLimits(max_duration_seconds=1.1), start_seconds=1.0, end_seconds=2.0))
    with pytest.raises(MediaTooLarge, match="max_upload_bytes"):
        probe(path.read_bytes(), MediaLimits(max_bytes=1000))
    assert probe(path, MediaLimits(max_bytes=1000)).kind == "video"
    with pytest.raises(MediaTooLarge, match="max_frames"):
        next(read_frames(path, 10.0, MediaLimits(max_frames=20)))
    assert sum(len(c) for c in read_frames(path, 10.0, MediaLimits(max_frames=30))) == 30
    assert sum(len(c) for c in read_frames(path, 10.0, MediaLimits(max_frames=20), end_seconds=1.0)) == 10


def test_nonsense_about_colours_does_not_cost_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.codec_context.colorspace = 15  # ICtCp, which the converter does not know
        container.mux(stream.encode(av.VideoFrame.from_ndarray(scene_at(4, 0.0), format="rgb24")))
        container.mux(stream.encode(None))
    assert difference(frame_at(path, 0.0).data[0], scene_at(4, 0.0)) < 20


def test_a_film_is_opened_once_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "film.mp4", 1)
    opened: list[object] = []

    def counted(*args: object) -> film.VideoContainer:
        opened.append(args)
        return film.open_container(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(video, "open_container", counted)
    samplings: tuple[Sampling, ...] = ("rate", "keyframes")
    for sampling in samplings:
        opened.clear()
        assert list(read_frames(path, 1.0, sampling=sampling)) and len(opened) == 1


def test_small_key_frames_look_like_the_frames_themselves(tmp_path: Path) -> None:
    """They are not smoothed before they are shrunk."""
    path = write_video(tmp_path / "film.mp4", 1, size=(320, 240))
    (keys,) = read_frames(path, 1.0, shorter_side=60, sampling="keyframes")
    (frames,) = read_frames(path, 1.0, shorter_side=60)
    assert keys.seconds.tolist() == frames.seconds.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.abs(keys.data.astype(np.int64) - frames.data).mean() < 1.0
