"""Does the content of two registered pictures agree, and where does it not?

Both are laid on the grid of the one that shows less detail and cut into tiles; each tile with structure is compared by
correlation, which neither brightness nor contrast changes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .features import SMOOTHING, Features
from .quads import Matrix, jacobian, overlap

TILE = 12  # pixels
STRUCTURE = 6.0  # of 255: standard deviation of a tile from which it tells something
AGREES = 0.5  # correlation of a tile
LEAST_TILES = 6
CLIPPED = 123.0  # grey levels from the middle one: all there is black, or white
SHRINKS = 1.3  # times: from there on a picture is smoothed before it is warped to fewer pixels
SHARPER = 1.5  # times as much detail: then the sharper picture is blurred before they are compared
BLURS = (1.5, 2.5, 4.0, 6.0, 9.0)  # pixels

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Where two registered pictures lie on each other, tile by tile: (rows, columns) on the grid of one of them.

    inside          wholly within the overlap
    correlation     of both pictures there, -1..1
    query_grey      (H, W) the grey values that were compared, of the query, and
    stored_grey     of the stored picture, on one grid
    query_spread    standard deviation of the query's grey values, and
    stored_spread   of the stored picture's, in 0..255
    clipped         where one of the two is wholly black or white
    on_query        whether the grid is the query's
    side            of a tile, in pixels of the grid
    blurred_by      pixels: by how much one was blurred to show no more detail than the other; 0: not at all
    """

    inside: NDArray[np.bool_]
    correlation: Floats
    query_grey: Grey
    stored_grey: Grey
    query_spread: Floats
    stored_spread: Floats
    clipped: NDArray[np.bool_]
    on_query: bool
    side: int
    blurred_by: float

    def pixels_of(self, chosen: NDArray[np.bool_]) -> tuple[Grey, Grey]:
        """The grey values (N,) of the query and of the stored picture in these tiles."""
        rows, columns = chosen.shape
        cut = slice(0, rows * self.side), slice(0, columns * self.side)
        mask = np.kron(chosen, np.ones((self.side, self.side), np.bool_))
        return self.query_grey[cut][mask], self.stored_grey[cut][mask]

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Tiles in which the stored picture has structure that the query should show."""
        return np.asarray(self.inside & (self.stored_spread >= STRUCTURE), np.bool_)

    @property
    def residual(self) -> float:
        """Share of the compared tiles that the query does not show, 0..1; 1 where too few are compared to tell.

        What a query adds where the stored picture is flat (a caption in the sky, moire) counts for nothing here.
        """
        told = self.correlation[self.compared]
        return float((told < AGREES).mean()) if len(told) >= LEAST_TILES else 1.0

    @property
    def agreeing(self) -> float:
        """Mean correlation of the compared tiles that agree; 0 where none does."""
        told = self.correlation[self.compared & (self.correlation >= AGREES)]
        return float(told.mean()) if len(told) else 0.0

    @property
    def structured(self) -> NDArray[np.bool_]:
        """Tiles in which either picture has structure."""
        return np.asarray(self.inside & (np.maximum(self.query_spread, self.stored_spread) >= STRUCTURE), np.bool_)

    @property
    def disagreeing(self) -> NDArray[np.bool_]:
        return np.asarray(self.structured & (self.correlation < AGREES), np.bool_)

    def groups(self, chosen: NDArray[np.bool_]) -> list[tuple[int, int, int, int, int]]:
        """Tiles that hang together: left, top, width, height, count, in tiles; most tiles first."""
        count, _, boxes, _ = cv2.connectedComponentsWithStats(chosen.astype(np.uint8), connectivity=8)
        found = [(int(x), int(y), int(wide), int(high), int(n)) for x, y, wide, high, n in boxes[1:count]]
        return sorted(found, key=lambda box: -box[4])


def tiles_of(query: Features, stored: Features, transform: Matrix, side: int = TILE) -> Tiles:
    """transform: query pixels -> stored pixels, with no place of the overlap at infinity; side: of a tile."""
    scale = _scale(query, stored, transform)
    if scale >= 1:  # the stored picture has more pixels for the same content
        back = np.asarray(np.linalg.inv(transform), np.float64)
        laid, inside = _laid(stored.smooth, back, query.size, scale)
        return _compared(query.smooth, laid, inside, side, on_query=True)
    laid, inside = _laid(query.smooth, transform, stored.size, 1 / scale)
    return _compared(stored.smooth, laid, inside, side, on_query=False)


def _scale(query: Features, stored: Features, transform: Matrix) -> float:
    """Stored pixels for one of the query, along a line, in the middle of the overlap."""
    middle = overlap(transform, query.size, stored.size).mean(axis=0)
    return float(np.sqrt(abs(np.linalg.det(jacobian(transform, middle)))))


def _laid(grey: Grey, transform: Matrix, size: tuple[int, int], shrinks: float) -> tuple[Grey, Grey]:
    """grey, warped to size (width, height), and where it lies there (255) or not (0).

    Where that shrinks it, it is smoothed first, so that fine structure does not turn into other structure.
    """
    if shrinks > SHRINKS:
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), SMOOTHING * (shrinks**2 - 1) ** 0.5), np.uint8)
    warped = cv2.warpPerspective(grey, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    ones = np.full(grey.shape, 255, np.uint8)
    inside = cv2.warpPerspective(ones, transform, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(warped, np.uint8), np.asarray(inside, np.uint8)


def _equally_sharp(one: Grey, other: Grey, inside: Grey) -> tuple[Grey, Grey, float]:
    """The sharper one blurred until it shows as little detail as the other, and by how many pixels: 0 where not.

    Detail that is gone is no difference.
    """
    ours, theirs = _detail(one, inside), _detail(other, inside)
    if max(ours, theirs) < SHARPER * min(ours, theirs):
        return one, other, 0.0
    sharper, least = (one, theirs) if ours > theirs else (other, ours)
    for sigma in BLURS:
        blurred = np.asarray(cv2.GaussianBlur(sharper, (0, 0), sigma), np.uint8)
        if _detail(blurred, inside) <= least:
            break
    return (blurred, other, sigma) if ours > theirs else (one, blurred, sigma)


def _detail(grey: Grey, inside: Grey) -> float:
    """Fine structure beside coarse structure: of the tiles with any, the median ratio. Contrast does not change it."""
    values = grey.astype(np.float32)
    fine = cv2.GaussianBlur(values, (0, 0), 3.0)
    coarse = cv2.GaussianBlur(fine, (0, 0), 5.0)
    fine_energy, coarse_energy = _tile_means((values - fine) ** 2, TILE), _tile_means((fine - coarse) ** 2, TILE)
    told = _whole(inside, TILE) & (fine_energy + coarse_energy > 4.0)
    return float(np.sqrt(np.median(fine_energy[told] / (coarse_energy[told] + 1.0)))) if told.any() else 1.0


def _compared(one: Grey, other: Grey, inside: Grey, side: int, on_query: bool) -> Tiles:
    one, other, blurred = _equally_sharp(one, other, inside)
    a, b = one.astype(np.float32) - 128, other.astype(np.float32) - 128
    mean_a, mean_b = _tile_means(a, side), _tile_means(b, side)
    spread_a = np.sqrt(np.maximum(_tile_means(a * a, side) - mean_a**2, 0))
    spread_b = np.sqrt(np.maximum(_tile_means(b * b, side) - mean_b**2, 0))
    together = _tile_means(a * b, side) - mean_a * mean_b
    correlation = np.asarray(together / np.maximum(spread_a * spread_b, 1.0), np.float32)
    sides = [(one, spread_a), (other, spread_b)]
    (query_grey, query_spread), (stored_grey, stored_spread) = sides if on_query else sides[::-1]
    clipped = _clipped(mean_a) | _clipped(mean_b)
    inside_tiles = _whole(inside, side)
    return Tiles(
        inside_tiles,
        correlation,
        query_grey,
        stored_grey,
        query_spread,
        stored_spread,
        clipped,
        on_query,
        side,
        blurred,
    )


def _clipped(means: Floats) -> NDArray[np.bool_]:
    """means: of grey values less 128."""
    return np.asarray(np.abs(means) >= CLIPPED, np.bool_)


def _whole(inside: Grey, side: int) -> NDArray[np.bool_]:
    """Tiles that lie wholly inside."""
    return np.asarray(_tile_means(inside.astype(np.float32), side) >= 254.5, np.bool_)


def _tile_means(values: Floats, side: int) -> Floats:
    """(H, W) -> (H // side, W // side)."""
    rows, columns = values.shape[0] // side, values.shape[1] // side
    if not rows or not columns:
        return np.zeros((rows, columns), np.float32)
    cut = values[: rows * side, : columns * side]
    return np.asarray(cv2.resize(cut, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
