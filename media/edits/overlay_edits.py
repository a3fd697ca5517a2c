"""Edits that write and draw on the picture or about it: memes, captions, watermarks, stickers. (H, W, 3) uint8 RGB."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..frames import Picture
from .arrays import Colour, Others, mixed, paste, plain
from .lettering import SCRIPTS, any_line, mask_of, width_of, write_centred

DARK: Colour = (0, 0, 0)
LIGHT: Colour = (255, 255, 255)
STICKERS: tuple[Colour, ...] = ((255, 204, 50), (240, 60, 70), (90, 170, 250), (120, 200, 80), (250, 140, 200))


def meme(picture: Picture, dice: Generator, others: Others) -> Picture:
    """White (or black) bars above and below, 18 to 28 % of the height each, with a line or two of text."""
    height, width = picture.shape[:2]
    above, below = (round(height * dice.uniform(0.18, 0.28)) for _ in range(2))
    ground, ink = (LIGHT, DARK) if dice.random() < 0.7 else (DARK, LIGHT)
    canvas = plain(width, above + height + below, ground)
    paste(canvas, picture, 0, above)
    for top, bar in ((0, above), (above + height, below)):
        lines = int(dice.integers(1, 3))
        for line in range(lines):
            middle = top + bar * (line + 0.5) / lines
            size = bar / (lines + 0.6)
            canvas = write_centred(canvas, any_line(dice), middle, size, 0.94 * width, colour=ink, weight=700)
    return canvas


def text(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Two to four outlined lines in several scripts, somewhere over the picture, as captions of stories are."""
    height, width = picture.shape[:2]
    lines = int(dice.integers(2, 5))
    size = min(height, width) * dice.uniform(0.08, 0.13)
    first = dice.uniform(size, max(size + 1, height - lines * 1.4 * size))
    for line in range(lines):
        colour: Colour = LIGHT if dice.random() < 0.6 else STICKERS[dice.integers(len(STICKERS))]
        script = any_line(dice, SCRIPTS)
        style = {"colour": colour, "outline": DARK, "weight": 700}
        picture = write_centred(picture, script, first + line * 1.4 * size, size, 0.96 * width, **style)
    return picture


def watermark(picture: Picture, dice: Generator, others: Others) -> Picture:
    """A half transparent word, again and again across the picture, aslant."""
    height, width = picture.shape[:2]
    side = round(1.5 * max(height, width))
    size = min(height, width) * dice.uniform(0.10, 0.15)
    word = any_line(dice, ("PREVIEW", "© photo agency", "sample 2041", "do not copy"))
    step = width_of(word, size, 700) + 1.2 * size
    mask = np.zeros((side, side), np.uint8)
    for row, middle in enumerate(np.arange(size, side, 2.4 * size)):
        for left in np.arange(-step * (row % 2) / 2, side, step):
            mask |= mask_of(mask.shape, word, left, middle, size, 700)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), dice.uniform(20, 40), 1.0)
    matrix[:, 2] += (width - side) / 2, (height - side) / 2
    aslant = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_LINEAR)
    ink = LIGHT if picture.mean() < 150 else (70, 70, 70)
    return mixed(picture, np.array(ink), aslant * (0.45 / 255))


def emoji(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Three to five stickers (faces, hearts, stars) of 18 to 34 % of the short side."""
    height, width = picture.shape[:2]
    for _ in range(int(dice.integers(3, 6))):
        side = min(height, width) * dice.uniform(0.18, 0.34)
        centre = dice.uniform(0.1, 0.9) * width, dice.uniform(0.1, 0.9) * height
        colour = STICKERS[dice.integers(len(STICKERS))]
        draw = (_face, _heart, _star)[dice.integers(3)]
        pixels = round(side)
        # Drawn four times as large and made smaller, which smooths the edges.
        small = (cv2.resize(part, (pixels, pixels), interpolation=cv2.INTER_AREA) for part in draw(4 * pixels, colour))
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), dice.uniform(-25, 25), 1.0)
        turn[:, 2] += centre[0] - side / 2, centre[1] - side / 2
        laid, cover = (cv2.warpAffine(part, turn, (width, height)) for part in small)
        picture = mixed(picture, laid, cover / 255)
    return picture


def _face(side: int, colour: Colour) -> tuple[Picture, Picture]:
    canvas, mask = plain(side, side, DARK), np.zeros((side, side), np.uint8)
    middle, radius = (side // 2, side // 2), round(0.46 * side)
    cv2.circle(mask, middle, radius, 255, -1)
    cv2.circle(canvas, middle, radius, colour, -1)
    for sign in (-1, 1):
        eye = round(side * (0.5 + 0.17 * sign)), round(0.38 * side)
        cv2.ellipse(canvas, eye, (round(0.06 * side), round(0.1 * side)), 0, 0, 360, (60, 40, 20), -1)
    cv2.ellipse(canvas, middle, (round(0.28 * side), round(0.25 * side)), 0, 15, 165, (60, 40, 20), max(1, side // 18))
    return canvas, mask


def _heart(side: int, colour: Colour) -> tuple[Picture, Picture]:
    turn = np.linspace(0, 2 * np.pi, 120)
    right = 16 * np.sin(turn) ** 3
    up = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return _filled(side, np.stack((0.5 + right / 36, 0.46 - up / 36), axis=1), colour)


def _star(side: int, colour: Colour) -> tuple[Picture, Picture]:
    turn = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2, 0.2, 0.48)
    return _filled(side, np.stack((0.5 + radius * np.sin(turn), 0.5 - radius * np.cos(turn)), axis=1), colour)


def _filled(side: int, outline: NDArray[np.float64], colour: Colour) -> tuple[Picture, Picture]:
    canvas, mask = plain(side, side, colour), np.zeros((side, side), np.uint8)
    points = np.rint(outline * side).astype(np.int32)
    cv2.fillPoly(mask, [points], 255)
    cv2.polylines(canvas, [points], True, tuple(value // 2 for value in colour), max(1, side // 24))
    return canvas, mask
