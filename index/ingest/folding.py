"""Folding: consecutive frames that the encoder cannot tell apart share one vector. Arithmetic on vectors only.

A still scene sampled twice a second fills an index with copies of one vector. Collection.moments_of unfolds them, so
that nobody who aligns in time need know.
"""

import numpy as np

from ..catalog import Moments


def fold(moments: Moments, same_cosine: float) -> Moments:
    """moments in time order, vectors with unit length -> fewer, each with the stretch for which it stands.

    same_cosine: of frames that share one vector, as the model's calibration has it (folding_cosine).

    Every frame of a stretch is compared with its first, whose vector stays: so a slow pan is not swallowed step by
    step. Gaps in time end a stretch. A stretch is as informative as its most informative frame.
    """
    firsts = []
    first = -1
    for place, vector in enumerate(moments.vectors):
        joined = place > 0 and moments.start_seconds[place] <= moments.end_seconds[place - 1] + 1e-6
        if not joined or float(vector @ moments.vectors[first]) < same_cosine:
            first = place
            firsts.append(place)
    lasts = [*firsts[1:], len(moments.vectors)]
    return Moments(
        moments.vectors[firsts],
        moments.start_seconds[firsts],
        moments.end_seconds[np.array(lasts) - 1],
        np.maximum.reduceat(moments.informative, firsts),
    )
