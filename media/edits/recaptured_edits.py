"""Edits that show the picture on something else: a screen, a phone's photo of it, a print. (H, W, 3) uint8 RGB."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..frames import Picture
from .arrays import (
    Colour,
    Others,
    any_of,
    compressed,
    covering,
    mixed,
    paste,
    perspective,
    plain,
    resized,
    rounded,
    scale_of,
)
from .geometric_edits import turned
from .lettering import LINES, WORDS, any_line, write
from .pixel_edits import moire


def screenshot(picture: Picture, dice: Generator, others: Others) -> Picture:
    """In a post of an app, in a player's window or on a page of a browser; the picture has 35 to 65 % of the area."""
    return (_app, _player, _page)[dice.integers(3)](picture, dice)


def _app(picture: Picture, dice: Generator) -> Picture:
    """Status line, avatar and name above; buttons, likes and a comment below."""
    height, width = picture.shape[:2]
    unit = round(max(width, 0.8 * height) * dice.uniform(0.09, 0.12))
    ground, ink, faint = _theme(dice)
    edge = int(dice.integers(2)) * unit // 2
    canvas = plain(width + 2 * edge, height + 7 * unit, ground)
    top = 3 * unit
    canvas = write(canvas, "9:41", unit * 0.5, unit * 0.6, 0.6 * unit, ink, weight=700)
    canvas = write(canvas, "LTE 82%", canvas.shape[1] - 3.2 * unit, unit * 0.6, 0.5 * unit, ink)
    avatar = dice.integers(60, 220, size=3).tolist()
    cv2.circle(canvas, (round(1.2 * unit), 2 * unit), round(0.7 * unit), avatar, -1, cv2.LINE_AA)
    canvas = write(canvas, f"user_{dice.integers(1000)}", 2.3 * unit, 1.75 * unit, 0.7 * unit, ink, weight=700)
    canvas = write(canvas, "2 hours ago", 2.3 * unit, 2.5 * unit, 0.5 * unit, faint)
    paste(canvas, picture, edge, top)
    below = top + height
    for place in range(3):
        centre = round((1 + 1.6 * place) * unit), below + unit
        cv2.circle(canvas, centre, round(0.45 * unit), ink, max(1, unit // 8), cv2.LINE_AA)
    canvas = write(
        canvas, f"{dice.integers(10, 9999):,} likes", 0.5 * unit, below + 2.2 * unit, 0.65 * unit, ink, weight=700
    )
    return write(canvas, any_line(dice), 0.5 * unit, below + 3.2 * unit, 0.65 * unit, ink)


def _player(picture: Picture, dice: Generator) -> Picture:
    """A window with a title and buttons, black about the picture, a bar with the time and a play button below."""
    height, width = picture.shape[:2]
    unit = max(4, round(min(height, width) * dice.uniform(0.11, 0.15)))
    side = round(width * dice.uniform(0.02, 0.15))
    over = round(height * dice.uniform(0.0, 0.10))
    canvas = plain(width + 2 * side, height + 2 * over + 3 * unit, (12, 12, 12))
    canvas[:unit] = (58, 60, 64)
    canvas = write(canvas, any_line(dice), 3 * unit, unit / 2, 0.6 * unit, (230, 230, 230))
    for place, light in enumerate(((237, 106, 94), (245, 191, 79), (98, 197, 84))):
        cv2.circle(canvas, (round((0.6 + 0.75 * place) * unit), unit // 2), round(0.28 * unit), light, -1, cv2.LINE_AA)
    paste(canvas, picture, side, unit + over)
    bar, right = canvas.shape[0] - unit, canvas.shape[1]
    played = round(right * dice.uniform(0.1, 0.9))
    line = max(1, unit // 6)
    cv2.line(canvas, (unit // 2, bar - unit // 2), (right - unit // 2, bar - unit // 2), (110, 110, 110), line)
    cv2.line(canvas, (unit // 2, bar - unit // 2), (played, bar - unit // 2), (220, 40, 40), line)
    triangle = np.array(((0.5, 0.1), (0.5, 0.8), (1.1, 0.45))) * unit + (0, bar)
    cv2.fillPoly(canvas, [np.rint(triangle).astype(np.int32)], (240, 240, 240), cv2.LINE_AA)
    clock = f"{dice.integers(10)}:{dice.integers(10, 60)} / 12:40"
    return write(canvas, clock, 1.6 * unit, bar + 0.45 * unit, 0.55 * unit, (240, 240, 240))


def _page(picture: Picture, dice: Generator) -> Picture:
    """An address line, a menu at the left, a headline above and text below the picture."""
    height, width = picture.shape[:2]
    unit = max(4, round(min(height, width) * dice.uniform(0.10, 0.13)))
    menu = round(width * dice.uniform(0.22, 0.36))
    ground, ink, faint = _theme(dice)
    canvas = plain(menu + width + unit, height + 6 * unit, ground)
    canvas[:unit] = faint
    canvas = write(canvas, "https://example.org/gallery/photo?id=2041", 2 * unit, unit / 2, 0.55 * unit, ground)
    canvas = write(canvas, any_line(dice), menu, 2 * unit, 0.95 * unit, ink, weight=700)
    for line, middle in enumerate(np.arange(2 * unit, canvas.shape[0], 1.5 * unit)):
        canvas = write(canvas, WORDS[(line + dice.integers(3)) % len(WORDS)], 0.4 * unit, middle, 0.65 * unit, ink)
    canvas[unit:, menu - max(1, unit // 5) : menu - max(1, unit // 5) + 1] = faint
    paste(canvas, picture, menu, 3 * unit)
    for line in range(2):
        canvas = write(canvas, any_line(dice, LINES), menu, height + (3.8 + line) * unit, 0.6 * unit, ink)
    return canvas


def _theme(dice: Generator) -> tuple[Colour, Colour, Colour]:
    """Ground, ink and a faint tone between, of a light or a dark design."""
    if dice.random() < 0.6:
        return (250, 250, 250), (25, 25, 30), (150, 152, 158)
    return (22, 24, 28), (235, 235, 235), (110, 112, 120)


def phone(picture: Picture, dice: Generator, others: Others) -> Picture:
    """A phone's photo of a screen: aslant, the picture's edges just in or out of sight, moire, glare, pale, noise."""
    height, width = picture.shape[:2]
    scale = scale_of(picture)
    bezel = round(0.03 * min(height, width))
    shown = plain(width + 2 * bezel, height + 2 * bezel, (18, 18, 20))
    paste(shown, mixed(picture, moire(picture, dice, others), 0.4), bezel, bezel)
    high, wide = shown.shape[:2]
    room = cv2.GaussianBlur(covering(any_of(others, dice), wide, high), (0, 0), 8 * scale)
    ground = rounded(room * dice.uniform(0.2, 0.5))
    shift = dice.uniform(-0.06, 0.06, size=(4, 2))
    corners = np.array(((0, 0), (1, 0), (1, 1), (0, 1))) + shift
    photo = perspective(shown, corners * (wide, high), ground).astype(np.float32)
    photo = 128 + (photo - 118) * dice.uniform(0.65, 0.85)
    photo *= 1 + dice.uniform(-0.08, 0.08, size=3)
    photo += _glare(photo.shape[0], photo.shape[1], dice)[..., None]
    photo = cv2.GaussianBlur(photo, (0, 0), 0.6 * scale) + dice.normal(0, 4, photo.shape)
    return compressed(rounded(photo), 75)


def _glare(height: int, width: int, dice: Generator) -> NDArray[np.float64]:
    """(H, W): light to add, 60 to 130 levels in the middle of an oblong spot."""
    down, right = np.mgrid[:height, :width]
    across = (right / width - dice.uniform(0.1, 0.9)) / dice.uniform(0.08, 0.2)
    along = (down / height - dice.uniform(0.1, 0.9)) / dice.uniform(0.08, 0.2)
    light: NDArray[np.float64] = dice.uniform(60, 130) * np.exp(-(across**2 + along**2) / 2)
    return light


def print_scan(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Printed as dots on tinted paper, laid a little askew on a scanner, scanned with its dust."""
    height, width = picture.shape[:2]
    large = resized(picture, 2 * width, 2 * height).astype(np.float32)
    down, right = np.mgrid[: 2 * height, : 2 * width] / scale_of(picture)
    for channel, degrees in enumerate((15, 75, 0)):  # each ink has its own angle, as in print
        angle, period = np.deg2rad(degrees), 5.0
        along = np.cos(2 * np.pi * (right * np.cos(angle) + down * np.sin(angle)) / period)
        across = np.cos(2 * np.pi * (down * np.cos(angle) - right * np.sin(angle)) / period)
        large[..., channel] += 40 * (along + across)
    ink = np.clip(large, 0, 255) * 0.8 + 28
    grey = ink.mean(axis=2, keepdims=True)
    paper = np.array((1.0, 0.98, 0.92)) * dice.uniform(0.95, 1.0)
    printed = rounded((0.75 * ink + 0.25 * grey) * paper)
    margin = round(dice.uniform(0.04, 0.10) * min(height, width) * 2)
    sheet = plain(2 * width + 2 * margin, 2 * height + 2 * margin, (248, 245, 236))
    paste(sheet, printed, margin, margin)
    askew = turned(sheet, dice.uniform(1.0, 3.5) * dice.choice((-1, 1)), (225, 225, 225))
    scanned = cv2.GaussianBlur(askew, (0, 0), 1.0 * scale_of(picture)).astype(np.float32)
    dust = dice.random(scanned.shape[:2]) < 0.0006
    scanned[cv2.dilate(dust.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0] -= 90
    small = resized(rounded(scanned), askew.shape[1] // 2, askew.shape[0] // 2)
    return compressed(rounded(small + dice.normal(0, 3, small.shape)), 80)
