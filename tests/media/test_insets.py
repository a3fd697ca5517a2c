"""Insets: a film within a film is found where it is, and in no other film."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_media import scene_frames
from numpy.typing import NDArray

from vicmae.media.frames import Frames
from vicmae.media.insets import GLANCE_SIDE, find_inset, glances

SIZE = (192, 144)


def film(seed: int, size: tuple[int, int] = SIZE) -> Frames:
    """Twelve seconds at one frame a second: six shots in which things move."""
    return Frames(np.stack(list(scene_frames(seed, 12.0, 1, size))), np.arange(12.0))


def within(outer: Frames, inner: Frames, left: int, top: int) -> Frames:
    data = outer.data.copy()
    height, width = inner.data.shape[1:3]
    data[:, top : top + height, left : left + width] = inner.data
    return Frames(data, outer.seconds)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 76), st.integers(0, 57))
@example(seed=0, left=75, top=0)  # its right side is all but on the border
def test_an_inset_whose_edges_show_is_found_wherever_it_is(seed: int, left: int, top: int) -> None:
    dark, bright = film(seed), film(seed + 5000, (116, 87))
    dark.data[:] //= 2
    bright.data[:] = 128 + bright.data // 2
    both = within(dark, bright, left, top)
    inset = find_inset(glances(both))
    assert inset is not None
    found = np.array([inset.left * 192, inset.top * 144, inset.right * 192, inset.bottom * 144])
    assert np.abs(found - [left, top, left + 116, top + 87]).max() <= 4
    cut = inset.cut_out(both)
    assert cut.seconds is both.seconds and np.abs(np.array(cut.data.shape[1:3]) - (87, 116)).max() <= 8


@pytest.mark.parametrize("left", [74, 75, 76])
def test_the_grid_does_not_matter_to_an_inset_beside_the_border(left: int) -> None:
    inset = find_inset(glances(within(film(0), film(5000, (116, 87)), left, 0)))
    assert inset is not None
    found = np.array([inset.left * 192, inset.top * 144, inset.right * 192, inset.bottom * 144])
    assert np.abs(found - [left, 0, left + 116, 87]).max() <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_film_alone_holds_none(seed: int) -> None:
    assert find_inset(glances(film(seed))) is None


def test_a_still_picture_or_a_few_of_them_tell_nothing() -> None:
    both = glances(within(film(1), film(2, (116, 87)), 40, 30))
    assert find_inset(both[:3]) is None
    assert find_inset(both[:, :20, :20]) is None
    assert find_inset(np.zeros((8, 144, 192), np.uint8)) is None


def test_glances_are_small_and_grey() -> None:
    assert glances(film(0, (640, 480))).shape == (12, GLANCE_SIDE, 192)
    assert glances(film(0, (48, 36))).shape == (12, 36, 48)


def test_bars_are_cut_off() -> None:
    black: NDArray[np.uint8] = np.zeros((12, 144, 192, 3), np.uint8)
    inset = find_inset(glances(within(Frames(black, np.arange(12.0)), film(3, (192, 100)), 0, 22)))
    assert inset is not None
    assert (inset.left, inset.right) == (0, 1)
    assert inset.top * 144 == pytest.approx(22, abs=2) and inset.bottom * 144 == pytest.approx(122, abs=2)
