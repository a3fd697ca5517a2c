"""media/raw.py: camera RAW is developed, and the small picture beside it is never taken for it."""

import io

import numpy as np
import pytest
from made_media import picture
from made_raw import dng
from PIL import Image

from vicmae.errors import CorruptMedia, MediaError, MediaTooLarge, UnsupportedMedia
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import frame_at, probe, read_frames

SCENE = np.asarray(picture(5, (320, 240)).resize((40, 30)).resize((320, 240), Image.Resampling.BILINEAR))
OTHER = np.asarray(picture(9, (64, 48)))


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two pictures of one size, whatever their brightness."""
    return float(np.corrcoef(a.astype(float).ravel(), b.astype(float).ravel())[0, 1])


@pytest.mark.parametrize("thumbnail", [None, OTHER], ids=["alone", "behind a small picture"])
def test_a_raw_photo_is_developed(thumbnail: np.ndarray | None) -> None:
    data = dng(SCENE, thumbnail=thumbnail)
    info = probe(data)
    assert (info.kind, info.width, info.height, info.mime) == ("image", 320, 240, "image/x-adobe-dng")
    (frames,) = read_frames(data, 1.0)
    assert frames.data.shape == (1, 240, 320, 3) and frames.seconds.tolist() == [0.0]
    assert likeness(frames.data[0], SCENE) > 0.97


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_it_is_turned_upright(orientation: int) -> None:
    data = dng(SCENE, orientation)
    info, shown = probe(data), frame_at(data, 0.0).data[0]
    turns = {1: 0, 3: 180, 6: 270, 8: 90}[orientation]
    expected = np.asarray(Image.fromarray(SCENE).rotate(turns, expand=True))
    assert (info.height, info.width) == shown.shape[:2] == expected.shape[:2]
    assert likeness(shown, expected) > 0.97


def test_a_small_one_is_developed_at_half_size() -> None:
    (frames,) = read_frames(dng(SCENE), 1.0, shorter_side=100)
    assert frames.data.shape == (1, 120, 160, 3)


def test_an_ordinary_tiff_is_none() -> None:
    out = io.BytesIO()
    Image.fromarray(OTHER).save(out, "TIFF", tiffinfo={271: "Made", 272: "Camera"})
    assert probe(out.getvalue()).mime == "image/tiff"


def test_limits_hold() -> None:
    with pytest.raises(MediaTooLarge, match="max_pixels"):
        frame_at(dng(SCENE), 0.0, MediaLimits(max_pixels=1000))


@pytest.mark.parametrize(
    "head", [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\x00", b"IIU\x00\x18\x00", b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01"]
)
def test_a_camera_that_is_not_known_is_said_to_be(head: bytes) -> None:
    with pytest.raises((UnsupportedMedia, CorruptMedia), match="not supported|damaged"):
        probe(head + bytes(5000))


def test_flipped_and_missing_bytes_end_in_a_picture_or_a_sentence() -> None:
    data, dice = dng(SCENE[:48, :64], thumbnail=OTHER), np.random.default_rng(0)
    for turn in range(60):
        broken = bytearray(data)
        for place in dice.integers(max(0, len(data) - 3000) * (turn % 2), len(data), 4):
            broken[place] = dice.integers(256)
        try:
            frames = frame_at(bytes(broken[: dice.integers(100, len(data))] if turn % 3 == 0 else broken), 0.0)
            assert frames.data.ndim == 4
        except MediaError as error:
            assert str(error).endswith(".")
