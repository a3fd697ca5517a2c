"""Rectangles in a picture whose sides are straight edges: a photo on a page, a player, an inset, a collage's parts.

Proposals, not findings: every window and every book is such a rectangle, and verification says which of them was worth
it. In the frames of a clip only edges that stay where they are count, so that few others are left. Arithmetic on
pictures; knows no files.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .regions import Region

SIDE = 192  # pixels of the shorter side that are looked at
LEAST_EDGE = 6.0  # grey levels from one pixel to the next, of 255
STAYING = 0.75  # of the pictures of a clip must show an edge
MOST_LINES = 14  # each way, that are tried as sides, beside the borders of the picture
LEAST_FRAMES = 4  # of a clip, from which a film within it is looked for
CLEAR = 0.8  # of a film within a film: how clear its rectangle must be
LEAST_SIDE = 0.2  # of the picture's side
RUN = 0.2  # of the picture's side: a line is chosen by its best stretch of that length
LEAST_COVERED = 0.45  # of each side must be edge
BORDER = 0.5  # what a side on the border of the picture counts
MOST_OVERLAP = 0.75  # of two proposals: intersection over union
APART = 3  # pixels between two lines
RIM = 0.006  # of the rectangle, taken off each side: a codec smears the edge

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def rectangles(pictures: Sequence[NDArray[np.uint8]], most: int, least_clear: float = 0.0) -> list[Region]:
    """pictures (H, W, 3) uint8: one, or frames of one film -> at most `most` regions, the clearest first.

    least_clear: 0..1, how much of all sides must be edge. The whole picture is none of the regions.
    """
    grey = _small_grey(pictures)
    upright = _lines(_staying(np.abs(np.diff(grey, axis=2))))
    level = _lines(_staying(np.abs(np.diff(grey, axis=1))).T)
    height, width = grey.shape[1:]
    return [
        _region(left / width, top / height, right / width, bottom / height)
        for left, right, top, bottom in _clearest(upright, level, most, least_clear)
    ]


def film_within(pictures: Sequence[NDArray[np.uint8]]) -> Region | None:
    """pictures (H, W, 3) uint8, frames of a clip -> where another film runs within it; None: there is no clear one."""
    return next(iter(rectangles(pictures, 1, CLEAR)), None) if len(pictures) >= LEAST_FRAMES else None


def _small_grey(pictures: Sequence[NDArray[np.uint8]]) -> Floats:
    """-> (T, h, w), all of the shape of the first."""
    height, width = pictures[0].shape[:2]
    scale = min(1.0, SIDE / min(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    return np.stack([cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in small]).astype(np.float32)


def _staying(steps: Floats) -> Floats:
    """steps (T, a, b) from each pixel to the next -> (a, b): what most of the pictures have at least."""
    return np.asarray(np.quantile(steps, 1 - STAYING, axis=0) if len(steps) > 1 else steps[0], np.float32)


def _lines(steps: Floats) -> tuple[Ints, Floats]:
    """steps (A, B - 1) across -> places (L,) of the lines that may be sides, the borders 0 and B among them, and
    sums (L, A + 1): how many of the first 0..A pixels along each of them are edge."""
    length, width = steps.shape[0], steps.shape[1] + 1
    is_peak = (steps >= cv2.dilate(steps, np.ones((1, 3), np.float32))) & (steps >= LEAST_EDGE)
    near = cv2.dilate(is_peak.astype(np.float32), np.ones((1, 3), np.float32))  # a side may lie a little askew
    sums = np.pad(near.cumsum(axis=0), ((1, 0), (0, 0))).T  # (B - 1, A + 1)
    run = max(2, round(RUN * length))
    best = ((sums[:, run:] - sums[:, :-run]) / run).max(axis=1) + sums[:, -1] / length
    best += 0.01 * (is_peak * steps).mean(axis=0)  # among neighbours, the strongest edge
    places: list[int] = []
    for place in np.argsort(-best, kind="stable").tolist():
        if len(places) == MOST_LINES:
            break
        if all(abs(place - other) >= APART for other in places):
            places.append(place)
    places.sort()
    border = np.full((1, length + 1), np.nan, np.float32)
    chosen = np.concatenate([border, sums[places], border]).astype(np.float32)
    return np.array([0, *(place + 1 for place in places), width], np.int64), chosen


def _clearest(
    upright: tuple[Ints, Floats], level: tuple[Ints, Floats], most: int, least_clear: float
) -> list[tuple[float, float, float, float]]:
    """(left, right, top, bottom) in pixels, the clearest first, no two of them nearly the same."""
    columns, rows = _pairs(upright[0]), _pairs(level[0])
    if not len(columns) or not len(rows):
        return []
    of_columns = _covered(upright, level[0][rows])  # (L, R): each upright line between each pair of level ones
    of_rows = _covered(level, upright[0][columns])
    # (4, C, R): the sides of each rectangle
    sides = np.stack([*of_columns[columns.T], *(side.T for side in of_rows[rows.T])])
    is_border = np.isnan(sides)
    least = np.where(is_border, np.inf, sides).min(axis=0)
    clear = np.where(is_border, BORDER, sides).mean(axis=0)
    clear[(least < LEAST_COVERED) | is_border.all(axis=0)] = 0
    found: list[tuple[float, float, float, float]] = []
    for place in np.argsort(-clear, axis=None, kind="stable")[: 200 * most]:
        across, down = np.unravel_index(int(place), clear.shape)
        if clear[across, down] <= least_clear or len(found) == most:
            break
        left, right = (float(x) for x in upright[0][columns[across]])
        top, bottom = (float(y) for y in level[0][rows[down]])
        rectangle = left, right, top, bottom
        if all(_overlap(rectangle, other) <= MOST_OVERLAP for other in found):
            found.append(rectangle)
    return found


def _pairs(places: Ints) -> Ints:
    """places (L,) -> (P, 2) int64: the numbers of two lines far enough apart."""
    first, second = np.triu_indices(len(places), 1)
    is_apart = places[second] - places[first] >= LEAST_SIDE * places[-1]
    return np.stack([first[is_apart], second[is_apart]], axis=1)


def _covered(lines: tuple[Ints, Floats], stretches: Ints) -> Floats:
    """stretches (P, 2) pixels along -> (L, P): the share of each that is edge on each line; NaN on a border."""
    sums = lines[1]
    first, last = stretches[:, 0], stretches[:, 1]
    return np.asarray((sums[:, last] - sums[:, first]) / (last - first), np.float32)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union."""
    wide, high = min(a[1], b[1]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[2], b[2])
    both = max(0.0, wide) * max(0.0, high)
    areas = sum((right - left) * (bottom - top) for left, right, top, bottom in (a, b))
    return both / (areas - both)


def _region(left: float, top: float, right: float, bottom: float) -> Region:
    """The rectangle without its rim; a side on the border of the picture has none."""
    rim_x, rim_y = RIM * (right - left), RIM * (bottom - top)
    return Region(
        left + rim_x if left > 0 else 0.0,
        top + rim_y if top > 0 else 0.0,
        right - rim_x if right < 1 else 1.0,
        bottom - rim_y if bottom < 1 else 1.0,
    )
