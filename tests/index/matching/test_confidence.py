"""vicmae.index.matching.confidence: more agreement is more, never a certainty; pixels weigh more than vectors.

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
from vicmae.index.matching import Evidence, Segment, Verification, confidence
from vicmae.index.matching.confidence import STILL, discount_rivals


def of_frame(likeness: float, pixels: float | None, calibration: Calibration) -> float:
    chance = confidence.of_frame(likeness, pixels, calibration)
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


@given(shares, shares)
def test_more_likeness_is_never_less_chance(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 < of_frame(low, None, CALIBRATION) <= of_frame(high, None, CALIBRATION) < 1
    assert 0 < of_stretch(low, CALIBRATION) <= of_stretch(high, CALIBRATION) < 1


@given(shares, correlations, correlations)
def test_more_agreement_of_pixels_is_never_less_chance(prior: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    before = of_stretch(prior, CALIBRATION)
    for less, more in (
        (Evidence(0.5, low, None), Evidence(0.5, high, None)),
        (Evidence(low, None, None), Evidence(high, None, None)),
    ):
        assert 0 < confidence.with_pixels(before, less) <= confidence.with_pixels(before, more) < 1
    assert of_frame(prior, low, CALIBRATION) <= of_frame(prior, high, CALIBRATION)


@pytest.mark.parametrize("likeness", [-0.5, 1.01])
def test_likeness_beyond_its_range_is_taken_as_its_end(likeness: float) -> None:
    assert 0 < of_frame(likeness, None, CALIBRATION) < 1


def test_what_moves_at_the_same_time_decides() -> None:
    unsure = of_stretch(0.5, CALIBRATION)
    assert confidence.with_pixels(unsure, Evidence(0.9, 0.9, "same")) > 0.7
    assert confidence.with_pixels(unsure, Evidence(0.9, 0.0, "same")) < 0.2
    assert confidence.with_pixels(unsure, Evidence(0.9, None, "same")) == pytest.approx(unsure, abs=0.02)
    assert confidence.with_pixels(unsure, Evidence(0.2, None, None)) < unsure / 2


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


def test_without_a_curve_there_is_no_confidence_whatever_pixels_say() -> None:
    assert confidence.of_frame(1.0, 1.0, UNCALIBRATED) is None and confidence.of_stretch(1.0, UNCALIBRATED) is None


def test_a_registered_pair_is_sure_when_its_content_agrees_whatever_the_inliers() -> None:
    chances = [confidence.of_verified(registered(residual)) for residual in (0.0, 0.1, 0.3, 0.5, 1.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.99 and chances[2] > 0.5 and chances[3] < 0.2 and chances[4] < 0.001 + 1e-9
    assert confidence.of_verified(registered(0.7, inliers=200)) < 0.01


def registered(residual: float, inliers: int = 20) -> Verification:
    return Verification(np.eye(3), False, inliers, 1.0, 1.0, residual, 0.9, (), (), ())
