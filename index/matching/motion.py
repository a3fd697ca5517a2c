"""Do the same things move at the same time? Changes between moments of two films that are registered on each other.

Takes of one scene, and other moments before one camera, agree in most of a picture: what tells them apart is what
changes. Knows no files.
"""

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from .features import Features
from .geometry import Verification

SIDE = 96  # pixels of what both show: root of the share that it has of the query's longer side
MOVES = 6.0  # of 255: least spread of a change between two moments; what moves less is ripples and noise
LEAST_SHARED = 0.05  # of the query's picture

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def laid_on(size: tuple[int, int], grey: NDArray[np.uint8], transform: NDArray[np.float64]) -> tuple[Floats, Mask]:
    """A stored picture (H, W) as the query of this size (width, height) shows it, and where in the query that is.

    transform: query shares -> stored shares, as Verification has it.
    """
    (width, height), (stored_height, stored_width) = size, grey.shape
    to_shares = np.diag([1 / width, 1 / height, 1.0])
    to_stored = np.diag([stored_width, stored_height, 1.0]) @ transform @ to_shares
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(grey, to_stored, size, flags=flags)
    inside = cv2.warpPerspective(np.full(grey.shape, 255, np.uint8), to_stored, size, flags=flags)
    return np.asarray(laid, np.float32), np.asarray(inside == 255, np.bool_)


def correlation(a: Floats, b: Floats) -> float:
    """Of values (N,), -1..1; 0 where one of them does not vary."""
    x, y = a - a.mean(), b - b.mean()
    both = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / both if both > 1e-6 else 0.0


def motion_of(moments: Sequence[tuple[Features, Features, Verification]]) -> float | None:
    """(query, stored, how they lie on each other) at several moments -> how alike both change between them, -1..1.

    The median over pairs of moments between which something moves; None where nothing does.
    """
    if not moments:
        return None
    share = float(np.mean([found.coverage for _, _, found in moments]))
    height, width = moments[0][0].smooth.shape
    scale = min(1.0, SIDE / max(height, width) / max(share, LEAST_SHARED) ** 0.5)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    shown = [_both(size, *moment) for moment in moments]
    told = []
    for (ours, theirs, inside), (our_next, their_next, inside_next) in combinations(shown, 2):
        where = inside & inside_next
        if where.mean() < LEAST_SHARED:
            continue
        mine, other = (our_next - ours)[where], (their_next - theirs)[where]
        if max(mine.std(), other.std()) >= MOVES:
            told.append(correlation(mine, other))
    return float(np.median(told)) if told else None


def _both(size: tuple[int, int], query: Features, stored: Features, found: Verification) -> tuple[Floats, Floats, Mask]:
    """Small grey pictures (h, w) of both on the query's grid of size (w, h), and where the stored one is in it."""
    ours = cv2.resize(query.smooth, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    shrunk = max(1.0, max(stored.smooth.shape) / (2 * SIDE))
    small = cv2.resize(stored.smooth, None, fx=1 / shrunk, fy=1 / shrunk, interpolation=cv2.INTER_AREA)
    return ours, *laid_on(size, np.asarray(small, np.uint8), found.transform)
