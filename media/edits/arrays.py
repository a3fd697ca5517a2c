"""What the edits share: sizes, rounding, pasting, compressing. Pictures are (H, W, 3) uint8 RGB."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from PIL import Image, ImageOps

from ..frames import Picture

Others = Sequence[Picture]
"""Pictures that are in no library: the grounds of insets, the other parts of collages and blends."""
Colour = tuple[int, int, int]


def scale_of(picture: Picture) -> float:
    """Short side / 128: sizes in edits are meant for a short side of 128 pixels."""
    return float(min(picture.shape[:2])) / 128


def rounded(values: ArrayLike) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def compressed(picture: Picture, quality: int) -> Picture:
    """As a JPEG file of that quality (1 to 95) gives it back."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGB"))


def resized(picture: Picture, width: int, height: int) -> Picture:
    return np.array(Image.fromarray(picture).resize((max(1, width), max(1, height)), Image.Resampling.LANCZOS))


def shrunk(picture: Picture, side: int) -> Picture:
    """With a short side of at most `side`; smaller ones as they are."""
    height, width = picture.shape[:2]
    if min(height, width) <= side:
        return np.ascontiguousarray(picture)
    scale = side / min(height, width)
    return resized(picture, round(width * scale), round(height * scale))


def covering(picture: Picture, width: int, height: int) -> Picture:
    """The middle of the picture, cut and resized so that it fills width x height without distortion."""
    return np.array(ImageOps.fit(Image.fromarray(picture), (width, height), Image.Resampling.LANCZOS))


def plain(width: int, height: int, colour: Colour) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


def paste(canvas: Picture, picture: Picture, left: int, top: int) -> None:
    """Lays the picture on the canvas, in place; it must fit."""
    height, width = picture.shape[:2]
    canvas[top : top + height, left : left + width] = picture


def mixed(below: Picture, above: ArrayLike, weight: ArrayLike) -> Picture:
    """below x (1 - weight) + above x weight; weight 0..1, a number or (H, W)."""
    share = np.asarray(weight, np.float32)
    share = share[..., None] if share.ndim == 2 else share
    return rounded(below * (1 - share) + np.asarray(above, np.float32) * share)


def perspective(picture: Picture, corners: ArrayLike, ground: Picture) -> Picture:
    """The picture warped so that its corners (from the upper left, clockwise; x, y) lie there on the ground."""
    height, width = picture.shape[:2]
    own = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float32)
    matrix = cv2.getPerspectiveTransform(own, np.asarray(corners, np.float32))
    size = ground.shape[1], ground.shape[0]
    warped = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpPerspective(np.ones((height, width), np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    return mixed(ground, warped, weight)


def any_of(others: Others, dice: Generator) -> Picture:
    return some_of(others, dice, 1)[0]


def some_of(others: Others, dice: Generator, count: int) -> list[Picture]:
    """That many of the others, each once as long as there are so many."""
    if not len(others):
        raise ValueError("This edit lays the picture beside others: give at least one other picture.")
    order = dice.permutation(len(others))
    return [others[order[place % len(others)]] for place in range(count)]
