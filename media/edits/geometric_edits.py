"""Edits of the frame: crops, turns, stretches, borders. (H, W, 3) uint8 RGB."""

import cv2
import numpy as np
from numpy.random import Generator

from ..frames import Picture
from .arrays import Colour, Others, covering, paste, plain, resized, rounded

DARK, LIGHT, MIDDLE = (0, 0, 0), (255, 255, 255), (128, 128, 128)


def crop75(picture: Picture, dice: Generator, others: Others) -> Picture:
    return _crop(picture, dice, 0.75)


def crop50(picture: Picture, dice: Generator, others: Others) -> Picture:
    return _crop(picture, dice, 0.50)


def crop25(picture: Picture, dice: Generator, others: Others) -> Picture:
    return _crop(picture, dice, 0.25)


def _crop(picture: Picture, dice: Generator, area: float) -> Picture:
    """A part of that share of the area, of the picture's own shape, anywhere in it."""
    height, width = picture.shape[:2]
    return _part(picture, dice, width * area**0.5, height * area**0.5)


def _part(picture: Picture, dice: Generator, width: float, height: float) -> Picture:
    wide, high = max(1, round(width)), max(1, round(height))
    left = int(dice.integers(picture.shape[1] - wide + 1))
    top = int(dice.integers(picture.shape[0] - high + 1))
    return picture[top : top + high, left : left + wide].copy()


def crop_vertical(picture: Picture, dice: Generator, others: Others) -> Picture:
    """A part of 9:16, as phones want it, 0.95 times as large as fits."""
    height, width = picture.shape[:2]
    unit = 0.95 * min(width / 9, height / 16)
    return _part(picture, dice, 9 * unit, 16 * unit)


def mirrored(picture: Picture, dice: Generator, others: Others) -> Picture:
    return np.ascontiguousarray(picture[:, ::-1])


def turned90(picture: Picture, dice: Generator, others: Others) -> Picture:
    return np.ascontiguousarray(np.rot90(picture, dice.choice((1, 3))))


def turned12(picture: Picture, dice: Generator, others: Others) -> Picture:
    """12 degrees to either side; the frame grows, so that nothing is lost, and its corners are black, white or grey."""
    corners: Colour = (DARK, LIGHT, MIDDLE)[dice.integers(3)]
    return turned(picture, 12 * float(dice.choice((-1, 1))), corners)


def turned(picture: Picture, degrees: float, corners: Colour) -> Picture:
    height, width = picture.shape[:2]
    angle = np.deg2rad(abs(degrees))
    new_width = round(width * np.cos(angle) + height * np.sin(angle))
    new_height = round(width * np.sin(angle) + height * np.cos(angle))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (new_width - width) / 2, (new_height - height) / 2
    size = new_width, new_height
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderValue=corners)  # type: ignore[no-any-return]


def stretched(picture: Picture, dice: Generator, others: Others) -> Picture:
    """A third wider, or a third higher."""
    height, width = picture.shape[:2]
    if dice.random() < 0.5:
        return resized(picture, round(width * 4 / 3), height)
    return resized(picture, width, round(height * 4 / 3))


def border(picture: Picture, dice: Generator, others: Others) -> Picture:
    """A passe-partout of one colour, 8 to 16 % of the short side, wider below, with a thin line about the picture."""
    height, width = picture.shape[:2]
    wide = round(min(height, width) * dice.uniform(0.08, 0.16))
    below = round(wide * dice.choice((1.0, 2.5)))
    bright = dice.integers(200, 256, size=3) if dice.random() < 0.5 else dice.integers(0, 90, size=3)
    red, green, blue = (int(value) for value in bright)
    canvas = plain(width + 2 * wide, height + wide + below, (red, green, blue))
    line = max(1, wide // 6)
    canvas[wide - line : wide + height + line, wide - line : wide + width + line] = MIDDLE
    paste(canvas, picture, wide, wide)
    return canvas


def blurred_sides(picture: Picture, dice: Generator, others: Others) -> Picture:
    """In an upright frame of 9:16 (a wide one if the picture is upright), before its own blurred enlargement."""
    height, width = picture.shape[:2]
    upright = width >= height
    frame_width = width if upright else round(height * 16 / 9)
    frame_height = round(width * 16 / 9) if upright else height
    ground = cv2.GaussianBlur(covering(picture, frame_width, frame_height), (0, 0), min(height, width) / 12)
    canvas = rounded(ground * 0.7)
    paste(canvas, picture, (frame_width - width) // 2, (frame_height - height) // 2)
    return canvas
