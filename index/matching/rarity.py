"""Common frames: how much a frame of a clip tells, by in how many items something like it is held.

A logo, a test pattern or the same intro before many videos says little about which video a clip is of. Counted among
the items that were found for the clip, at the time of the search; knows no database.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HELD = 0.85  # likeness, as in alignment.Segment, from which an item holds the very frame
USUAL_SHARE = 0.25  # of the clip's frames: copies of the whole clip hold those too, and are no reason to doubt
MORE_THAN_USUAL = 2.0  # times as many items may hold a frame before it counts less
MAX_USUAL = 0.94


def rarity(
    ways: Sequence[NDArray[np.float32]],
    mean: NDArray[np.float32],
    similarities: Sequence[Sequence[NDArray[np.float32]]],
) -> NDArray[np.float64]:
    """How much each frame of a clip tells: (Q,) float64 in 0..1.

    ways: vectors (Q, D) of a clip, plain and perhaps mirrored; mean (D,) of all frames; similarities: for each
    candidate and each way the cosines (Q, T). 1 for a frame that about as many items hold as hold the clip's least
    common quarter; falls with the square of the number of items beyond twice that. A clip that is held as a whole by
    many items keeps its weights.
    """
    usual = [np.minimum(way @ mean, MAX_USUAL) for way in ways]
    holders = np.zeros(len(ways[0]))
    for candidate in similarities:
        held = [found.max(axis=1) >= low + HELD * (1 - low) for found, low in zip(candidate, usual, strict=True)]
        holders += np.any(held, axis=0)
    usual_holders = max(1.0, float(np.quantile(holders, USUAL_SHARE)))
    return np.asarray(np.minimum(1.0, MORE_THAN_USUAL * usual_holders / np.maximum(holders, 1)) ** 2, np.float64)
