"""Rivals: which of two items that show the same stretch of a clip is the footage?"""

from dataclasses import replace

import numpy as np
from made_items import unit_vectors

from vicmae.index.matching.alignment import Segment
from vicmae.index.matching.rivals import STILL_SURE, told_apart, variety

LONG = Segment(0.0, 20.0, 100.0, 120.0, score=0.99, likeness=0.99, confidence=0.9)
SHORT = Segment(4.0, 8.0, 0.0, 4.0, score=0.2, likeness=0.99, confidence=0.6)


def test_much_more_alike_wins() -> None:
    ((best,), (other,)) = told_apart([[LONG], [replace(LONG, likeness=0.8)]], lambda segment: 1.0)
    assert best.confidence == LONG.confidence and other.confidence < 0.3


def test_a_still_part_of_a_longer_stretch_is_not_sure() -> None:
    ((best,), (other,)) = told_apart([[LONG], [SHORT]], lambda segment: float(segment is LONG))
    assert best.confidence == LONG.confidence and other.confidence == 0


def test_an_excerpt_that_moves_stays_sure() -> None:
    ((_,), (excerpt,)) = told_apart([[LONG], [SHORT]], lambda segment: 1.0)
    assert excerpt.confidence == SHORT.confidence


def test_a_still_scene_without_a_better_rival_is_less_sure_but_not_unsure() -> None:
    """Alone, beside another part of the clip, and among copies of itself."""
    ((alone,), (elsewhere,)) = told_apart([[SHORT], [replace(LONG, query_start_seconds=10.0)]], lambda segment: 0.0)
    copies = told_apart([[LONG], [LONG], [LONG]], lambda segment: 0.0)
    assert alone.confidence == SHORT.confidence * STILL_SURE
    assert {s.confidence for s in (elsewhere, *(copy for (copy,) in copies))} == {LONG.confidence * STILL_SURE}


def test_variety_is_that_of_the_stretch() -> None:
    """Seconds 0 to 9 move, 10 to 19 are one picture with a little noise."""
    moving, still = unit_vectors(1, 10), np.repeat(unit_vectors(2, 1), 10, axis=0) + 0.002 * unit_vectors(3, 10)
    query = np.concatenate([moving, still]).astype(np.float32)
    mean, seconds = np.zeros(query.shape[1], np.float32), np.arange(20.0)

    def of(start: float, end: float) -> float:
        return variety(query, mean, seconds, replace(LONG, query_start_seconds=start, query_end_seconds=end))

    assert of(0, 10) == 1.0 and of(10, 20) < 0.05 and of(3, 4) == 0.0
