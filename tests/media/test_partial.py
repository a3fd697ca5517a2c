"""media/partial.py: pictures that end early give what there is of them, and say so."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import picture, write_animation, write_truncated
from PIL import Image

from vicmae.errors import CorruptMedia
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import frame_at, read_frames
from vicmae.media.sandbox import Sandbox

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "baseline": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "grey": ("JPEG", {"quality": 90}),
    "restarts": ("JPEG", {"quality": 90, "restart_marker_rows": 1}),
    "cmyk": ("JPEG", {"quality": 90}),
    "png": ("PNG", {}),
    "tiff": ("TIFF", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
    "gif": ("GIF", {"interlace": 0}),
}
MODES = {"grey": "L", "cmyk": "CMYK"}


def made(kind: str, seed: int = 4) -> bytes:
    format_, options = KINDS[kind]
    noise = np.random.default_rng(seed).integers(40, 100, (120, 160, 3))
    image = Image.fromarray((np.asarray(picture(seed)) // 2 + noise).astype(np.uint8)).convert(MODES.get(kind, "RGB"))
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [4, 0.05, 0.3])
def test_what_decodes_is_taken_and_marked(kind: str, missing: float) -> None:
    whole = made(kind)
    frames = frame_at(whole[: len(whole) - (int(missing) or int(missing * len(whole)))], 0.0)
    expected = frame_at(whole, 0.0)
    assert not expected.incomplete
    if frames.incomplete or missing != 4:  # the last bytes of a PNG or a GIF hold no pixels
        assert frames.incomplete
    assert frames.data.shape == expected.data.shape
    half = slice(60, 120) if kind == "bmp" else slice(0, 60)  # a BMP begins with its last row
    away = np.abs(frames.data[0, half].astype(int) - expected.data[0, half]).mean()
    assert away < (12 if kind == "progressive" else 1)


@pytest.mark.parametrize("kind", ["baseline", "png", "bmp", "gif"])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_less_than_half_is_refused(kind: str, share: float) -> None:
    whole = made(kind)
    with pytest.raises(CorruptMedia, match="damaged or cut short"):
        frame_at(whole[: int(share * len(whole))], 0.0)


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_a_shrunk_picture_is_marked_too(kind: str) -> None:
    whole = made(kind)
    (frames,) = read_frames(whole[: int(0.9 * len(whole))], 1.0, shorter_side=30)
    assert frames.incomplete and frames.data.shape == (1, 30, 40, 3)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.floats(0.0, 1.0), st.integers(0, 5))
def test_every_cut_is_a_picture_or_a_sentence(kind: str, share: float, seed: int) -> None:
    """And of the same size as the whole one."""
    whole = made(kind, seed)
    try:
        frames = frame_at(whole[: int(share * len(whole))], 0.0)
    except CorruptMedia as error:
        assert str(error).endswith(".")
    else:
        assert frames.data.shape == (1, 120, 160, 3)
        assert frames.incomplete or share > 0.9


def test_an_animation_that_breaks_off_is_marked(tmp_path: Path) -> None:
    whole = write_animation(tmp_path / "whole.gif", [1, 2, 3, 4], 200)
    cut = write_truncated(tmp_path / "cut.gif", whole, 0.6)
    assert not any(frames.incomplete for frames in read_frames(whole, 30.0))
    assert list(read_frames(cut, 30.0))[-1].incomplete


def test_the_mark_comes_out_of_the_sandbox() -> None:
    whole = made("baseline")
    with Sandbox(workers=1) as sandbox:
        assert sandbox.frame_at(whole[:-2], 0.0, MediaLimits()).incomplete
        (frames,) = sandbox.read_frames(whole[:-2], 1.0, MediaLimits())
        assert frames.incomplete
        assert not sandbox.frame_at(whole, 0.0, MediaLimits()).incomplete
