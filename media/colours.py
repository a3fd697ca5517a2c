"""Colours of pictures: any mode, depth and ICC profile -> 8-bit sRGB. Knows nothing of files."""

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_WHITE = (255, 255, 255, 255)
_MODES_OF_PROFILES = ("RGB", "RGBA", "L", "CMYK")
_SAME = 2  # of 255: a profile that changes no colour by more is sRGB, whatever it is called
_MAX_PROFILE_BYTES = 4 * 2**20  # beyond this it is no description of colours


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded picture of any mode -> mode RGB in sRGB, on white where it is transparent."""
    mode = image.mode
    if mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image), image.format)).convert("RGB")
    if mode in ("I", "F"):
        return Image.fromarray(_wide_to_eight_bits(np.asarray(image), image.format)).convert("RGB")
    if mode in ("LA", "PA", "La", "RGBa") or (mode != "RGBA" and "transparency" in image.info):
        image = _converted(image, "RGBA")
    elif mode in ("P", "YCbCr", "HSV", "RGBX"):
        image = _converted(image, "RGB")
    image = _by_profile(image)
    if image.mode == "RGBA":
        # White is what a viewer or a web page shows behind a picture.
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image.convert("RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    converted = image.convert(mode)
    converted.info = {"icc_profile": image.info.get("icc_profile")}
    return converted


def _eight_bits(values: NDArray[np.integer], format_: str | None) -> NDArray[np.uint8]:
    """16-bit grey -> 8-bit grey. PNG uses the full range, a TIFF may hold the 10 to 14 bits of a camera."""
    bits = 16 if format_ != "TIFF" else max(8, int(values.max(initial=0)).bit_length())
    return (values.astype(np.uint32) >> (bits - 8)).astype(np.uint8)


def _wide_to_eight_bits(values: NDArray[np.generic], format_: str | None) -> NDArray[np.uint8]:
    """32-bit grey -> 8-bit grey: integers as above, floats with white at 1.0 or at their maximum."""
    if values.dtype.kind in "iu":
        return _eight_bits(np.clip(values, 0, None if format_ == "TIFF" else 65535), format_)
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    white = max(1.0, float(finite.max(initial=0.0)))
    return np.clip(finite / white * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _by_profile(image: Image.Image) -> Image.Image:
    """To sRGB by the picture's own ICC profile where it has a usable one; LAB by the standard one."""
    profile = b"" if image.mode == "LAB" else image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode not in (*_MODES_OF_PROFILES, "LAB"):
        return image
    if len(profile) > _MAX_PROFILE_BYTES or (not profile and image.mode != "LAB"):
        return image
    try:
        transform = _to_srgb(profile, image.mode)
        return image if transform is None else transform.apply(image)
    except (ImageCms.PyCMSError, ValueError):  # broken, or of another colour space: as if there were none
        return image


@lru_cache(8)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile (empty: the standard one of the mode) to sRGB; None where it is sRGB. PyCMSError."""
    source = ImageCms.getOpenProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile(mode)  # type: ignore[arg-type]
    out = mode if mode == "RGBA" else "RGB"
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, out)
    if mode not in ("RGB", "RGBA"):
        return transform
    cube = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), -1).reshape(1, -1, 3).astype(np.uint8)
    colours = Image.fromarray(cube).convert(mode)
    changed = np.asarray(transform.apply(colours).convert("RGB"), np.int64) - cube
    return transform if int(np.abs(changed).max()) > _SAME else None
