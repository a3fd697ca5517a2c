"""Odd files as people really have them: every readable one is read, every other one refused with a reason.

They lie beside the repository (../shared/data/samples); the times are held against FFmpeg's demuxer.
"""

import json
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from made_media import scene_at
from PIL import Image

from vicmae.errors import CorruptMedia, MediaError, MediaTooLarge, UnsupportedMedia
from vicmae.media.limits import MediaLimits
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import MEDIA_SUFFIXES, frame_at, probe, read_frames
from vicmae.media.spec import InputSpec
from vicmae.media.thumbnails import thumbnail
from vicmae.media.video import VideoMedium

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "samples"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the sample files in ../shared/data/samples")

REFUSED: dict[str, tuple[type[MediaError], str]] = {
    "audio_only.wav": (UnsupportedMedia, "sound but no pictures"),
    "image_corrupt.jpg": (CorruptMedia, "damaged or cut short"),
    "image_decompression_bomb.gif": (MediaTooLarge, "max_pixels"),
    "video_mjpeg.mov": (CorruptMedia, "stored in another file"),
    "video_truncated.mp4": (CorruptMedia, "table of contents"),
}
NOT_MEDIA = {"README.md", "index.csv"}
FILES = sorted(p for p in SAMPLES.glob("*") if p.name not in NOT_MEDIA)
VIDEOS = [p for p in FILES if p.name.startswith("video_") and p.name not in REFUSED]
SPEC = InputSpec(size=32, patch=8, dim=4)


def sample(name: str) -> Path:
    return SAMPLES / name


def first(name: str) -> np.ndarray:
    return np.asarray(next(read_frames(sample(name), 2.0)).data[0], int)


def small(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture.astype(np.uint8)).resize((64, 64), Image.Resampling.BILINEAR)
    return np.asarray(image, int)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(small(a) - small(b)).mean())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_file_is_read_or_refused_with_a_reason(path: Path) -> None:
    if path.name in REFUSED:
        kind, words = REFUSED[path.name]
        with pytest.raises(kind, match=words):
            list(read_frames(path, 2.0))
        return
    info = probe(path)
    assert info.kind == ("image" if path.name.startswith("image_") and "animated" not in path.name else "video")
    seconds: list[float] = []
    for frames in read_frames(path, 2.0):
        assert frames.data.shape[1:3] == (info.height, info.width)
        assert to_pixels(frames, SPEC).shape == (len(frames), 32, 32, 3)
        seconds += frames.seconds.tolist()
    assert seconds[0] == 0.0 and seconds == sorted(set(seconds))
    assert seconds[-1] <= info.duration_seconds + 1e-6
    assert info.mime == "image/gif" or len(seconds) >= info.duration_seconds * 2 * 0.8
    assert thumbnail(path).startswith(b"\xff\xd8")


def test_at_least_35_of_the_files_are_readable() -> None:
    assert len(FILES) == 55 and len(FILES) - len(REFUSED) == 50


def test_every_readable_file_is_met_by_a_walk() -> None:
    assert all(p.suffix.lower() in MEDIA_SUFFIXES for p in FILES if p.name not in REFUSED)


@pytest.mark.parametrize("path", VIDEOS, ids=lambda p: p.name)
def test_times_are_those_of_the_demuxer(path: Path) -> None:
    """A frame's second is its packet's pts from the start of the file; AVI has none, but an even rate."""
    with av.open(str(path)) as container:
        streams = list(container.streams.video)
        stream = max(streams, key=lambda s: s.codec_context.width)
        origin = (container.start_time or 0) / av.time_base
        shown = [p for p in container.demux(stream) if p.size and not p.is_discard]
        if "avi" in container.format.name:
            assert stream.average_rate is not None
            expected = [i / float(stream.average_rate) for i in range(len(shown))]
        else:
            expected = sorted(p.pts * float(p.time_base) - origin for p in shown if p.pts is not None)
    with path.open("rb") as file:
        got = [shown.seconds for shown in VideoMedium(file, file.read(64), MediaLimits()).shown(0.0)]
    lost = 1 if path.name == "video_corrupted.mp4" else 0
    assert len(got) == len(expected) - lost
    assert max(min(abs(s - e) for e in expected) for s in got) < 1e-6
    assert got[0] == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe to compare with")
@pytest.mark.parametrize("path", [p for p in VIDEOS if p.suffix != ".avi"], ids=lambda p: p.name)
def test_times_and_shape_are_those_of_ffprobe(path: Path) -> None:
    """Another program's word, of another version of FFmpeg's libraries. AVI is left out: it has no times to compare."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-select_streams", "v", "-show_format", "-show_streams"]
    told = json.loads(subprocess.run([*command, "-show_frames", str(path)], capture_output=True, check=True).stdout)
    stream = max(told["streams"], key=lambda s: s["width"])
    turned = [round(abs(float(data["rotation"]))) for data in stream.get("side_data_list", []) if "rotation" in data]
    width, height = stream["width"], stream["height"]
    info = probe(path)
    assert (info.width, info.height) == ((height, width) if turned and turned[0] % 180 == 90 else (width, height))
    origin = float(told["format"].get("start_time", 0.0))
    of_stream = [frame for frame in told["frames"] if frame["stream_index"] == stream["index"]]
    expected = sorted(float(frame["best_effort_timestamp_time"]) - origin for frame in of_stream)
    with path.open("rb") as file:
        got = [shown.seconds for shown in VideoMedium(file, file.read(64), MediaLimits()).shown(0.0)]
    assert abs(len(got) - len(expected)) <= (2 if path.name == "video_corrupted.mp4" else 0)
    # Versions differ on whether the sound that Opus plays before zero counts as the start of the file.
    offset = got[0] - expected[0]
    assert abs(offset) < 0.01
    assert max(min(abs(s - offset - e) for e in expected) for s in got) < 2e-6


def test_exif_orientations_show_the_same_picture() -> None:
    upright = first("image_exif_orient1.jpg")
    for name in ("image_exif_orient3.jpg", "image_exif_orient6.jpg"):
        assert first(name).shape == upright.shape
        assert difference(first(name), upright) < 6
        assert difference(first(name)[::-1], upright) > 20
    assert difference(first("image_exif_orient5.jpg"), first("image_exif_orient8.jpg")) < 6


def test_the_same_picture_in_other_colour_modes() -> None:
    colour = first("image_cmyk.jpg")
    assert difference(first("image_palette.png"), colour) < 20
    grey = colour.mean(axis=2, keepdims=True).repeat(3, axis=2)
    for name in ("image_gray_alpha.png", "image_1bit.png"):
        assert difference(first(name), grey) < 25


def test_a_picture_with_another_extension_is_a_jpeg() -> None:
    assert probe(sample("image_wrong_extension.heic")).codec == "jpeg"


def test_the_same_film_in_other_coats() -> None:
    """Re-encodings of one film show the same picture at the same second."""
    for second in (0.0, 1.0, 2.5, 3.9):
        original = frame_at(sample("video_cockatoo.mp4"), second).data[0]
        for name in ("video_vp9_real.webm", "video_odd_444.mp4", "video_vfr.mp4"):
            assert difference(frame_at(sample(name), second).data[0], original) < 8
    earth = frame_at(sample("video_earth.mov"), 7.0).data[0]
    assert difference(frame_at(sample("video_earth.avi"), 7.0).data[0], earth) < 3


def test_phones_hold_the_camera_every_way() -> None:
    shapes = {name: probe(sample(f"video_{name}.mov")) for name in ("rot90", "rot180", "rot270", "hevc_phone")}
    tall = {name: info.height > info.width for name, info in shapes.items()}
    assert tall == {"rot90": True, "rot180": False, "rot270": True, "hevc_phone": True}
    heic = probe(sample("image_iphone7.heic"))
    assert (heic.width, heic.height) == (3024, 4032)
    with av.open(str(sample("video_rot90.mov"))) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert difference(first("video_rot90.mov"), np.rot90(stored, -1)) < 2


def test_these_tests_would_notice_a_wrong_picture() -> None:
    assert difference(scene_at(1, 0.0).astype(int), scene_at(2, 0.0).astype(int)) > 30
