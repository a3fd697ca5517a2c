"""Rivals: items that show the same stretch of a clip. How sure is each, beside the others? Compares no stored vectors.

Two scenes of one place are alike, but only one is the footage; copies are about equally alike and stay sure.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .alignment import MAX_FLOOR, Segment

CLEARLY_LESS = 0.25  # of likeness: beside an item that is so much more alike, another is no copy
FURTHER = 1.5  # times as long a stretch of the query
ABOUT_AS_ALIKE = 0.05  # of likeness
STILL_SURE = (
    0.65  # times as sure is a still scene that has no rival: at 0.5 to 0.65 one false hit for 40 clips, else six
)
VARIED = 0.1  # 1 less the likeness of a stretch's frames among each other: 0.00 in still scenes, 0.3 in most others


def told_apart(items: Sequence[Sequence[Segment]], variety: Callable[[Segment], float]) -> list[list[Segment]]:
    """The segments of each item, with less confidence where they are still, or another item shows the stretch better.

    Better is much more alike; or, where this one is but a still scene, which any second of such a scene is like, about
    as alike and as a part of a longer stretch. variety: how much the clip changes within a segment, 0..1.
    """
    found = [(segment, owner) for owner, segments in enumerate(items) for segment in segments]
    told: list[list[Segment]] = [[] for _ in items]
    for segment, owner in found:
        rivals = [s for s, other in found if other != owner and _same_part(s, segment)]
        lead = max((s.likeness for s in rivals), default=segment.likeness) - segment.likeness
        discount = float(np.clip(1 - lead / CLEARLY_LESS, 0, 1))
        if any(_goes_further(rival, segment) for rival in rivals):
            discount *= variety(segment)
        else:
            discount *= STILL_SURE + (1 - STILL_SURE) * variety(segment)
        told[owner].append(replace(segment, confidence=segment.confidence * discount))
    return told


def variety(
    query: NDArray[np.float32], mean: NDArray[np.float32], seconds: NDArray[np.float64], segment: Segment
) -> float:
    """How much the query (Q, D) changes within the segment: 0 where nothing moves, 1 from VARIED on."""
    shown = query[(seconds >= segment.query_start_seconds) & (seconds < segment.query_end_seconds)]
    if len(shown) < 2:
        return 0.0
    usual = np.minimum(shown @ mean, 2 * MAX_FLOOR - 1)[:, None]
    likeness = (shown @ shown.T - usual) / (1 - usual)
    among_others = (likeness.sum() - np.trace(likeness)) / (len(shown) * (len(shown) - 1))
    return float(np.clip((1 - among_others) / VARIED, 0, 1))


def _goes_further(a: Segment, b: Segment) -> bool:
    """Whether a, about as alike as b, is clearly the longer one in the query."""
    lasts_a, lasts_b = (s.query_end_seconds - s.query_start_seconds for s in (a, b))
    return lasts_a >= FURTHER * lasts_b and a.likeness >= b.likeness - ABOUT_AS_ALIKE


def _same_part(a: Segment, b: Segment) -> bool:
    """Whether a covers most of b's stretch of the query."""
    both = min(a.query_end_seconds, b.query_end_seconds) - max(a.query_start_seconds, b.query_start_seconds)
    return both > 0.5 * (b.query_end_seconds - b.query_start_seconds)
