"""vicmae.training.views: which two frames become a pair, and what augmentation may change."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import noise_pixels
from torch import Tensor
from torch.nn import functional

from vicmae.training.views import (
    PAIR_WINDOW_SECONDS,
    Augmentation,
    Draws,
    augment,
    blur,
    crop_and_flip,
    jitter_colour,
    pick_pair,
    two_views,
)

NOTHING = Augmentation(
    scale=(1, 1),
    ratio=(1, 1),
    flip=0,
    colour=0,
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
    grey=0,
    blur=0,
    solarise=0,
)
STRONG = Augmentation()


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def changed(**values: object) -> Augmentation:
    return dataclasses.replace(NOTHING, **values)  # type: ignore[arg-type]


def floats(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@given(st.lists(st.floats(0.001, 0.9), min_size=0, max_size=200), st.floats(0, 100), st.integers(0, 2**32))
def test_a_pair_has_one_frame_from_each_half_of_a_window(gaps: list[float], start: float, seed: int) -> None:
    seconds = start + np.concatenate([[0.0], np.cumsum(gaps)])
    rows = pick_pair(seconds, np.random.default_rng(seed))
    early, late = sorted(rows)
    assert 0 <= early <= late < len(seconds)
    length = min(PAIR_WINDOW_SECONDS, seconds[-1] - seconds[0])
    # A wanted time becomes the nearest frame, which is at most half the widest gap away.
    slack = 0.5 * max(gaps, default=0.0) + 1e-9
    assert seconds[late] - seconds[early] <= length + 2 * slack


@given(st.floats(1, 60), st.floats(0.1, 10), st.integers(0, 2**32))
def test_any_frame_rate_gives_both_halves(fps: float, duration_seconds: float, seed: int) -> None:
    seconds = np.arange(max(2, int(fps * duration_seconds))) / fps
    if seconds[-1] > PAIR_WINDOW_SECONDS:  # then the place of the window is not known from outside
        seconds = seconds[seconds <= PAIR_WINDOW_SECONDS]
    early, late = sorted(pick_pair(seconds, np.random.default_rng(seed)))
    middle = seconds[-1] / 2
    assert seconds[early] <= middle + 0.5 / fps + 1e-9
    assert seconds[late] >= middle - 0.5 / fps - 1e-9


def test_pairs_come_in_both_orders_from_everywhere() -> None:
    seconds = np.arange(300) / 30
    dice = np.random.default_rng(0)
    pairs = np.array([pick_pair(seconds, dice) for _ in range(500)])
    assert 0.4 < (pairs[:, 0] < pairs[:, 1]).mean() < 0.6
    assert pairs.min() < 15 and pairs.max() > 285
    gaps = np.abs(seconds[pairs[:, 0]] - seconds[pairs[:, 1]])
    assert 0.9 < gaps.mean() < 1.25  # the expectation is half the window


def test_one_frame_is_its_own_partner() -> None:
    assert pick_pair(np.zeros(1), np.random.default_rng(0)) == (0, 0)


def test_two_frames_are_the_pair() -> None:
    for seed in range(20):
        assert sorted(pick_pair(np.array([0.0, 9.0]), np.random.default_rng(seed))) == [0, 1]
        assert sorted(pick_pair(np.array([0.0, 1.0]), np.random.default_rng(seed))) == [0, 1]


@given(st.lists(st.floats(0, 30), min_size=1, max_size=40), st.integers(0, 2**32))
def test_the_two_frames_differ_whatever_the_clip(gaps: list[float], seed: int) -> None:
    seconds = np.cumsum([0.0, *gaps])
    first, second = pick_pair(seconds, np.random.default_rng(seed))
    assert first != second and {first, second} <= set(range(len(seconds)))


@given(st.integers(10, 60), st.integers(20, 400), st.integers(0, 2**32))
def test_dense_clips_give_the_frames_that_are_nearest_to_the_wanted_times(fps: int, count: int, seed: int) -> None:
    seconds = np.arange(count) / fps
    dice = np.random.default_rng(seed)
    length = min(PAIR_WINDOW_SECONDS, seconds[-1])
    start = dice.random() * (seconds[-1] - length)
    early, late = start + dice.random(2) * 0.5 * length + np.array([0, 0.5 * length])
    got = np.sort(seconds[list(pick_pair(seconds, np.random.default_rng(seed)))])
    wanted = np.array([early, late])
    # Nearest, which is half a frame away at most; where both are nearest to one frame, one of them takes the next.
    if late - early > 1 / fps:
        assert np.abs(got - wanted).max() <= 0.5 / fps + 1e-9
    else:
        assert np.abs(got - wanted).max() <= 1 / fps + 1e-9


def test_no_augmentation_is_the_picture() -> None:
    pixels = noise_pixels(4)
    got = augment(torch.from_numpy(pixels), 32, NOTHING, draws())
    assert torch.allclose(got, floats(pixels), atol=1e-5)


def test_no_augmentation_at_another_size_is_the_resized_picture() -> None:
    pixels = noise_pixels(4, 64)
    got = augment(torch.from_numpy(pixels), 48, NOTHING, draws())
    expected = functional.interpolate(floats(pixels), (48, 48), mode="bilinear", align_corners=False)
    assert torch.allclose(got, expected, atol=1e-4)


def test_a_flip_is_the_mirrored_picture() -> None:
    pixels = noise_pixels(4)
    got = augment(torch.from_numpy(pixels), 32, changed(flip=1.0), draws())
    assert torch.allclose(got, floats(pixels).flip(3), atol=1e-5)


def test_half_of_the_pictures_are_flipped() -> None:
    pictures = floats(noise_pixels(1)).expand(400, -1, -1, -1)
    got = crop_and_flip(pictures, 32, changed(flip=0.5), draws())
    flipped = (got - pictures.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert 0.4 < flipped.float().mean() < 0.6


@settings(max_examples=20)
@given(st.floats(0.05, 1.0), st.integers(0, 2**31))
def test_a_crop_is_a_part_of_the_picture_with_the_asked_area(area: float, seed: int) -> None:
    axis = torch.linspace(-1, 1, 65)[:-1] + 1 / 64  # the centre of each pixel
    place = torch.stack([axis.expand(64, 64), axis[:, None].expand(64, 64), torch.zeros(64, 64)])
    crop = changed(scale=(area, area), ratio=(3 / 4, 4 / 3))
    got = crop_and_flip(place.expand(8, -1, -1, -1), 16, crop, draws(seed))
    for x, y, _ in got:
        width = float(x[:, -1].mean() - x[:, 0].mean()) / 2 * 16 / 15
        height = float(y[-1].mean() - y[0].mean()) / 2 * 16 / 15
        assert 0 < width <= 1.05 and 0 < height <= 1.05
        assert x.abs().max() <= 1 and y.abs().max() <= 1
        assert abs(width * height - area) < 0.05 or max(width, height) > 0.94  # the longer side ends at the edge
        assert 3 / 4 - 0.1 < width / height < 4 / 3 + 0.1 or max(width, height) > 0.94


def test_colour_at_zero_strength_is_the_picture() -> None:
    pictures = floats(noise_pixels(4))
    assert torch.allclose(jitter_colour(pictures, changed(colour=1.0), draws()), pictures, atol=1e-4)
    assert torch.allclose(jitter_colour(pictures, changed(brightness=0.9, hue=0.5), draws()), pictures, atol=1e-4)


def test_grey_is_the_luma_in_all_channels() -> None:
    pictures = floats(noise_pixels(4))
    got = jitter_colour(pictures, changed(grey=1.0), draws())
    luma = (pictures * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    assert torch.allclose(got, luma.expand(-1, 3, -1, -1), atol=2e-3)


def test_colour_moves_as_asked_and_no_further() -> None:
    pictures = floats(noise_pixels(1)).expand(200, -1, -1, -1) * 0.4 + 0.1
    brighter = jitter_colour(pictures, changed(colour=1.0, brightness=0.4), draws())
    factors = (brighter / pictures).mean(dim=(1, 2, 3))
    assert 0.6 - 1e-3 <= factors.min() < 0.65 and 1.35 < factors.max() <= 1.4 + 1e-3
    contrasted = jitter_colour(pictures, changed(colour=1.0, contrast=0.4), draws())
    assert torch.allclose(contrasted.mean(dim=(1, 2, 3)), pictures.mean(dim=(1, 2, 3)), atol=0.06)
    spread = contrasted.std(dim=(1, 2, 3)) / pictures.std(dim=(1, 2, 3))
    assert spread.min() > 0.55 and spread.max() < 1.45
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    turned = jitter_colour(pictures, changed(colour=1.0, hue=0.1, saturation=0.2), draws())
    assert ((turned - pictures) * luma).sum(dim=1).abs().max() < 0.05  # hue and saturation leave the luma


def test_grey_pictures_stay_grey_under_any_hue() -> None:
    grey = floats(noise_pixels(8))[:, :1].expand(-1, 3, -1, -1)
    got = jitter_colour(grey, changed(colour=1.0, hue=0.5, saturation=0.9), draws())
    assert torch.allclose(got, grey, atol=5e-3)


def test_blur_keeps_the_mean_and_lessens_the_detail() -> None:
    pictures = floats(np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8))
    assert torch.equal(blur(pictures, 0.0, draws()), pictures)
    got = blur(pictures, 1.0, draws())
    assert got.shape == pictures.shape
    assert torch.allclose(got.mean(dim=(2, 3)), pictures.mean(dim=(2, 3)), atol=0.02)
    assert (got.var(dim=(2, 3)) < pictures.var(dim=(2, 3))).all()
    flat = torch.full((2, 3, 16, 16), 0.3)
    assert torch.allclose(blur(flat, 1.0, draws()), flat)


def test_solarise_turns_only_the_bright() -> None:
    pixels = noise_pixels(4)
    got = augment(torch.from_numpy(pixels), 32, changed(solarise=1.0), draws())
    plain = floats(pixels)
    assert torch.allclose(got, torch.where(plain > 0.5, 1 - plain, plain), atol=1e-4)


def test_every_view_is_a_picture_and_differs_from_the_next() -> None:
    pixels = torch.from_numpy(noise_pixels(1)).expand(64, -1, -1, -1)
    got = augment(pixels, 24, STRONG, draws())
    assert got.shape == (64, 3, 24, 24) and got.dtype == torch.float32
    assert got.min() >= 0 and got.max() <= 1 and torch.isfinite(got).all()
    assert len({row.numpy().tobytes() for row in got}) == 64


def test_the_generator_decides_everything() -> None:
    pixels = torch.from_numpy(noise_pixels(8))
    first, again, other = (augment(pixels, 24, STRONG, draws(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("clips", [[], [1, 3], [0, 1, 2, 3]])
def test_two_views_keep_the_order_and_choose_the_augmentation(clips: list[int]) -> None:
    pixels = torch.from_numpy(noise_pixels(8)).view(2, 4, 32, 32, 3)
    is_clip = torch.zeros(4, dtype=torch.bool)
    is_clip[clips] = True
    flip = changed(flip=1.0)
    first, second = two_views(pixels, is_clip, 32, (NOTHING, flip), (flip, NOTHING), torch.Generator())
    for item in range(4):
        a, b = floats(pixels[:, item].numpy())
        expected = (a.flip(2), b) if item in clips else (a, b.flip(2))
        assert torch.allclose(first[item], expected[0], atol=1e-4)
        assert torch.allclose(second[item], expected[1], atol=1e-4)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5, 6, 7], [1, 6], [5, 2, 7], [0, 1], [7]])
def test_a_part_of_a_batch_looks_as_in_the_whole(rows: list[int]) -> None:
    pixels = torch.from_numpy(noise_pixels(16)).view(2, 8, 32, 32, 3)
    is_clip = torch.tensor([False] * 5 + [True] * 3)
    both = (changed(blur=0.5, solarise=0.5, scale=(0.2, 1)), STRONG)
    whole = two_views(pixels, is_clip, 24, both, both, torch.Generator().manual_seed(3))
    part = two_views(pixels[:, rows], is_clip, 24, both, both, torch.Generator().manual_seed(3), torch.tensor(rows))
    for all_of_view, of_view in zip(whole, part, strict=True):
        torch.testing.assert_close(of_view, all_of_view[rows])
