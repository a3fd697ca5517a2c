"""vicmae.index.pictures.jpeg: a picture as it is stored, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_media import picture

from vicmae.errors import CorruptMedia
from vicmae.index.pictures import SIDE, from_jpeg, shown_size, to_jpeg

sides = st.integers(1, 60_000)


@given(width=sides, height=sides)
def test_a_size_is_bounded_and_never_enlarged(width: int, height: int) -> None:
    small = shown_size(width, height)
    assert 1 <= small[0] <= width and 1 <= small[1] <= height
    assert min(small) <= SIDE and max(small) <= 8 * SIDE
    if max(width, height) <= 8 * min(width, height) and min(width, height) > SIDE:
        assert min(small) == SIDE


@pytest.mark.parametrize("size", [(160, 120), (320, 320), (900, 700), (700, 1300), (1, 1), (3, 4000)])
def test_a_picture_comes_back_small_and_alike(size: tuple[int, int]) -> None:
    whole = np.asarray(picture(5, size))
    found = from_jpeg(to_jpeg(whole))
    assert found.shape == (*reversed(shown_size(*size)), 3)
    assert np.abs(found.mean(axis=(0, 1)) - whole.mean(axis=(0, 1))).max() < 6  # red is red and blue is blue


@pytest.mark.parametrize("data", [b"", b"no picture", to_jpeg(np.zeros((9, 9, 3), np.uint8))[:40]])
def test_what_is_no_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptMedia):
        from_jpeg(data)
