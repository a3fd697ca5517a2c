"""Clips and pictures as fine-tuning sees them: which seconds, one augmentation for all frames of a clip, test views.

RandAugment, random resized crop and random erasing are timm's. Everything random follows from a seed that is given.
Files, batches and networks are not known here.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform
from torch import Tensor

from ...media.frames import Frames
from ...media.preprocess import to_pixels
from ...media.spec import InputSpec
from .recipe import ImageTuning, VideoTuning

Transform = Callable[[Image.Image], Tensor]


def clip_seconds(recipe: ImageTuning, duration: float, place: float, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which seconds (T,) of a video of `duration` seconds make a clip; `place` and `draws` (T,) are from 0 to 1.

    window: frames a stride apart, their start at `place` between the first and the last possible one; what would lie
    after the end shows the last frame.
    spread: one frame in each of T equal parts of the video, at its place in `draws`.
    A picture of a video is what it shows at its start.
    """
    if not isinstance(recipe, VideoTuning):
        return np.zeros(1)
    steps = np.arange(recipe.frames)
    if recipe.sampling == "spread":
        return np.asarray((steps + draws) * duration / recipe.frames, np.float64)
    start = place * max(0.0, duration - recipe.frames * recipe.stride_seconds)
    return np.asarray(np.minimum(start + steps * recipe.stride_seconds, duration), np.float64)


def clips_of_test(recipe: ImageTuning, duration: float) -> list[NDArray[np.float64]]:
    """The clips of a test: `test_clips` windows evenly from start to end, or as many evenly shifted spreads."""
    clips = recipe.test_clips if isinstance(recipe, VideoTuning) else 1
    frames = recipe.frames if isinstance(recipe, VideoTuning) else 1
    places = [0.5] if clips == 1 else [i / (clips - 1) for i in range(clips)]
    shifts = [np.full(frames, (i + 0.5) / clips) for i in range(clips)]
    return [clip_seconds(recipe, duration, place, shift) for place, shift in zip(places, shifts, strict=True)]


def training_transform(recipe: ImageTuning, spec: InputSpec) -> Transform:
    """timm's training transform: crop, flip, RandAugment, normalisation, erasing: image -> (3, S, S) float."""
    transform: Transform = create_transform(
        input_size=spec.size,
        is_training=True,
        scale=recipe.scale,
        ratio=recipe.ratio,
        hflip=recipe.flip,
        color_jitter=None,
        auto_augment=recipe.rand_augment or None,
        interpolation=spec.resize,
        re_prob=recipe.erasing,
        re_mode="pixel",
        mean=spec.mean,
        std=spec.std,
    )
    return transform


def augment(frames: NDArray[np.uint8], transform: Transform, seed: int) -> Tensor:
    """frames (T, H, W, 3) -> (T, 3, S, S): every frame with the same draws, so that nothing moves but the scene."""
    pictures = []
    for frame in frames:
        seed_all(seed)
        pictures.append(transform(Image.fromarray(frame)))
    return torch.stack(pictures)


def seed_all(seed: int) -> None:
    """Sets the three generators that timm's transforms draw from, in this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def seed_of(*numbers: int) -> int:
    """A seed that follows from several numbers, and differs when one of them does."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def crops_of_test(frames: NDArray[np.uint8], spec: InputSpec, share: float, crops: int) -> NDArray[np.uint8]:
    """frames (T, H, W, 3) -> pixels (crops, T, S, S, 3).

    One crop: the square picture that the spec's fit makes, S / share pixels a side, of which the middle is kept.
    Several: the shorter side is S, and the crops stand evenly along the longer one.
    """
    size = spec.size
    times = np.zeros(len(frames))
    if crops == 1:
        larger = round(size / share)
        square = to_pixels(Frames(frames, times), replace(spec, size=larger, patch=larger))
        edge = (larger - size) // 2
        return square[None, :, edge : edge + size, edge : edge + size]
    height, width = frames.shape[1:3]
    side = min(height, width)
    views = []
    for i in range(crops):
        top, left = (round((full - side) * i / (crops - 1)) for full in (height, width))
        square = frames[:, top : top + side, left : left + side]
        views.append(to_pixels(Frames(np.ascontiguousarray(square), times), replace(spec, patch=size)))
    return np.stack(views)


def filled(frames: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """A picture among clips, (1, H, W, 3), stands still: (count, H, W, 3). Clips stay as they are."""
    return frames if len(frames) == count else np.repeat(frames[:1], count, axis=0)
