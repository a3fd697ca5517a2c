"""vicmae.index.chance: more agreement is more chance, never a certainty, and pixels weigh more than vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicmae.index import chance
from vicmae.index.evidence import Evidence

shares = st.floats(0, 1)
correlations = st.floats(-1, 1)


@given(shares, shares)
def test_more_likeness_is_never_less_chance(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 < chance.of_frame(low) <= chance.of_frame(high) < 1
    assert 0 < chance.of_stretch(low) <= chance.of_stretch(high) < 1


@given(shares, correlations, correlations)
def test_more_agreement_of_pixels_is_never_less_chance(prior: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    before = chance.of_stretch(prior)
    for less, more in (
        (Evidence(0.5, low, None), Evidence(0.5, high, None)),
        (Evidence(low, None, None), Evidence(high, None, None)),
    ):
        assert 0 < chance.with_pixels(before, less) <= chance.with_pixels(before, more) < 1
    assert chance.of_frame(prior, low) <= chance.of_frame(prior, high)


@pytest.mark.parametrize("likeness", [-0.5, 1.01])
def test_likeness_beyond_its_range_is_taken_as_its_end(likeness: float) -> None:
    assert 0 < chance.of_frame(likeness) < 1


def test_what_moves_at_the_same_time_decides() -> None:
    unsure = chance.of_stretch(0.5)
    assert chance.with_pixels(unsure, Evidence(0.9, 0.9, "same")) > 0.7
    assert chance.with_pixels(unsure, Evidence(0.9, 0.0, "same")) < 0.2
    assert chance.with_pixels(unsure, Evidence(0.9, None, "same")) == pytest.approx(unsure, abs=0.02)
    assert chance.with_pixels(unsure, Evidence(0.2, None, None)) < unsure / 2
