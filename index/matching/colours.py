"""Do two registered pictures have other colours, beside one change of all colours as filters make it?

The change is of brightness and contrast of each channel and of saturation, down to grey. It cannot turn one hue into
another one, so that one product in red and in blue stays apart.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from .features import COLOUR_SHARE, Features
from .quads import Matrix
from .residual import Tiles

SATURATIONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.35, 1.8)  # times
GAINS = (0.3, 2.5)  # of a channel's contrast
BALANCE = 1.8  # times as much gain of one channel as of another, at most
COLOURFUL = 40.0  # of 255: the channels of a place lie so far apart
OTHER = 30.0  # of 255: the difference of two colours, brightness left out, that no codec makes
LEAST_PLACES = 60  # of the colours kept, 4 x 4 pixels each; fewer say nothing
FIT_ROUNDS = 2

Floats = NDArray[np.float32]


def other_colours(a: Features, b: Features, transform: Matrix, tiles: Tiles, chosen: NDArray[np.bool_]) -> float:
    """Share of the colourful places of the overlap that have another colour, 0..1; 0 where hardly any are colourful.

    transform: shares of a -> shares of b; chosen: the tiles that are looked at.
    """
    ours, theirs, told = _laid(a, b, transform, tiles, chosen)
    if not told.any():
        return 0.0
    x, y = ours[told], theirs[told]
    colourful = np.maximum(np.ptp(x, axis=1), np.ptp(y, axis=1)) > COLOURFUL
    if int(colourful.sum()) < LEAST_PLACES:
        return 0.0
    errors = min((_least_errors(x, y), _least_errors(y, x)), key=lambda each: float(each.mean()))
    return float((errors[colourful] > OTHER).mean())


def _laid(
    a: Features, b: Features, transform: Matrix, tiles: Tiles, chosen: NDArray[np.bool_]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """The colours of both (h, w, 3) on the grid of the tiles, and the places (h, w) to compare."""
    grid, other = (a, b) if tiles.on_query else (b, a)
    from_grid = transform if tiles.on_query else np.linalg.inv(transform)
    height, width = grid.colours.shape[:2]
    matrix = _pixels(other) @ from_grid @ np.linalg.inv(_pixels(grid))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(other.colours, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    told = cv2.resize(chosen.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    colours = grid.colours.astype(np.float32), np.asarray(warped, np.float32)
    if tiles.blurred_by:
        sigma = tiles.blurred_by / COLOUR_SHARE
        colours = cv2.GaussianBlur(colours[0], (0, 0), sigma), cv2.GaussianBlur(colours[1], (0, 0), sigma)
    return (*(colours if tiles.on_query else colours[::-1]), np.asarray(told, np.bool_))


def _pixels(features: Features) -> Matrix:
    """Shares -> pixels of `colours`."""
    height, width = features.colours.shape[:2]
    return np.array([(width, 0, -0.5), (0, height, -0.5), (0, 0, 1)], np.float64)


def _least_errors(x: Floats, y: Floats) -> Floats:
    """x, y (N, 3): the differences (N,) in colour once x is changed to be as near to y as one change allows."""
    grey = x.mean(axis=1, keepdims=True)
    best = np.full(len(x), np.inf, np.float32)
    for saturation in SATURATIONS:
        changed, gains = _balanced(grey + saturation * (x - grey), y)
        if gains.max() > BALANCE * gains.min():
            continue
        apart = changed - y
        errors = np.sqrt(((apart - apart.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
        if errors.mean() < best.mean():
            best = errors
    return best


def _balanced(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """x with the gain and offset of each channel that bring most of it nearest to y, and the gains (3,)."""
    weights = np.ones(x.shape, np.float32)
    for _ in range(FIT_ROUNDS):
        count = np.maximum(weights.sum(axis=0), 1.0)
        mean_x, mean_y = (weights * x).sum(axis=0) / count, (weights * y).sum(axis=0) / count
        variance = np.maximum((weights * (x - mean_x) ** 2).sum(axis=0) / count, 1.0)
        covariance = (weights * (x - mean_x) * (y - mean_y)).sum(axis=0) / count
        gains = np.clip(covariance / variance, *GAINS)
        changed = (x - mean_x) * gains + mean_y
        apart = np.abs(changed - y)
        weights = (apart <= np.maximum(2.5 * np.median(apart, axis=0), 4.0)).astype(np.float32)
    return np.asarray(changed, np.float32), np.asarray(gains, np.float32)
