"""Which second is the right one: the asked one, or another at which the clip shows nearly the same picture."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ...errors import MediaError
from ...media.decoding import Decoder
from ...media.frames import Picture
from ...media.limits import MediaLimits

STILL = 0.995  # correlation of two pictures of a still stretch
SIDE = 128  # pixels of the short side at which pictures are correlated
KEPT = 256  # pictures kept, since the same moment is asked after many edits

SameMoment = Callable[[Path, float, float, float], bool]


def same_moment(decoder: Decoder, limits: MediaLimits) -> SameMoment:
    """-> (clip, seconds asked, seconds answered, tolerance in seconds) -> whether both are one moment of the clip.

    A still stretch is one moment: pictures whose correlation is STILL or more count as the same.
    """

    @lru_cache(KEPT)
    def shown(path: Path, seconds: float) -> Picture:
        frames = decoder.frame_at(path, seconds, limits, SIDE)
        return small(frames.data[0])

    def same(path: Path, asked_seconds: float, answered_seconds: float, tolerance_seconds: float) -> bool:
        if abs(asked_seconds - answered_seconds) <= tolerance_seconds:
            return True
        try:
            return correlation(shown(path, asked_seconds), shown(path, max(answered_seconds, 0.0))) >= STILL
        except MediaError:
            return False

    return same


def small(picture: Picture) -> Picture:
    """With a short side of SIDE pixels."""
    height, width = picture.shape[:2]
    scale = SIDE / min(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def correlation(one: Picture, other: Picture) -> float:
    """Of the pixels of two pictures of one shape, -1..1; 1 for two equal flat ones."""
    a, b = (picture.astype(np.float64) - picture.mean() for picture in (one, other))
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else float(np.array_equal(one, other))
