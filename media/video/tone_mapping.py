"""High dynamic range: PQ and HLG pictures in BT.2020 -> 8-bit sRGB. Arithmetic only.

Curves of SMPTE ST 2084 and ITU-R BT.2100; diffuse white is 203 cd/m2 (ITU-R BT.2408).
"""

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..frames import Picture

Transfer = Literal["pq", "hlg"]
_Light = NDArray[np.float32]

_WHITE_NITS = 203.0
_PEAK = 1000.0 / _WHITE_NITS  # what is brighter is shown as this is
_KNEE = 0.75  # of white; from here to the peak, highlights are pressed together
_HLG_GAMMA = 1.2  # of a display of 1000 cd/m2
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_SRGB = np.array(  # linear BT.2020 -> linear BT.709 (ITU-R BT.2087)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def to_sdr(picture: NDArray[np.uint16], transfer: Transfer) -> Picture:
    """picture (H, W, 3) uint16 RGB, full range, BT.2020 primaries -> (H, W, 3) uint8 sRGB."""
    light = _light_of(transfer)[picture]  # 1.0 is white
    if transfer == "hlg":
        light *= _PEAK * np.maximum(light @ _LUMA, 1e-6)[..., None] ** (_HLG_GAMMA - 1)
    brightest = light.max(axis=2, keepdims=True)
    light *= _pressed(brightest) / np.maximum(brightest, 1e-6)
    shown = np.clip(light @ _TO_SRGB.T, 0.0, 1.0)
    picture_shown: Picture = _srgb()[np.rint(shown * 65535).astype(np.uint16)]
    return picture_shown


def _pressed(light: _Light) -> _Light:
    """0.._PEAK -> 0..1: the same up to the knee, smooth beyond it (Moebius)."""
    a = -(_KNEE**2) * (_PEAK - 1) / (_KNEE**2 - 2 * _KNEE + _PEAK)
    b = (_KNEE**2 - 2 * _KNEE * _PEAK + _PEAK) / (_PEAK - 1)
    scale = (b**2 + 2 * b * _KNEE + _KNEE**2) / (b - a)
    bright = np.clip(light, _KNEE, _PEAK)
    return np.where(light <= _KNEE, light, scale * (bright + a) / (bright + b)).astype(np.float32)


@cache
def _light_of(transfer: Transfer) -> _Light:
    """(65536,): light of each value; PQ of the display, 1.0 is white; HLG of the scene, 1.0 is the peak."""
    value = np.linspace(0.0, 1.0, 65536)
    if transfer == "hlg":
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        return np.where(value <= 0.5, value**2 / 3, (np.exp((value - c) / a) + b) / 12).astype(np.float32)
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = value ** (1 / m2)
    nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return (nits / _WHITE_NITS).astype(np.float32)


@cache
def _srgb() -> NDArray[np.uint8]:
    """(65536,): linear light, 1.0 at the end -> 8-bit sRGB."""
    light = np.linspace(0.0, 1.0, 65536)
    value: NDArray[np.float64] = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(value * 255), np.uint8)
