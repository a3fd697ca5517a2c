"""media/video/tone_mapping.py and its use: a PQ or HLG film shows the colours of the same film in SDR."""

from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st
from made_colours import linear
from made_media import scene_at
from numpy.typing import NDArray

from vicmae.media.reader import frame_at, read_frames
from vicmae.media.thumbnails import thumbnail
from vicmae.media.video.tone_mapping import to_sdr

Transfer = Literal["pq", "hlg"]
TRANSFERS: tuple[Transfer, ...] = ("pq", "hlg")
# Linear BT.709 -> linear BT.2020, ITU-R BT.2087.
TO_WIDE = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
SIZE = (192, 128)


def encoded(srgb: NDArray[np.uint8], transfer: Transfer) -> NDArray[np.uint16]:
    """8-bit sRGB, its white at 203 cd/m2 -> 16-bit values of a transfer in BT.2020."""
    nits = linear(srgb) @ TO_WIDE.T * 203
    if transfer == "pq":
        power = (nits / 10000) ** (2610 / 16384)
        value = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:
        shown = nits / 1000
        luma = shown @ np.array([0.2627, 0.6780, 0.0593])
        scene = shown * np.maximum(luma, 1e-9)[..., None] ** (1 / 1.2 - 1)
        value = np.where(
            scene <= 1 / 12,
            np.sqrt(3 * scene),
            0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
        )
    return np.asarray(np.rint(np.clip(value, 0, 1) * 65535), np.uint16)


def write_high_range(path: Path, transfer: Transfer) -> Path:
    """Two seconds of the scene of seed 3, as a camera's 10-bit film."""
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=none"}
        codec = "libsvtav1" if path.suffix == ".webm" else "libx265"
        stream = cast(VideoStream, container.add_stream(codec, rate=10, options={} if "av1" in codec else options))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p10le"
        if "av1" in codec:
            stream.bit_rate = 3_000_000
        context = stream.codec_context
        context.color_primaries, context.colorspace = 9, 9
        context.color_trc = 16 if transfer == "pq" else 18
        for index in range(20):
            pixels = encoded(scene_at(3, index / 10, SIZE), transfer)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9)
            frame.pts = index
            frame.colorspace, frame.color_primaries, frame.color_trc = 9, 9, context.color_trc
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer", TRANSFERS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.webm"])
def test_a_film_of_high_range_shows_srgb(tmp_path: Path, transfer: Transfer, name: str) -> None:
    path = write_high_range(tmp_path / name, transfer)
    with av.open(str(path)) as film:
        frame = next(film.decode(video=0))
        assert (frame.color_trc, frame.colorspace) == ({"pq": 16, "hlg": 18}[transfer], 9)
        plain = np.abs(frame.to_ndarray(format="rgb24").astype(int) - scene_at(3, 0.0, SIZE)).mean()
    shown = frame_at(path, 0.0).data[0]
    away = np.abs(shown.astype(int) - scene_at(3, 0.0, SIZE)).mean()
    assert away < 10 and away < plain / 2
    (small,) = read_frames(path, 1.0, shorter_side=32)
    assert small.data.shape[1:] == (32, 48, 3) and small.data.dtype == np.uint8
    assert thumbnail(path)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_colours_below_white_come_back(transfer: Transfer) -> None:
    srgb = np.random.default_rng(0).integers(0, 200, (40, 50, 3)).astype(np.uint8)
    assert np.abs(to_sdr(encoded(srgb, transfer), transfer).astype(int) - srgb).max() <= 6


@given(st.sampled_from(TRANSFERS), st.lists(st.integers(0, 65535), min_size=2, max_size=30))
def test_brighter_is_never_darker(transfer: Transfer, values: list[int]) -> None:
    grey = np.repeat(np.array(sorted(values), np.uint16)[None, :, None], 3, axis=2)
    shown = to_sdr(grey, transfer)[0].astype(int)
    assert (np.diff(shown, axis=0) >= 0).all()
    assert np.ptp(shown, axis=1).max() <= 2


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_black_is_black_and_the_brightest_is_white(transfer: Transfer) -> None:
    ends = np.array([[[0, 0, 0], [65535, 65535, 65535]]], np.uint16)
    assert to_sdr(ends, transfer)[0, :, 0].tolist() == [0, 255]
