"""vicmae.index.search.hypotheses: what else than the whole picture may be the one that is stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import picture

from vicmae.index.search import Region
from vicmae.index.search.hypotheses import MOST, Hypothesis, hypotheses


def test_a_picture_is_asked_turned_in_windows_and_by_its_rectangles() -> None:
    found = hypotheses(np.asarray(picture(1, (320, 240))))
    assert [each.quarter_turns for each in found[:3]] == [1, 2, 3]
    regions = [each.region for each in found[3:]]
    assert Region(0.5, 0, 1, 0.5) in regions and len(found) <= MOST
    assert Hypothesis() not in found, "the whole picture has been asked already"


def test_flat_borders_are_cut_off_first() -> None:
    canvas = np.zeros((400, 400, 3), np.uint8)
    canvas[100:300, 20:380] = np.asarray(picture(2, (360, 200)))
    region = hypotheses(canvas)[3].region
    assert region.overlap(Region(0.05, 0.25, 0.95, 0.75)) > 0.97


@settings(max_examples=25)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 5), st.booleans())
def test_whatever_the_picture_parts_can_be_cut_and_differ(width: int, height: int, seed: int, flat: bool) -> None:
    canvas = np.full((height, width, 3), 7, np.uint8) if flat else np.asarray(picture(seed, (width, height)))
    found = hypotheses(canvas)
    assert len(found) <= MOST and len(set(found)) == len(found)
    for each in found:
        part = each.cut_from(canvas)
        assert part.ndim == 3 and min(part.shape[:2]) >= 1 and part.dtype == np.uint8


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_is_anticlockwise(turns: int) -> None:
    canvas = np.asarray(picture(1, (30, 20)))
    np.testing.assert_array_equal(Hypothesis(quarter_turns=turns).cut_from(canvas), np.rot90(canvas, turns))
