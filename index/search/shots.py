"""Shots of a stored video, from its vectors alone: where two frames in a row are less alike than one shot's are.

Works for every collection, whatever its sampling, and decodes nothing. It misses cuts between alike scenes and knows
them only to the sampled frame; media/shots.py sees every frame and is exact, where frames are chosen by it.
"""

import numpy as np
from numpy.typing import NDArray

from ..catalog.items import Moments

SAME_SHOT = 0.6  # least likeness, as in alignment.Segment, of two frames in a row of one shot: see docs/benchmarks.md
MAX_USUAL = 0.94  # frames that are usual themselves must not look like cuts all the time


def shots_of(moments: Moments, mean: NDArray[np.float32]) -> NDArray[np.int64]:
    """moments of an item, mean (D,) of frames in general -> (T,) int64: in which shot each frame is, from 0."""
    vectors = moments.vectors
    cosines = (vectors[1:] * vectors[:-1]).sum(axis=1)
    near = vectors @ mean
    usual = np.minimum(np.maximum(near[1:], near[:-1]), MAX_USUAL)
    begins = (cosines - usual) / (1 - usual) < SAME_SHOT
    return np.asarray(np.concatenate([[0], np.cumsum(begins)]), np.int64)
