"""An inset: a film within a film, such as a clip shown in a corner of another one. Arithmetic on grey pictures.

Both films move, but the border between them stays where it is: found is the rectangle whose sides are straight edges in
most of the pictures. A side may lie on the border of the picture, but not more than two. It takes films, not a
picture: in a single one every window and every book is such a rectangle. Knows no files and no models.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from .frames import Frames

GLANCE_SIDE = 144  # pixels of the shorter side that are looked at
LEAST_PICTURES = 4
MOST_PICTURES = 16  # of a long clip, evenly chosen
LEAST_EDGE = 4.0  # grey levels from one pixel to the next
STAYING = 0.75  # of the pictures must show an edge
LEAST_SIDE = 0.25  # of the picture's side
LEAST_COVERED = 0.7  # of each side must be edge
SURE_COVERED = 0.82  # least of "how sure" over sides; see docs/benchmarks.md
BORDER_SURE = 0.4  # what a side on the border of the picture counts
RUNS_ON_COST = 0.2
BEYOND = 3  # cells past a corner
CELL = 4  # pixels: lines that may be sides are first sought on a grid
BESIDE = 2  # pixels beside a line, within which an edge counts
MOST_LINES = 20  # each way, that are tried as sides
RIM = 0.01  # of the inset, taken off each side: a codec smears the edge

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Inset:
    """Where the inner film is shown: shares of the picture's width and height, 0..1."""

    left: float
    top: float
    right: float
    bottom: float

    def cut_out(self, frames: Frames) -> Frames:
        """The inner film alone."""
        height, width = frames.data.shape[1:3]
        rim_x, rim_y = RIM * (self.right - self.left), RIM * (self.bottom - self.top)
        left, right = round((self.left + rim_x) * width), round((self.right - rim_x) * width)
        top, bottom = round((self.top + rim_y) * height), round((self.bottom - rim_y) * height)
        return Frames(frames.data[:, top : max(bottom, top + 1), left : max(right, left + 1)], frames.seconds)


def glances(frames: Frames) -> NDArray[np.uint8]:
    """frames (T, H, W, 3) -> (T, h, w) uint8, grey and at most GLANCE_SIDE on the shorter side."""
    height, width = frames.data.shape[1:3]
    shrink = max(1.0, min(height, width) / GLANCE_SIDE)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    return np.stack([np.asarray(Image.fromarray(p).convert("L").resize(size, 2)) for p in frames.data])


def find_inset(pictures: NDArray[np.uint8]) -> Inset | None:
    """pictures (T, h, w) uint8, glances of one film in order -> the rectangle that stays, if there is a clear one.

    Lines are chosen on a grid and placed to the pixel; rectangles of them are judged pixel by pixel, so that it does
    not matter where on the grid an inset lies.
    """
    count, height, width = pictures.shape
    if count < LEAST_PICTURES or min(height, width) < 8 * CELL:
        return None
    chosen = np.unique(np.linspace(0, count - 1, MOST_PICTURES).astype(np.int64))
    grey = pictures[chosen].astype(np.float32)
    upright, level = _staying(np.diff(grey, axis=2)), _staying(np.diff(grey, axis=1)).T
    found = _best_rectangle(_Lines.of(upright), _Lines.of(level))
    if found is None:
        return None
    left, right, top, bottom = found
    return Inset(left / width, top / height, right / width, bottom / height)


def _staying(steps: Floats) -> Floats:
    """steps (T, a, b) from each pixel to the next -> (a, b): what most of the pictures have at least."""
    place = round((1 - STAYING) * (len(steps) - 1))
    return np.asarray(np.partition(np.abs(steps), place, axis=0)[place], np.float32)


@dataclass(frozen=True)
class _Lines:
    """The lines of one direction that may be sides.

    places (L,)      where: pixels from the border, the first and the last are the borders
    sums (L, A + 1)  how many of the first 0..A pixels along the line are edge; 0 on the borders
    """

    places: Ints
    sums: Floats

    @classmethod
    def of(cls, edges: Floats) -> "_Lines":
        """edges (A, B - 1): how strong, between a pixel and the next one across."""
        length, width = edges.shape[0], edges.shape[1] + 1
        highest = sliding_window_view(np.pad(edges, ((0, 0), (2, 2))), 5, axis=1).max(axis=2)
        is_edge = np.pad((edges >= highest) & (edges >= LEAST_EDGE), ((0, 0), (1 + BESIDE, 1 + BESIDE)))
        # (A, B + 1): at each pixel along, whether there is an edge near the line before the pixel c across.
        is_near = np.asarray(sliding_window_view(is_edge, 2 * BESIDE + 1, axis=1).any(axis=2), np.bool_)
        along, grid = length // CELL, np.arange(CELL, CELL * (width // CELL), CELL)
        shares = is_near[: along * CELL, grid].reshape(along, CELL, len(grid)).mean(axis=1, dtype=np.float32).T
        first, last = np.triu_indices(along + 1, math.ceil(LEAST_SIDE * along))
        sure = _sure(_sums(shares), first, last, BEYOND)
        stretch = sure.argmax(axis=1)  # of each line, where it is most like a side
        best = sure[np.arange(len(grid)), stretch]
        places = [0]
        for line in np.sort(np.argsort(-best)[:MOST_LINES]):
            if best[line] >= LEAST_COVERED:
                here = slice(CELL * first[stretch[line]], CELL * last[stretch[line]])
                before = grid[line] - BESIDE - 1  # the column of edges before the outermost pixel that counts
                places.append(before + 1 + int(edges[here, before : before + 2 * BESIDE + 1].mean(axis=0).argmax()))
        sums = _sums(is_near[:, [*places, width]].T.astype(np.float32))
        sums[[0, -1]] = 0
        return cls(np.array([*places, width]), sums)

    def pairs(self) -> Ints:
        """(P, 2) int64: the numbers of two lines far enough apart, the nearer to the first border first."""
        first, second = np.triu_indices(len(self.places), 1)
        is_apart = self.places[second] - self.places[first] >= LEAST_SIDE * self.places[-1]
        return np.stack([first[is_apart], second[is_apart]], axis=1)

    def sure(self, stretches: Ints) -> Floats:
        """stretches (P, 2) pixels along -> (L, P): how sure each of them is a side on that line; NaN on a border."""
        sure = _sure(self.sums, stretches[:, 0], stretches[:, 1], BEYOND * CELL, BESIDE)
        sure[[0, -1]] = np.nan
        return sure


def _sums(shares: Floats) -> Floats:
    """shares (L, N) -> (L, N + 1): of the first 0..N."""
    return np.pad(shares.cumsum(axis=1), ((0, 0), (1, 0)))


def _sure(sums: Floats, first: Ints, last: Ints, beyond: int, corner: int = 0) -> Floats:
    """sums (L, N + 1), stretches from first to last (P,) -> (L, P): how sure a side is there on each line.

    The share of the stretch that is edge; less where the edge runs on, for a side ends at its corners. corner: what is
    so near to one says nothing, as the corner itself is not known better.
    """

    def within(start: Ints, end: Ints) -> Floats:
        start, end = (np.clip(place, 0, sums.shape[1] - 1) for place in (start, end))
        return np.asarray(sums[:, end] - sums[:, start], np.float32)

    covered = within(first + corner, last - corner) / (last - first - 2 * corner)
    before = within(first - corner - beyond, first - corner)
    after = within(last + corner, last + corner + beyond)
    return np.asarray(covered - RUNS_ON_COST * (before + after) / (2 * beyond), np.float32)


def _best_rectangle(upright: _Lines, level: _Lines) -> tuple[int, int, int, int] | None:
    """(left, right, top, bottom) in pixels; None where no rectangle is sure."""
    columns, rows = upright.pairs(), level.pairs()
    of_upright, of_level = upright.sure(level.places[rows]), level.sure(upright.places[columns])
    # (4, pairs of columns, pairs of rows)
    sides = np.stack([*of_upright[columns.T], *(side.T for side in of_level[rows.T])])
    is_border = np.isnan(sides)
    least = np.where(is_border, np.inf, sides).min(axis=0)
    sure = (least + np.where(is_border, BORDER_SURE, sides).mean(axis=0)) / 2
    sure[(is_border.sum(axis=0) > 2) | (least < LEAST_COVERED)] = 0
    across, down = np.unravel_index(sure.argmax(), sure.shape)
    if sure[across, down] <= SURE_COVERED:
        return None
    left, right = upright.places[columns[across]].tolist()
    top, bottom = level.places[rows[down]].tolist()
    return left, right, top, bottom
