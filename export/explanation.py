"""Why two pictures are alike: which parts of one have a counterpart in the other, as numbers and as heat maps.

Every patch is looked up among the patches of the other picture, wherever there, and glows as much as the best one
agrees. What the encoder says of a place in any picture at all is taken off first: without that everything agrees with
everything. Knows no collections and no HTTP.
"""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..media.frames import Frames, Picture
from ..media.preprocess import to_pixels
from ..media.spec import InputSpec
from .engine import Engine

SHOWN_SIDE = 384
BACKGROUND_PICTURES = 8
COLD, HOT = np.array([20.0, 16.0, 60.0]), np.array([255.0, 214.0, 70.0])
DARK, BRIGHT = 0.4, 0.95  # agreement that is shown cold and hot: patches of unlike pictures stay below, of copies above
VEIL = 0.62  # of the heat over the picture, which itself is grey there


@dataclass(frozen=True)
class Side:
    """One of the two pictures.

    grid     (G, G) float32 in 0..1: how well each patch is found in the other picture
    picture  (H, W, 3) uint8, what the encoder saw of it, larger
    """

    grid: NDArray[np.float32]
    picture: Picture

    def overlay(self) -> Picture:
        """(H, W, 3) uint8: the picture in grey under its heat."""
        height, width = self.picture.shape[:2]
        scaled = np.clip((self.grid - DARK) / (BRIGHT - DARK), 0, 1)
        heat = Image.fromarray(np.uint8(scaled * 255)).resize((width, height), Image.Resampling.BICUBIC)
        warmth = np.asarray(heat, np.float32)[..., None] / 255
        grey = self.picture.mean(axis=2, keepdims=True)
        glow = COLD + (HOT - COLD) * warmth
        return np.asarray((1 - VEIL) * grey + VEIL * glow, np.uint8)


@dataclass(frozen=True)
class Explanation:
    """score: the cosine of the two vectors."""

    score: float
    query: Side
    hit: Side


def explain(engine: Engine, query: Frames, hit: Frames) -> Explanation:
    """query and hit (T, H, W, 3), the first frame of each. Raises InvalidRequest when the model gives no patches."""
    spec = engine.spec
    both = [Frames(side.data[:1], side.seconds[:1]) for side in (query, hit)]
    pixels = np.concatenate([*(to_pixels(side, spec) for side in both), _background(spec)])
    vectors, patches = engine.embed_with_patches(pixels)
    tokens = patches - patches[2:].mean(axis=0)
    tokens /= np.maximum(np.linalg.norm(tokens, axis=2, keepdims=True), 1e-6)
    agreement = np.clip(tokens[0] @ tokens[1].T, 0, 1)
    grids = [agreement.max(axis=axis).reshape(spec.grid, spec.grid) for axis in (1, 0)]
    sides = [Side(grid, _as_seen(side, spec)) for grid, side in zip(grids, both, strict=True)]
    return Explanation(float(np.clip(vectors[0] @ vectors[1], -1, 1)), *sides)


def png(picture: Picture) -> bytes:
    """picture (H, W, 3) uint8 -> a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def side_by_side(explanation: Explanation, gap: int = 12) -> Picture:
    """Query above hit, each with its heat map to the right: (H, W, 3) uint8 on white."""
    rows = [np.concatenate([side.picture, side.overlay()], axis=1) for side in (explanation.query, explanation.hit)]
    sheet = np.full((sum(len(row) for row in rows) + gap, max(row.shape[1] for row in rows), 3), 255, np.uint8)
    sheet[: len(rows[0]), : rows[0].shape[1]] = rows[0]
    sheet[len(rows[0]) + gap :, : rows[1].shape[1]] = rows[1]
    return sheet


def _as_seen(frames: Frames, spec: InputSpec) -> Picture:
    """What the encoder gets of the frame, larger and, where it is squashed, in its own shape: (H, W, 3) uint8."""
    large = np.asarray(to_pixels(frames, replace(spec, size=SHOWN_SIDE, patch=SHOWN_SIDE))[0], np.uint8)
    if spec.fit != "squash":
        return large
    height, width = frames.data.shape[1:3]
    shrink = SHOWN_SIDE / max(height, width)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return np.asarray(Image.fromarray(large).resize(size, Image.Resampling.BICUBIC))


def _background(spec: InputSpec) -> NDArray[np.uint8]:
    """(N, S, S, 3) uint8: soft colours from a seed, pictures of nothing."""
    dice = np.random.default_rng(0)
    coarse = dice.integers(0, 256, (BACKGROUND_PICTURES, 6, 6, 3), dtype=np.uint8)
    size = (spec.size, spec.size)
    return np.stack([np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BICUBIC)) for c in coarse])
