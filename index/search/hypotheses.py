"""Hypotheses: which part of a still picture, and turned which way, may be the picture that is stored somewhere.

People have screenshots, memes, crops and collages in hand. So a query is asked as a whole, without its borders, as its
strong rectangles, in windows, and turned; each becomes one vector, all of them in one batch. Which one was right is
told by verification. Knows no index and no files.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...media.frames import Frames
from .rectangles import rectangles
from .regions import WHOLE, Region

MOST = 20
RECTANGLES = 4
MOST_OVERLAP = 0.8  # of two regions: intersection over union
BORDER_CONTRAST = 8.0  # of 255: standard deviation of a line that is no border
LEAST_PIXELS = 8
HALF = [Region(x, y, x + 0.5, y + 0.5) for y in (0.0, 0.5) for x in (0.0, 0.5)]
THIRD = 1 / 3
TWO_THIRDS = [
    Region(x, y, min(1.0, x + 2 * THIRD), min(1.0, y + 2 * THIRD))
    for x, y in ((0.0, 0.0), (THIRD, 0.0), (0.0, THIRD), (THIRD, THIRD), (THIRD / 2, THIRD / 2))
]
WINDOWS = [*HALF, *TWO_THIRDS]


@dataclass(frozen=True)
class Hypothesis:
    """A region of the query's picture, turned anticlockwise by so many quarters (0 to 3)."""

    region: Region = WHOLE
    quarter_turns: int = 0

    def cut_from(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """picture (H, W, 3) -> what is asked (h, w, 3)."""
        part = self.region.cut_from(Frames(picture[None], np.zeros(1))).data[0]
        return np.ascontiguousarray(np.rot90(part, self.quarter_turns))


def hypotheses(picture: NDArray[np.uint8]) -> list[Hypothesis]:
    """picture (H, W, 3) -> all but the whole picture as it is, at most MOST, no two of them nearly the same."""
    regions = [*_without_borders(picture), *rectangles([picture], RECTANGLES), *WINDOWS]
    kept: list[Region] = [WHOLE]
    for region in regions:
        if all(region.overlap(other) <= MOST_OVERLAP for other in kept):
            kept.append(region)
    turned = [Hypothesis(WHOLE, turns) for turns in (1, 2, 3)]
    return [*turned, *map(Hypothesis, kept[1:])][:MOST]


def _without_borders(picture: NDArray[np.uint8]) -> list[Region]:
    """The picture without flat lines along its sides; none where it has no such."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = grey.shape
    rows = np.flatnonzero(grey.std(axis=1) > BORDER_CONTRAST)
    columns = np.flatnonzero(grey.std(axis=0) > BORDER_CONTRAST)
    if not len(rows) or not len(columns):
        return []
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    if min(bottom - top, right - left) < LEAST_PIXELS:
        return []
    return [Region(left / width, top / height, right / width, bottom / height)]
