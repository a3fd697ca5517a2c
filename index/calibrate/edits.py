"""Edits: what people do to a picture before they ask for it. The truth is known, since the copy was made here."""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

Edit = Callable[[Image.Image], Image.Image]


def encoded_anew(picture: Image.Image, quality: int = 25) -> Image.Image:
    """As JPEG of this quality, 1..95."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def half_size(picture: Image.Image) -> Image.Image:
    return picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))


def cropped(picture: Image.Image, share: float) -> Image.Image:
    """Without this share of the width and height at each side."""
    width, height = picture.size
    left, top = int(share * width), int(share * height)
    return picture.crop((left, top, max(width - left, left + 1), max(height - top, top + 1)))


def captioned(picture: Image.Image) -> Image.Image:
    """With a dark bar over the lowest fifth."""
    copy = picture.copy()
    ImageDraw.Draw(copy).rectangle((0, int(0.8 * copy.height), copy.width, copy.height), fill=(20, 20, 20))
    return copy


EDITS: Mapping[str, Edit] = {
    "none": lambda picture: picture,
    "re-encode": encoded_anew,
    "half the size": half_size,
    "crop 10% a side": lambda picture: cropped(picture, 0.1),
    "crop 20% a side": lambda picture: cropped(picture, 0.2),
    "brightness": lambda picture: ImageEnhance.Brightness(picture).enhance(1.35),
    "flip": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "caption bar": captioned,
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}
LIGHT = ("none", "re-encode", "half the size")  # that leave the picture where it is
OF_FOLDING = ("none", "re-encode", "brightness", "crop 10% a side")
OF_CLIPS = ("none", "re-encode", "crop 10% a side", "brightness", "caption bar", "flip", "crop 20% a side", "grey")


def edited(picture: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """picture (H, W, 3) uint8 -> (h, w, 3) uint8, edited as EDITS has it under this name."""
    return np.asarray(EDITS[name](Image.fromarray(picture)), np.uint8)
