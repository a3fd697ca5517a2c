"""vicmae.index.search.rectangles: a picture laid on another one, the parts of a collage, a film within a film."""

import numpy as np
import pytest
from made_media import picture, scene_at
from numpy.typing import NDArray

from vicmae.index.search import Region
from vicmae.index.search.rectangles import rectangles

Pixels = NDArray[np.uint8]


def laid(place: tuple[int, int], size: tuple[int, int], ground: Pixels, inner: Pixels) -> tuple[Pixels, Region]:
    """inner of size (width, height) on the ground with its upper left corner there, and where that is."""
    (left, top), (width, height) = place, size
    canvas = ground.copy()
    canvas[top : top + height, left : left + width] = inner
    high, wide = ground.shape[:2]
    return canvas, Region(left / wide, top / high, (left + width) / wide, (top + height) / high)


@pytest.mark.parametrize("place", [(40, 30), (0, 0), (300, 0), (250, 170)])
def test_a_picture_laid_on_another_one_is_proposed(place: tuple[int, int]) -> None:
    size = (200, 150)
    canvas, where = laid(place, size, np.asarray(picture(1, (500, 320))), np.asarray(picture(2, size)))
    assert max(where.overlap(found) for found in rectangles([canvas], 4)) > 0.85


def test_a_photo_on_a_page_comes_first() -> None:
    page = np.full((600, 500, 3), 250, np.uint8)
    canvas, where = laid((60, 120), (380, 260), page, np.asarray(picture(3, (380, 260))))
    assert max(where.overlap(found) for found in rectangles([canvas], 2)) > 0.85


def test_each_part_of_a_framed_collage_is_proposed() -> None:
    canvas = np.full((430, 630, 3), 255, np.uint8)
    for x in (0, 1):
        for y in (0, 1):
            canvas[10 + 210 * y : 210 + 210 * y, 10 + 310 * x : 310 + 310 * x] = np.asarray(
                picture(2 * x + y, (300, 200))
            )
    found = rectangles([canvas], 4)
    for x in (0, 1):
        for y in (0, 1):
            part = Region((10 + 310 * x) / 630, (10 + 210 * y) / 430, (310 + 310 * x) / 630, (210 + 210 * y) / 430)
            assert max(part.overlap(each) for each in found) > 0.8


def test_no_two_proposals_are_nearly_the_same_and_none_is_the_whole() -> None:
    for seed in range(6):
        found = rectangles([np.asarray(picture(seed, (320, 240)))], 5)
        assert len(found) <= 5
        assert all(a.overlap(b) < 0.85 for i, a in enumerate(found) for b in found[:i])
        assert all(each.overlap(Region(0, 0, 1, 1)) < 1 for each in found)


def test_a_film_within_a_film_is_found_by_what_stays() -> None:
    frames, where = [], Region(0, 0, 1, 1)
    for step in range(12):
        outer, inner = scene_at(77, step * 0.7, (320, 240)), scene_at(5, step * 0.7, (140, 105))
        canvas, where = laid((160, 110), (140, 105), outer, inner)
        frames.append(canvas)
    (found,) = rectangles(frames, 1, 0.8)
    assert where.overlap(found) > 0.85
    alone = [scene_at(77, step * 0.7, (320, 240)) for step in range(12)]
    assert rectangles(alone, 1, 0.8) == []


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (8, 8)])
def test_pictures_of_any_size_and_flat_ones_propose_nothing_odd(size: tuple[int, int]) -> None:
    for canvas in (np.asarray(picture(1, size)), np.full((size[1], size[0], 3), 9, np.uint8)):
        for found in rectangles([canvas], 4):
            assert found.smaller_share > 0.01
