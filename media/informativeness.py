"""How much a picture tells: black, flat and credits little, a scene much. Pixels in, weights out."""

import numpy as np
from numpy.typing import NDArray

FULL_CONTRAST = 32.0  # grey levels of standard deviation from which a picture counts as fully informative
FULL_VARIETY = 0.5  # of the picture lies outside its most frequent grey
GREY_STEP = 8  # levels that count as one grey; two neighbours are taken together


def informativeness(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """pixels (n, S, S, 3) uint8 -> (n,) float32 in 0..1: contrast times variety.

    0 for one flat colour, near 0 for black with noise, about 0.2 for credits: letters on a ground of one grey have
    contrast, but nearly all of the picture is that ground.
    """
    contrast = pixels.reshape(len(pixels), -1, 3).std(axis=1, dtype=np.float32).mean(axis=1)
    levels = (pixels.mean(axis=3) // GREY_STEP).astype(np.int64).reshape(len(pixels), -1)
    counts = np.stack([np.bincount(row, minlength=256 // GREY_STEP + 1) for row in levels])
    ground = (counts[:, :-1] + counts[:, 1:]).max(axis=1) / levels.shape[1]
    weights = np.clip(contrast / FULL_CONTRAST, 0, 1) * np.clip((1 - ground) / FULL_VARIETY, 0, 1)
    return np.asarray(weights, np.float32)
