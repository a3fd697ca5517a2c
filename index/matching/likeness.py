"""Likeness: how alike two frames are, beside any two frames of the collection. Arithmetic on vectors.

A cosine alone says little: an encoder gives all frames something in common. So 0 is the cosine of a frame to the mean
of all frames, its background, and 1 is the frame itself.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...export.calibration import Calibration

Floats = NDArray[np.float32]
Numbers = Floats | np.float32

COMMON_QUANTILE = 0.25  # of a clip's frames: copies of the whole clip hold those too, and are no reason to doubt
COMMON_FACTOR = 2.0  # times as many items may hold a frame before it counts less


def likeness(cosines: Numbers, background: Numbers, calibration: Calibration) -> Floats:
    """cosines of pairs of frames, background the cosine of one of each pair to the mean; shapes as numpy broadcasts."""
    usual = np.minimum(background, calibration.max_background)
    return np.asarray((cosines - usual) / (1 - usual), np.float32)


def cosine_of(least: float, background: Numbers, calibration: Calibration) -> Floats:
    """The cosine that has this likeness: the inverse, for where it is cheaper to compare cosines."""
    usual = np.minimum(background, calibration.max_background)
    return np.asarray(usual + least * (1 - usual), np.float32)


def shots_of(vectors: Floats, mean: Floats, calibration: Calibration) -> NDArray[np.int64]:
    """vectors (T, D) of a video's frames in order, mean (D,) -> (T,) int64: the shot of each frame, from 0.

    Needs vectors alone. It misses cuts between scenes that are alike and knows them only to the sampled frame;
    media/shots.py sees every frame and is exact.
    """
    cosines = (vectors[1:] * vectors[:-1]).sum(axis=1)
    near = vectors @ mean
    cuts = likeness(cosines, np.maximum(near[1:], near[:-1]), calibration) < calibration.same_shot
    return np.asarray(np.concatenate([[0], np.cumsum(cuts)]), np.int64)


def rarity(
    renditions: Sequence[Floats], mean: Floats, similarities: Sequence[Sequence[Floats]], calibration: Calibration
) -> NDArray[np.float64]:
    """The weight of each frame of a clip by how many candidates hold it: (Q,) float64 in 0..1.

    A logo, a test pattern or the same intro before many videos says little about which video a clip is of.
    renditions: vectors (Q, D) of the clip, as it is and perhaps mirrored; similarities: for each candidate and each
    rendition the cosines (Q, T). 1 for a frame that about as many items hold as hold the clip's least common quarter;
    falls with the square of the number of items beyond twice that. A clip that many items hold as a whole keeps its
    weights.
    """
    needed = [cosine_of(calibration.same_frame, vectors @ mean, calibration) for vectors in renditions]
    holders = np.zeros(len(renditions[0]))
    for candidate in similarities:
        held = [cosines.max(axis=1) >= least for cosines, least in zip(candidate, needed, strict=True)]
        holders += np.any(held, axis=0)
    usual_holders = max(1.0, float(np.quantile(holders, COMMON_QUANTILE)))
    return np.asarray(np.minimum(1.0, COMMON_FACTOR * usual_holders / np.maximum(holders, 1)) ** 2, np.float64)


def variety(vectors: Floats, mean: Floats, calibration: Calibration) -> float:
    """How much a stretch of frames (N, D) changes: 0 where nothing moves, 1 from calibration.varied on."""
    if len(vectors) < 2:
        return 0.0
    alike = likeness(vectors @ vectors.T, (vectors @ mean)[:, None], calibration)
    among_others = (alike.sum() - np.trace(alike)) / (len(vectors) * (len(vectors) - 1))
    return float(np.clip((1 - among_others) / calibration.varied, 0, 1))
