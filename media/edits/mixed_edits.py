"""Edits that put the picture together with others: insets, collages, blends. (H, W, 3) uint8 RGB."""

from numpy.random import Generator

from ..frames import Picture
from .arrays import Others, any_of, covering, mixed, paste, plain, some_of

INSET_SIDE = 0.43  # of the ground's side
BLEND_OTHER = 0.35


def inset(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Laid anywhere on another picture, which is of its shape and so much larger that no detail of it is lost."""
    height, width = picture.shape[:2]
    canvas = covering(any_of(others, dice), round(width / INSET_SIDE), round(height / INSET_SIDE))
    left = int(dice.integers(canvas.shape[1] - width + 1))
    top = int(dice.integers(canvas.shape[0] - height + 1))
    paste(canvas, picture, left, top)
    return canvas


def collage(picture: Picture, dice: Generator, others: Others) -> Picture:
    """One of 2 x 2 pictures of its size, edge to edge; the others are cut to its shape."""
    return _collage(picture, dice, others, gap=0)


def framed_collage(picture: Picture, dice: Generator, others: Others) -> Picture:
    """As collage, with a white or black gap of 3 to 6 % between the pictures and about them."""
    return _collage(picture, dice, others, max(1, round(min(picture.shape[:2]) * dice.uniform(0.03, 0.06))))


def _collage(picture: Picture, dice: Generator, others: Others, gap: int) -> Picture:
    height, width = picture.shape[:2]
    colour = (255, 255, 255) if dice.random() < 0.5 else (0, 0, 0)
    canvas = plain(2 * width + 3 * gap, 2 * height + 3 * gap, colour)
    own, drawn = int(dice.integers(4)), some_of(others, dice, 4)
    for cell in range(4):
        part = picture if cell == own else covering(drawn[cell], width, height)
        paste(canvas, part, gap + (cell % 2) * (width + gap), gap + (cell // 2) * (height + gap))
    return canvas


def blend(picture: Picture, dice: Generator, others: Others) -> Picture:
    """65 % of it and 35 % of another, as of a cross-fade."""
    height, width = picture.shape[:2]
    return mixed(picture, covering(any_of(others, dice), width, height), BLEND_OTHER)
