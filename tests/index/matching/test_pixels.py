"""vicmae.index.matching.pixels: copies of made pictures are told apart, other pictures are none."""

import numpy as np
import pytest
from made_media import picture
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from vicmae.index.matching import variant_of

SEEDS = range(6)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def with_bars(image: Image.Image) -> Image.Image:
    framed = Image.new("RGB", (image.width, image.height * 4 // 3))
    framed.paste(image, (0, image.height // 6))
    return framed


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((image.width // 10, image.height // 12, image.width * 9 // 10, image.height * 11 // 12))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_smaller_brighter_copy_is_the_same(seed: int) -> None:
    original = picture(seed)
    copy = ImageEnhance.Brightness(original.resize((90, 70))).enhance(1.15)
    assert variant_of(pixels(original), pixels(copy))[0] == "same"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mirrored_copy_is_told(seed: int) -> None:
    assert variant_of(pixels(picture(seed)), pixels(ImageOps.mirror(picture(seed))))[0] == "mirrored"


@pytest.mark.parametrize("seed", SEEDS)
def test_bars_are_told(seed: int) -> None:
    assert variant_of(pixels(picture(seed)), pixels(with_bars(picture(seed))))[0] == "letterbox"
    assert variant_of(pixels(with_bars(picture(seed))), pixels(picture(seed)))[0] == "letterbox"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crop_is_told(seed: int) -> None:
    assert variant_of(pixels(picture(seed)), pixels(cropped(picture(seed))))[0] in ("crop", "same")
    assert variant_of(pixels(cropped(picture(seed))), pixels(picture(seed)))[0] in ("crop", "same")


def test_other_pictures_are_no_copies() -> None:
    others = [variant_of(pixels(picture(a)), pixels(picture(b)))[0] for a in SEEDS for b in SEEDS if a < b]
    assert others == [None] * len(others)


def test_flat_pictures_are_like_nothing() -> None:
    black = np.zeros((120, 160, 3), np.uint8)
    assert variant_of(black, black)[0] is None
    assert variant_of(black, pixels(picture(1)))[0] is None


def test_pictures_of_one_pixel_are_compared_too() -> None:
    dot = np.full((1, 1, 3), 200, np.uint8)
    assert variant_of(dot, pixels(picture(1)))[0] is None
