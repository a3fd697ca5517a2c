"""Text on pictures in many scripts, by the fonts that OpenCV 5 brings along."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..frames import Picture
from .arrays import Colour, mixed

LINES = (
    "when you finally find it", "nobody: absolutely nobody", "look at this photo", "it was like this when I got here",
    "Wait for it ...", "3 hours later", "Best day of my life", "this is fine", "do not open before Monday",
    "me explaining it again", "breaking news from our town", "Sunday 14:05, still waiting",
)  # fmt: skip
SCRIPTS = (
    "Посмотри на это фото",
    "Лучшее лето в моей жизни",
    "Κοίτα αυτή τη φωτογραφία",
    "Ένα ωραίο πρωί",
    "תראו את התמונה הזאת",
    "انظر إلى هذه الصورة",
    "看看这张照片",
    "今天天气真好，我们出去走走",
    "この写真を見てください",
    "とても楽しい一日でした",
    "이 사진을 보세요",
    "정말 좋은 하루였어요",
    "¿Has visto esta foto?",
    "Schöne Grüße aus Köln",
    "Cette photo a été prise hier",
)
WORDS = ("Home", "Search", "Library", "Following", "Share", "Save", "Reply", "Settings", "Today", "1,204 likes", "3:41")


def any_line(dice: Generator, lines: tuple[str, ...] = LINES) -> str:
    return lines[int(dice.integers(len(lines)))]


def write(
    picture: Picture,
    text: str,
    left: float,
    middle: float,
    size: float,
    colour: Colour = (0, 0, 0),
    *,
    weight: int = 400,
    outline: Colour | None = None,
    opacity: float = 1.0,
) -> Picture:
    """The picture with one line of text of that size, which begins at `left`, about the row `middle`; all in pixels."""
    mask = mask_of(picture.shape[:2], text, left, middle, size, weight)
    if outline is not None:
        thick = max(1, round(size / 12))
        around = cv2.dilate(mask, np.ones((2 * thick + 1, 2 * thick + 1), np.uint8))
        picture = mixed(picture, np.array(outline), around * (opacity / 255))
    return mixed(picture, np.array(colour), mask * (opacity / 255))


def write_centred(picture: Picture, text: str, middle: float, size: float, width: float, **style: Any) -> Picture:
    """As write, about the middle column, and smaller where it would be wider than `width`."""
    weight = style.get("weight", 400)
    wide = width_of(text, size, weight)
    if wide > width:
        size = int(size * width / wide)
        wide = width_of(text, size, weight)
    return write(picture, text, (picture.shape[1] - wide) / 2, middle, size, **style)


def mask_of(
    shape: tuple[int, ...], text: str, left: float, middle: float, size: float, weight: int
) -> NDArray[np.uint8]:
    """(H, W) uint8: 255 where the text is. What lies outside is cut."""
    canvas = np.zeros((*shape, 3), np.uint8)
    pixels = max(4, round(size))
    place = round(left), round(middle + 0.36 * pixels)  # the baseline, so that capitals stand about the middle
    cv2.putText(canvas, text, place, (255, 255, 255), _font(), pixels, weight)
    return canvas[..., 0]


def width_of(text: str, size: float, weight: int = 400) -> float:
    """In pixels."""
    _, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), _font(), max(4, round(size)), weight)
    return float(width)


@cache
def _font() -> Any:
    return cv2.FontFace("sans")
