"""Confidence: what vectors, pixels and the other hits say, as the chance in 0..1 that a hit is right.

Curves of one input each: those of vectors are fitted for each model (`vicmae calibrate`), and where they were not there
is no confidence; that of pixels holds for any. benchmarks/sureness.py judges them. Arithmetic; opens nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, log

import numpy as np

from ...export.calibration import Calibration, Curve
from .alignment import Segment
from .geometry import Verification

SURE = 0.5  # from here on a hit is more likely right than not
MOST_BY_VECTORS = 0.49
NOT_VERIFIED = 0.05
PRIOR = 2.0  # most that vectors add to the logarithm of the odds, or take from it, once pictures were looked at
# Of the residual after registration, as minus itself: 360 edited photos, 2,160 pairs of strangers, 353 of look-alikes
# (forms, slides, streets, ...). Fitted to half of the photos, the other half had a Brier score of 0.006 and an expected
# calibration error of 0.014 (docs/benchmarks.md).
REGISTERED = Curve(6.2, 17.1)
CERTAIN = 0.999  # no chance is 0 or 1, so that it has odds
STILL = 0.65  # share of its confidence that a still stretch without a rival keeps
FURTHER = 1.5  # times as long a stretch of the query


def of_frame(likeness: float, calibration: Calibration) -> float | None:
    """The chance that a frame shows the very picture that was asked for, or a copy of it; None: not calibrated.

    likeness  by vectors: 0 as any two frames of the collection, 1 identical. Alone it never makes sure: a curve was
              fitted to a library of one size, and in a larger one more that is not the same looks as alike
    """
    if calibration.frame is None:
        return None
    return min(_chance(_odds(calibration.frame, likeness)), MOST_BY_VECTORS)


def of_verified(found: Verification) -> float:
    """The chance that two pictures that were registered are the same, whatever the encoder.

    More inliers add nothing once the residual is known: a template has many, too.
    """
    return _chance(_odds(REGISTERED, -found.residual))


def not_verified(by_vectors: float | None) -> float:
    """The chance that two pictures are the same although no registration says so; by_vectors: as of_frame says."""
    return NOT_VERIFIED if by_vectors is None else min(by_vectors, NOT_VERIFIED)


def of_stretch(likely: float, calibration: Calibration) -> float | None:
    """The chance that two stretches show the same footage; None: not calibrated.

    likely  what alignment says by vectors alone, 0..1
    """
    if calibration.stretch is None:
        return None
    return _chance(_odds(calibration.stretch, likely))


def of_looks(by_vectors: float | None, held: Sequence[Verification], motion: float | None) -> float:
    """The chance that two stretches are the same footage, now that moments of both were looked at.

    by_vectors  as of_stretch says; None: not calibrated, then pictures alone speak
    held        how the pictures of those moments lie on each other, where they are the same; empty: mostly they are not
    motion      how alike both change between these moments, -1..1: other moments before one camera agree in most of
                their pictures, but not in that. None where nothing moves
    """
    prior = 0.0 if by_vectors is None else log_odds(by_vectors)
    if not held:
        return _chance(min(prior, 0.0) - 3.0)
    prior = min(max(prior, -PRIOR), PRIOR) / 2
    if motion is not None:
        return _chance(prior - 3.5 + 10.0 * motion)
    return _chance(prior - 1.0 + float(np.median([log_odds(of_verified(found)) for found in held])) / 2)


def log_odds(chance: float) -> float:
    chance = min(max(chance, 1 - CERTAIN), CERTAIN)
    return log(chance / (1 - chance))


def discount_rivals(
    items: Sequence[Sequence[Segment]], variety: Callable[[Segment], float], calibration: Calibration
) -> list[list[Segment]]:
    """The segments of each item, with less confidence where they are still, or another item shows the stretch better.

    Two scenes of one place are alike, but only one is the footage; copies are about equally alike and stay sure.
    Better is much more alike; or, where this one is but a still scene, which any second of such a scene is like, about
    as alike and as a part of a longer stretch. variety: how much the clip changes within a segment, 0..1.
    """
    found = [(segment, owner) for owner, segments in enumerate(items) for segment in segments]
    told: list[list[Segment]] = [[] for _ in items]
    for segment, owner in found:
        rivals = [s for s, other in found if other != owner and _same_part(s, segment)]
        lead = max((s.likeness for s in rivals), default=segment.likeness) - segment.likeness
        discount = float(np.clip(1 - lead / calibration.clearly_less, 0, 1))
        if any(_goes_further(rival, segment, calibration) for rival in rivals):
            discount *= variety(segment)
        else:
            discount *= STILL + (1 - STILL) * variety(segment)
        told[owner].append(replace(segment, confidence=(segment.confidence or 0.0) * discount))
    return told


def _goes_further(a: Segment, b: Segment, calibration: Calibration) -> bool:
    """Whether a, about as alike as b, is clearly the longer one in the query."""
    lasts_a, lasts_b = (s.query_end_seconds - s.query_start_seconds for s in (a, b))
    return lasts_a >= FURTHER * lasts_b and a.likeness >= b.likeness - calibration.about_as_alike


def _same_part(a: Segment, b: Segment) -> bool:
    """Whether a covers most of b's stretch of the query."""
    both = min(a.query_end_seconds, b.query_end_seconds) - max(a.query_start_seconds, b.query_start_seconds)
    return both > 0.5 * (b.query_end_seconds - b.query_start_seconds)


def _odds(curve: Curve, value: float) -> float:
    """Logarithm of the odds."""
    x = value if curve.least is None else -log(1 - min(max(value, 0.0), 1.0) + curve.least)
    return curve.offset + curve.slope * x


def _chance(odds: float) -> float:
    return min(max(1 / (1 + exp(-odds)), 1 - CERTAIN), CERTAIN)
