"""vicmae.index.matching.confidence: more agreement is more, never a certainty; pictures weigh more than vectors.

Rivals: which of two items that show the same stretch of a clip is the footage?
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_queries import sure

from vicmae.export.calibration import UNCALIBRATED, Calibration
from vicmae.export.engine.engine import FAKE_CALIBRATION as CALIBRATION
from vicmae.index.matching import Segment, Verification, confidence, is_same_picture
from vicmae.index.matching.confidence import STILL, SURE, discount_rivals


def of_frame(likeness: float, calibration: Calibration) -> float:
    chance = confidence.of_frame(likeness, calibration)
    assert chance is not None
    return chance


def of_stretch(likely: float, calibration: Calibration) -> float:
    chance = confidence.of_stretch(likely, calibration)
    assert chance is not None
    return chance


LONG = Segment(0.0, 20.0, 100.0, 120.0, score=0.99, likeness=0.99, confidence=0.9)
SHORT = Segment(4.0, 8.0, 0.0, 4.0, score=0.2, likeness=0.99, confidence=0.6)
shares = st.floats(0, 1)
correlations = st.floats(-1, 1)
residuals = st.floats(0, 0.36)


@given(shares, shares)
def test_more_likeness_is_never_less_chance(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 < of_frame(low, CALIBRATION) <= of_frame(high, CALIBRATION) < 1
    assert 0 < of_stretch(low, CALIBRATION) <= of_stretch(high, CALIBRATION) < 1


def lying(inliers: int, residual: float) -> Verification:
    """Two pictures that lie on each other with so many points and so much that disagrees."""
    whole = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    return Verification(np.eye(3), False, inliers, 1.0, 1.0, residual, 1.0, (), whole, whole)


@given(st.integers(6, 900), st.integers(6, 900), residuals, residuals)
def test_more_points_and_less_that_differs_are_never_less_chance(a: int, b: int, c: float, d: float) -> None:
    few, many = sorted((a, b))
    little, much = sorted((c, d))
    assert 0 < confidence.of_verified(lying(few, much)) <= confidence.of_verified(lying(many, little)) < 1


@pytest.mark.parametrize(("inliers", "residual"), [(6, 0.0), (6, 0.36), (12, 0.36), (300, 0.36), (300, 0.0)])
def test_what_a_search_takes_for_the_same_picture_is_sure(inliers: int, residual: float) -> None:
    assert is_same_picture(lying(inliers, residual)) and confidence.of_verified(lying(inliers, residual)) > SURE


@given(shares)
def test_vectors_alone_are_never_sure_of_a_picture(likeness: float) -> None:
    assert of_frame(likeness, CALIBRATION) < SURE
    assert confidence.not_verified(of_frame(likeness, CALIBRATION)) <= 0.05 and confidence.not_verified(None) <= 0.05


@given(shares, correlations, correlations)
def test_more_motion_in_common_is_never_less_chance(prior: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    before, held = of_stretch(prior, CALIBRATION), [lying(80, 0.05)] * 5
    assert 0 < confidence.of_looks(before, held, low) <= confidence.of_looks(before, held, high) < 1
    assert confidence.of_looks(before, [], None) <= confidence.of_looks(before, held, None)


def test_what_moves_at_the_same_time_decides() -> None:
    held = [lying(200, 0.02)] * 5
    for prior in (of_stretch(0.5, CALIBRATION), None):
        assert confidence.of_looks(prior, held, 0.9) > 0.9
        assert confidence.of_looks(prior, held, 0.0) < 0.2, "another moment before one camera"
        assert confidence.of_looks(prior, held, None) > 0.5, "nothing moves: any second of the scene is like another"
        assert confidence.of_looks(prior, [], None) < 0.1


@pytest.mark.parametrize("likeness", [-0.5, 1.01])
def test_likeness_beyond_its_range_is_taken_as_its_end(likeness: float) -> None:
    assert 0 < of_frame(likeness, CALIBRATION) < 1


def test_much_more_alike_wins() -> None:
    ((best,), (other,)) = discount_rivals([[LONG], [replace(LONG, likeness=0.8)]], lambda segment: 1.0, CALIBRATION)
    assert sure(best) == sure(LONG) and sure(other) < 0.3


def test_a_still_part_of_a_longer_stretch_is_not_sure() -> None:
    ((best,), (other,)) = discount_rivals([[LONG], [SHORT]], lambda segment: float(segment is LONG), CALIBRATION)
    assert sure(best) == sure(LONG) and sure(other) == 0


def test_an_excerpt_that_moves_stays_sure() -> None:
    ((_,), (excerpt,)) = discount_rivals([[LONG], [SHORT]], lambda segment: 1.0, CALIBRATION)
    assert sure(excerpt) == sure(SHORT)


def test_a_still_scene_without_a_better_rival_is_less_sure_but_not_unsure() -> None:
    """Alone, beside another part of the clip, and among copies of itself."""
    ((alone,), (elsewhere,)) = discount_rivals(
        [[SHORT], [replace(LONG, query_start_seconds=10.0)]], lambda segment: 0.0, CALIBRATION
    )
    copies = discount_rivals([[LONG], [LONG], [LONG]], lambda segment: 0.0, CALIBRATION)
    assert sure(alone) == sure(SHORT) * STILL
    assert {sure(s) for s in (elsewhere, *(copy for (copy,) in copies))} == {sure(LONG) * STILL}


def test_without_a_curve_there_is_no_confidence_by_vectors() -> None:
    assert confidence.of_frame(1.0, UNCALIBRATED) is None and confidence.of_stretch(1.0, UNCALIBRATED) is None
