"""media/preprocess.py: any frame becomes S x S pixels, and the three fits do what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_media import picture
from PIL import Image

from vicmae.media.frames import Frames
from vicmae.media.preprocess import to_pixels
from vicmae.media.spec import Fit, InputSpec, Resize

FITS: tuple[Fit, ...] = ("crop", "squash", "pad")
RULES: tuple[Resize, ...] = ("bicubic", "bilinear", "lanczos")


def spec(fit: Fit = "crop", resize: Resize = "bicubic", size: int = 32) -> InputSpec:
    return InputSpec(size=size, patch=8, dim=4, fit=fit, resize=resize)


def frames(*pictures: Image.Image) -> Frames:
    return Frames(np.stack([np.asarray(p) for p in pictures]), np.arange(len(pictures), dtype=np.float64))


def one(image: Image.Image, spec: InputSpec) -> np.ndarray:
    return np.asarray(to_pixels(frames(image), spec)[0], int)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(FITS), st.sampled_from(RULES))
def test_any_size_becomes_a_square(width: int, height: int, fit: Fit, rule: Resize) -> None:
    image = Image.new("RGB", (width, height), (10, 200, 90))
    pixels = to_pixels(frames(image, image), spec(fit, rule))
    assert pixels.shape == (2, 32, 32, 3) and pixels.dtype == np.uint8
    assert (pixels == (10, 200, 90)).all(axis=3).any(axis=(1, 2)).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1), (1, 1), (3, 5000)])
def test_extreme_shapes(fit: Fit, size: tuple[int, int]) -> None:
    assert to_pixels(frames(Image.new("RGB", size, (90, 90, 90))), spec(fit)).shape == (1, 32, 32, 3)


def test_no_frames_give_no_pixels() -> None:
    empty = Frames(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0))
    assert to_pixels(empty, spec()).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("fit", FITS)
def test_a_picture_of_the_right_size_is_left_alone(fit: Fit) -> None:
    image = picture(3, (32, 32))
    assert (one(image, spec(fit)) == np.asarray(image)).all()


def test_crop_keeps_the_middle_of_the_longer_side() -> None:
    wide = Image.new("RGB", (90, 30), "red")
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    for image in (wide, tall):
        pixels = one(image, spec("crop"))
        assert (pixels[4:-4, 4:-4] == (0, 0, 255)).all() and difference(pixels, np.array((0, 0, 255))) < 2


def test_crop_equals_resizing_the_shorter_side_and_cutting() -> None:
    image = picture(5, (320, 200))
    resized = image.resize((round(320 * 32 / 200), 32), Image.Resampling.BICUBIC)
    left = (resized.width - 32) // 2
    expected = np.asarray(resized.crop((left, 0, left + 32, 32)))
    assert difference(one(image, spec("crop")), expected) < 8


def test_squash_keeps_everything() -> None:
    image = Image.new("RGB", (64, 32), "red")
    image.paste((0, 0, 255), (32, 0, 64, 32))
    pixels = one(image, spec("squash"))
    assert (pixels[:, :14] == (255, 0, 0)).all() and (pixels[:, 18:] == (0, 0, 255)).all()


def test_pad_fills_with_the_mean_colour() -> None:
    pixels = one(Image.new("RGB", (64, 32), "red"), spec("pad"))
    mean = [round(v * 255) for v in spec().mean]
    assert (pixels[:8] == mean).all() and (pixels[24:] == mean).all()
    assert (pixels[8:24] == (255, 0, 0)).all()


@pytest.mark.parametrize("rule", RULES)
def test_shrinking_is_antialiased(rule: Resize) -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = one(Image.fromarray(stripes), spec("squash", rule))
    assert abs(pixels[4:-4, 4:-4].mean() - 127.5) < 2 and pixels[4:-4, 4:-4].std() < 2


@pytest.mark.parametrize("rule", RULES)
def test_the_shortcut_for_large_pictures_changes_next_to_nothing(rule: Resize) -> None:
    image = picture(8, (1200, 1200))
    exact = np.asarray(image.resize((32, 32), getattr(Image.Resampling, rule.upper())), int)
    away = np.abs(one(image, spec("crop", rule)) - exact)
    assert away.max() <= 5 and away.mean() < 0.5


def test_frames_do_not_mix() -> None:
    images = [picture(seed) for seed in range(4)]
    together = to_pixels(frames(*images), spec())
    for image, pixels in zip(images, together, strict=True):
        assert (one(image, spec()) == pixels).all()
