"""Edits of the pixels where they stand: compression, colours, sharpness, light. (H, W, 3) uint8 RGB.

The arguments of every edit are the same: the picture, the dice, and other pictures, which these edits do not need.
"""

import cv2
import numpy as np
from numpy.random import Generator

from ..frames import Picture
from .arrays import Others, compressed, rounded, scale_of


def jpeg20(picture: Picture, dice: Generator, others: Others) -> Picture:
    return compressed(picture, 20)


def colours(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Another hue (up to 18 degrees), saturation, contrast, brightness and white balance, as filters of apps do."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + dice.uniform(3, 9) * dice.choice((-1, 1))) % 180  # OpenCV counts half degrees
    hsv[..., 1] *= dice.choice((dice.uniform(0.4, 0.7), dice.uniform(1.4, 2.0)))
    turned = cv2.cvtColor(rounded(hsv), cv2.COLOR_HSV2RGB).astype(np.float32)
    contrast, brightness = dice.uniform(0.7, 1.4), dice.uniform(-30, 30)
    balance = dice.uniform(0.85, 1.15, size=3)
    return rounded(((turned - 128) * contrast + 128 + brightness) * balance)


def grey(picture: Picture, dice: Generator, others: Others) -> Picture:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)  # type: ignore[no-any-return]


def blur(picture: Picture, dice: Generator, others: Others) -> Picture:
    """Gaussian, of standard deviation 2.5 for a short side of 128 pixels."""
    return cv2.GaussianBlur(picture, (0, 0), 2.5 * scale_of(picture))  # type: ignore[no-any-return]


def low_resolution(picture: Picture, dice: Generator, others: Others) -> Picture:
    """A third of the pixels a side and JPEG 40, as a messenger's preview that somebody saved."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(8, width // 3), max(8, height // 3)), interpolation=cv2.INTER_AREA)
    return compressed(small, 40)


def low_light(picture: Picture, dice: Generator, others: Others) -> Picture:
    """An eighth to a quarter of the light, counted as photons, then lifted again: dark, noisy, pale, a little warm."""
    light = (picture / 255.0) ** 2.2 * dice.uniform(0.12, 0.25)
    photons = dice.poisson(light * 400) / 400 + dice.normal(0, 0.004, picture.shape)
    lifted = np.clip(photons * dice.uniform(1.2, 2.0), 0, 1) ** (1 / 2.2)
    pale = 0.7 * lifted + 0.3 * lifted.mean(axis=2, keepdims=True)
    return compressed(rounded(255 * pale * np.array((1.05, 1.0, 0.85))), 70)


def moire(picture: Picture, dice: Generator, others: Others) -> Picture:
    """The beat of a screen's raster with a sensor's: two waves across the picture, another phase in each colour."""
    height, width = picture.shape[:2]
    down, right = np.mgrid[:height, :width] / scale_of(picture)
    lit = picture.astype(np.float32)
    for _ in range(2):
        angle, period = dice.uniform(0, np.pi), dice.uniform(3.0, 9.0)
        bend = 6 * np.sin(down / dice.uniform(25, 60)) + 6 * np.sin(right / dice.uniform(25, 60))
        place = 2 * np.pi * (right * np.cos(angle) + down * np.sin(angle) + bend) / period
        phases = dice.uniform(0, 2 * np.pi) + np.array((0.0, 0.9, 1.8))
        lit *= 1 + 0.15 * np.sin(place[..., None] + phases)
    return rounded(lit)
