"""media/colours.py: pictures with an ICC profile come out in sRGB, of every format that carries one."""

import io

import numpy as np
import pytest
from made_colours import SPACES, in_space, profile
from made_media import picture
from PIL import Image, ImageCms

from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import frame_at, read_frames
from vicmae.media.spec import InputSpec

# Within all of the spaces, also after their rounding to 8 bits.
COLOURS = np.clip(np.asarray(picture(3)), 24, 232)


def saved(image: Image.Image, format_: str, **save_args: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **save_args)
    return out.getvalue()


def away(data: bytes, wanted: np.ndarray) -> float:
    """Mean difference of the picture that is read from that wanted, of 255."""
    return float(np.abs(frame_at(data, 0.0).data[0].astype(int) - wanted).mean())


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP", "JPEG", "HEIF", "AVIF", "JPEG2000"])
def test_wide_colour_spaces_become_srgb(space: str, format_: str) -> None:
    wide = in_space(COLOURS, space)
    unread = float(np.abs(wide.astype(int) - COLOURS).mean())
    options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "HEIF": {"quality": 95},
        "AVIF": {"quality": 95},
    }
    data = saved(Image.fromarray(wide), format_, icc_profile=profile(space), **options.get(format_, {}))
    if not Image.open(io.BytesIO(data)).info.get("icc_profile"):
        pytest.skip(f"Pillow writes no profile into {format_}")
    assert unread > 5
    assert away(data, COLOURS) < {"PNG": 1.5, "TIFF": 1.5, "WEBP": 1.5, "JPEG2000": 1.5}.get(format_, 6)


def test_transparent_and_palette_pictures_keep_their_profile() -> None:
    wide = Image.fromarray(in_space(COLOURS, "Adobe RGB"))
    clear = wide.copy()
    clear.putalpha(Image.new("L", wide.size, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 40, 40))
    icc = profile("Adobe RGB")
    shown = frame_at(saved(clear, "PNG", icc_profile=icc), 0.0).data[0]
    assert (shown[:40, :40] == 255).all()
    assert np.abs(shown[40:, 40:].astype(int) - COLOURS[40:, 40:]).mean() < 1.5
    few = wide.quantize(64)
    expected = frame_at(saved(few.convert("RGB"), "PNG", icc_profile=icc), 0.0).data[0]
    assert away(saved(few, "PNG", icc_profile=icc), expected) == 0


def test_an_srgb_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert away(saved(Image.fromarray(COLOURS), "PNG", icc_profile=srgb), COLOURS) == 0


@pytest.mark.parametrize("icc", [b"", b"nonsense" * 40, profile("ProPhoto")[:200]])
def test_a_broken_profile_does_not_cost_the_picture(icc: bytes) -> None:
    assert away(saved(Image.fromarray(COLOURS), "PNG", icc_profile=icc), COLOURS) == 0


def test_the_profile_of_another_colour_space_is_passed_over() -> None:
    grey = Image.fromarray(COLOURS).convert("L")
    expected = np.asarray(grey.convert("RGB"))
    assert away(saved(grey, "PNG", icc_profile=profile("Display P3")), expected) == 0


def test_a_shrunk_jpeg_is_converted_too() -> None:
    flat = np.full((512, 512, 3), (200, 120, 60), np.uint8)
    data = saved(Image.fromarray(in_space(flat, "ProPhoto")), "JPEG", quality=95, icc_profile=profile("ProPhoto"))
    (frames,) = read_frames(data, 1.0, shorter_side=64)
    assert np.abs(to_pixels(frames, InputSpec(64, 16, 8))[0].astype(int) - flat[:64, :64]).max() <= 4
