"""An inset: a film within a film, such as a clip shown in a corner of another one. Arithmetic on grey pictures.

Both films move, but the border between them stays where it is: found is the rectangle whose sides are straight edges in
most of the pictures. A side may lie on the border of the picture, but not more than two. It takes films, not a
picture: in a single one every window and every book is such a rectangle. Knows no files and no models.
"""

from dataclasses import dataclass

import numpy as np
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
CELL = 4  # pixels: sides are first sought on a grid
MOST_LINES = 20  # each way, that are tried as sides
RIM = 0.01  # of the inset, taken off each side: a codec smears the edge

Floats = NDArray[np.float32]


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
    """pictures (T, h, w) uint8, glances of one film in order -> the rectangle that stays, if there is a clear one."""
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
    rows, columns = slice(top, bottom), slice(left, right)
    return Inset(
        _exactly(upright[rows], left) / width,
        _exactly(level[columns], top) / height,
        _exactly(upright[rows], right) / width,
        _exactly(level[columns], bottom) / height,
    )


def _staying(steps: Floats) -> Floats:
    """steps (T, a, b) from each pixel to the next -> (a, b): what most of the pictures have at least."""
    place = round((1 - STAYING) * (len(steps) - 1))
    return np.asarray(np.partition(np.abs(steps), place, axis=0)[place], np.float32)


@dataclass(frozen=True)
class _Lines:
    """The lines of one direction that may be sides.

    places (L,)         where: cells from the border, both borders included
    sure (L, n+1, n+1)  [line, from, to]: which share of that stretch, in cells, is edge; less where the edge runs on,
                        for a side ends at its corners
    """

    places: NDArray[np.int64]
    sure: Floats

    @classmethod
    def of(cls, edges: Floats) -> "_Lines":
        """edges (along, across - 1): how strong, between a pixel and the next one across."""
        along, across = edges.shape[0] // CELL, (edges.shape[1] + 1) // CELL
        padded = np.pad(edges, ((0, 0), (2, 2)))
        highest = np.max([padded[:, shift : shift + edges.shape[1]] for shift in range(5)], axis=0)
        is_edge = np.pad((edges >= highest) & (edges >= LEAST_EDGE), ((0, 0), (1, 2)))
        # The grid line k lies between the pixels k CELL - 1 and k CELL; an edge half a cell beside it counts.
        near = np.stack([is_edge[:, k * CELL - 2 : k * CELL + 3].any(axis=1) for k in range(1, across)])
        shares = near[:, : along * CELL].reshape(across - 1, along, CELL).mean(axis=2, dtype=np.float32)
        sums = np.pad(shares.cumsum(axis=1), ((0, 0), (1, 0)))
        places = np.arange(along + 1)
        lengths = places[None] - places[:, None]
        covered = (sums[:, None, :] - sums[:, :, None]) / np.maximum(lengths, 1)
        before = np.pad((sums[:, BEYOND:] - sums[:, :-BEYOND]) / BEYOND, ((0, 0), (BEYOND, 0)))
        after = np.pad((sums[:, BEYOND:] - sums[:, :-BEYOND]) / BEYOND, ((0, 0), (0, BEYOND)))
        sure = covered - RUNS_ON_COST * (before[:, :, None] + after[:, None, :]) / 2
        sure[:, lengths < LEAST_SIDE * along] = 0
        best = sure.max(axis=(1, 2))
        kept = np.sort(np.argsort(-best)[:MOST_LINES])
        kept = kept[best[kept] >= LEAST_COVERED]
        borders = np.zeros((1, along + 1, along + 1), np.float32)
        return cls(np.array([0, *(kept + 1), across], np.int64), np.concatenate([borders, sure[kept], borders]))

    def pairs(self) -> list[tuple[int, int]]:
        """Places in `places` of two lines far enough apart."""
        least, last = LEAST_SIDE * self.places[-1], len(self.places)
        return [(a, b) for a in range(last) for b in range(a + 1, last) if self.places[b] - self.places[a] >= least]


def _best_rectangle(upright: _Lines, level: _Lines) -> tuple[int, int, int, int] | None:
    """(left, right, top, bottom) in pixels, to within a cell; None where no rectangle is sure."""
    best, found = SURE_COVERED, None
    for top, bottom in level.pairs():
        rows = level.places[top], level.places[bottom]
        for left, right in upright.pairs():
            columns = upright.places[left], upright.places[right]
            sides = [
                float(lines.sure[line, stretch[0], stretch[1]])
                for lines, line, stretch in (
                    (upright, left, rows), (upright, right, rows), (level, top, columns), (level, bottom, columns)
                )
                if 0 < line < len(lines.places) - 1
            ]  # fmt: skip
            if len(sides) >= 2 and min(sides) >= LEAST_COVERED:
                sure = (min(sides) + (sum(sides) + (4 - len(sides)) * BORDER_SURE) / 4) / 2
                if sure > best:
                    best, found = sure, (columns[0] * CELL, columns[1] * CELL, rows[0] * CELL, rows[1] * CELL)
    return None if found is None else (int(found[0]), int(found[1]), int(found[2]), int(found[3]))


def _exactly(edges: Floats, near: int) -> int:
    """edges (along, across - 1) beside a side; its pixel, near that of the grid. The border stays."""
    if near == 0:
        return 0
    if near + CELL > edges.shape[1]:
        return int(edges.shape[1]) + 1
    first = max(0, near - CELL)
    strengths: list[float] = edges[:, first : near + CELL].mean(axis=0).tolist()
    return first + strengths.index(max(strengths)) + 1
