"""vicmae.index.matching.confidence: more agreement is more, never a certainty; pixels weigh more than vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicmae.index.matching import confidence
from vicmae.index.matching.evidence import Evidence

shares = st.floats(0, 1)
correlations = st.floats(-1, 1)


@given(shares, shares)
def test_more_likeness_is_never_less_chance(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 < confidence.of_frame(low) <= confidence.of_frame(high) < 1
    assert 0 < confidence.of_stretch(low) <= confidence.of_stretch(high) < 1


@given(shares, correlations, correlations)
def test_more_agreement_of_pixels_is_never_less_chance(prior: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    before = confidence.of_stretch(prior)
    for less, more in (
        (Evidence(0.5, low, None), Evidence(0.5, high, None)),
        (Evidence(low, None, None), Evidence(high, None, None)),
    ):
        assert 0 < confidence.with_pixels(before, less) <= confidence.with_pixels(before, more) < 1
    assert confidence.of_frame(prior, low) <= confidence.of_frame(prior, high)


@pytest.mark.parametrize("likeness", [-0.5, 1.01])
def test_likeness_beyond_its_range_is_taken_as_its_end(likeness: float) -> None:
    assert 0 < confidence.of_frame(likeness) < 1


def test_what_moves_at_the_same_time_decides() -> None:
    unsure = confidence.of_stretch(0.5)
    assert confidence.with_pixels(unsure, Evidence(0.9, 0.9, "same")) > 0.7
    assert confidence.with_pixels(unsure, Evidence(0.9, 0.0, "same")) < 0.2
    assert confidence.with_pixels(unsure, Evidence(0.9, None, "same")) == pytest.approx(unsure, abs=0.02)
    assert confidence.with_pixels(unsure, Evidence(0.2, None, None)) < unsure / 2
