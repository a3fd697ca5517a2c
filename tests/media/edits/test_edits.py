"""What people do to pictures: every edit is the same for a seed, gives a picture, and changes it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vicmae.media.edits import EDITS, SIXTEEN, UNEDITED, edited
from vicmae.media.edits.arrays import covering, some_of
from vicmae.media.edits.lettering import LINES, SCRIPTS, mask_of, width_of
from vicmae.media.edits.mixed_edits import INSET_SIDE

Picture = NDArray[np.uint8]


def scene(seed: int, width: int = 96, height: int = 64) -> Picture:
    """Coloured clouds: smooth, without a symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


OTHERS = [scene(seed, 80, 100) for seed in range(100, 106)]


def test_there_are_thirty_and_the_first_sixteen_are_those_compared() -> None:
    assert len(EDITS) == 30 and SIXTEEN[0] == UNEDITED and SIXTEEN[-1] == "collage" and len(SIXTEEN) == 16


@pytest.mark.parametrize("edit", EDITS)
@settings(max_examples=6, deadline=None)
@given(
    width=st.integers(24, 150),
    height=st.integers(24, 150),
    seed=st.integers(0, 2**31),
    name=st.text(max_size=8),
)
def test_an_edit_gives_the_same_picture_for_a_seed_and_never_the_one_it_had(
    edit: str, width: int, height: int, seed: int, name: str
) -> None:
    picture = scene(seed, width, height)
    before = picture.copy()
    once = edited(edit, picture, name, OTHERS, seed)
    assert once.dtype == np.uint8 and once.ndim == 3 and once.shape[2] == 3 and min(once.shape[:2]) >= 8
    assert np.array_equal(once, edited(edit, picture, name, OTHERS, seed))
    assert np.array_equal(picture, before), "the original was written to"
    if edit != UNEDITED:
        assert once.shape != picture.shape or not np.array_equal(once, picture)


def test_another_seed_or_name_throws_other_dice() -> None:
    picture = scene(1)
    first = edited("crop 25 %", picture, "a", OTHERS, 0)
    assert not np.array_equal(first, edited("crop 25 %", picture, "a", OTHERS, 1))
    assert not np.array_equal(first, edited("crop 25 %", picture, "b", OTHERS, 0))


@pytest.mark.parametrize(("edit", "area"), [("crop 75 %", 0.75), ("crop 50 %", 0.5), ("crop 25 %", 0.25)])
def test_a_crop_is_a_part_of_its_area(edit: str, area: float) -> None:
    picture = scene(2, 160, 120)
    part = edited(edit, picture, "x", OTHERS)
    assert part.shape[0] * part.shape[1] == pytest.approx(area * 160 * 120, rel=0.02)
    assert holds(picture, part)


def test_a_vertical_crop_is_a_part_of_nine_to_sixteen() -> None:
    part = edited("crop vertical", scene(2, 160, 120), "x", OTHERS)
    assert part.shape[1] / part.shape[0] == pytest.approx(9 / 16, rel=0.02) and holds(scene(2, 160, 120), part)


@pytest.mark.parametrize("edit", ["inset", "collage", "framed collage", "border"])
def test_the_whole_picture_is_in_it_unchanged(edit: str) -> None:
    assert holds(edited(edit, scene(3), "x", OTHERS), scene(3))


def test_an_inset_has_its_share_of_a_side_and_the_rest_is_another_picture() -> None:
    canvas = edited("inset", scene(3), "x", OTHERS)
    assert canvas.shape[1] == pytest.approx(96 / INSET_SIDE, abs=1)
    assert any(np.abs(canvas - covering(other, *canvas.shape[1::-1])).max(axis=2).mean() < 80 for other in OTHERS)


def test_a_collage_is_four_different_pictures() -> None:
    canvas = edited("collage", scene(3), "x", OTHERS)
    cells = [canvas[y : y + 64, x : x + 96] for y in (0, 64) for x in (0, 96)]
    assert canvas.shape == (128, 192, 3)
    assert not any(np.array_equal(a, b) for i, a in enumerate(cells) for b in cells[:i])
    assert sum(np.array_equal(cell, scene(3)) for cell in cells) == 1


def test_turns_and_mirror_keep_every_pixel() -> None:
    picture = scene(4)
    assert np.array_equal(edited("mirrored", picture, "x", OTHERS)[:, ::-1], picture)
    turned = edited("turned 90", picture, "x", OTHERS)
    assert any(np.array_equal(np.rot90(turned, times), picture) for times in (1, 3))


def test_grey_has_no_colour_and_blur_no_edges() -> None:
    grey = edited("grey", scene(5), "x", OTHERS)
    assert (grey == grey[..., :1]).all()
    board = np.kron(np.indices((16, 16)).sum(axis=0) % 2, np.ones((8, 8)))[..., None].repeat(3, axis=2)
    sharp = (255 * board).astype(np.uint8)
    assert np.abs(np.diff(edited("blur", sharp, "x", OTHERS).astype(int), axis=1)).max() < 80


def test_an_edit_that_needs_others_says_so() -> None:
    with pytest.raises(ValueError, match="give at least one other picture"):
        edited("inset", scene(6), "x", [])
    assert len(some_of(OTHERS[:2], np.random.default_rng(0), 4)) == 4


@pytest.mark.parametrize("line", [*LINES, *SCRIPTS])
def test_the_font_has_every_script_and_the_width_is_what_is_drawn(line: str) -> None:
    """A glyph that a font lacks is drawn as a question mark: two of them in place of other letters look alike."""
    mask = mask_of((60, 700), line, 20, 30, 24, 400)
    columns = np.flatnonzero(mask.any(axis=0))
    assert columns[-1] - columns[0] == pytest.approx(width_of(line, 24), abs=10)
    letters = {letter for letter in line if letter.isalpha()}
    drawn = {mask_of((60, 60), letter, 10, 30, 24, 400).tobytes() for letter in letters}
    assert len(drawn) > 0.8 * len(letters)


def holds(canvas: Picture, part: Picture) -> bool:
    """Whether the part stands somewhere in the canvas, pixel by pixel."""
    found = cv2.matchTemplate(canvas.astype(np.float32), part.astype(np.float32), cv2.TM_SQDIFF)
    _, _, (left, top), _ = cv2.minMaxLoc(found)
    height, width = part.shape[:2]
    return np.array_equal(canvas[top : top + height, left : left + width], part)
