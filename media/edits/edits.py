"""What people do to pictures, with fixed dice: the edits by which an encoder and the product are judged.

Written with Pillow and OpenCV, apart from the augmentations of training on purpose: what is learnt from one set of
edits is judged by another.
"""

from collections.abc import Callable
from zlib import crc32

import numpy as np
from numpy.random import Generator

from ..frames import Picture
from . import geometric_edits, mixed_edits, overlay_edits, pixel_edits, recaptured_edits
from .arrays import Others

Edit = Callable[[Picture, Generator, Others], Picture]

UNEDITED = "as it was"


def unedited(picture: Picture, dice: Generator, others: Others) -> Picture:
    return picture


def reposted(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Several in a row, as a picture that went through many hands: cropped, coloured, captioned, compressed twice."""
    steps: tuple[Edit, ...] = (
        pixel_edits.jpeg20,
        geometric_edits.crop75,
        pixel_edits.colours,
        overlay_edits.text,
        geometric_edits.border,
        pixel_edits.jpeg20,
    )
    for step in steps:
        picture = step(picture, dice, others)
    return picture


EDITS: dict[str, Edit] = {
    UNEDITED: unedited,
    "jpeg 20": pixel_edits.jpeg20,
    "crop 75 %": geometric_edits.crop75,
    "crop 50 %": geometric_edits.crop50,
    "crop 25 %": geometric_edits.crop25,
    "mirrored": geometric_edits.mirrored,
    "turned 90": geometric_edits.turned90,
    "turned 12": geometric_edits.turned12,
    "colours": pixel_edits.colours,
    "grey": pixel_edits.grey,
    "blur": pixel_edits.blur,
    "meme": overlay_edits.meme,
    "screenshot": recaptured_edits.screenshot,
    "phone photo": recaptured_edits.phone,
    "inset": mixed_edits.inset,
    "collage": mixed_edits.collage,
    "crop vertical": geometric_edits.crop_vertical,
    "stretched": geometric_edits.stretched,
    "border": geometric_edits.border,
    "blurred sides": geometric_edits.blurred_sides,
    "framed collage": mixed_edits.framed_collage,
    "blend": mixed_edits.blend,
    "emoji": overlay_edits.emoji,
    "text": overlay_edits.text,
    "watermark": overlay_edits.watermark,
    "low light": pixel_edits.low_light,
    "moire": pixel_edits.moire,
    "low resolution": pixel_edits.low_resolution,
    "print and scan": recaptured_edits.print_scan,
    "reposted": reposted,
}
SIXTEEN = tuple(EDITS)[:16]
"""The ones of which the mean is compared from model to model (docs/benchmarks.md)."""


def edited(edit: str, picture: Picture, name: str, others: Others, seed: int = 0) -> Picture:
    """picture (H, W, 3) uint8 RGB -> after that edit of EDITS; always the same for its name, the others, the seed."""
    dice = np.random.default_rng((seed, crc32(edit.encode()), crc32(name.encode())))
    return EDITS[edit](np.ascontiguousarray(picture), dice, others)
