"""Frames -> the square pixels an encoder takes. Knows the InputSpec, and nothing of files or weights.

Normalisation is not done here: it is folded into the exported graph.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .frames import Frames, Picture
from .spec import InputSpec

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
# Shrinks very large pictures by whole steps first: several times faster, on photos within 2 of 255 levels.
_REDUCING_GAP = 3.0
_ENOUGH = 2.0  # times the size: measured by benchmarks/decoding.py


def enough_side(spec: InputSpec) -> int:
    """The shorter side from which on a larger picture makes no difference to its pixels that a model would notice."""
    return round(_ENOUGH * spec.size)


def to_pixels(frames: Frames, spec: InputSpec) -> NDArray[np.uint8]:
    """frames (T, H, W, 3) -> pixels (T, S, S, 3) uint8, antialiased; any shape of frame from 1 x 1 on.

    crop    the shorter side becomes S, the middle of the longer one is kept
    squash  both sides become S
    pad     the longer side becomes S, the rest is filled with the spec's mean colour
    """
    pixels = np.empty((len(frames), spec.size, spec.size, 3), np.uint8)
    for index, picture in enumerate(frames.data):
        pixels[index] = _square(picture, spec)
    return pixels


def _square(picture: Picture, spec: InputSpec) -> Picture:
    height, width = picture.shape[:2]
    size, rule = spec.size, _FILTERS[spec.resize]
    if spec.fit == "pad":
        return _padded(picture, spec)
    box = (0.0, 0.0, float(width), float(height))
    if spec.fit == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    # One resize of the box alone: nothing of the size of the longer side is ever made.
    return np.asarray(Image.fromarray(picture).resize((size, size), rule, box, _REDUCING_GAP))


def _padded(picture: Picture, spec: InputSpec) -> Picture:
    height, width = picture.shape[:2]
    scale = spec.size / max(width, height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    red, green, blue = (round(value * 255) for value in spec.mean)
    square = Image.new("RGB", (spec.size, spec.size), (red, green, blue))
    corner = (spec.size - inner[0]) // 2, (spec.size - inner[1]) // 2
    square.paste(Image.fromarray(picture).resize(inner, _FILTERS[spec.resize], None, _REDUCING_GAP), corner)
    return np.asarray(square)
