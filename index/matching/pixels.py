"""Are two pictures the same one, mirrored, cropped, or framed by bars? Arithmetic on pixels; knows no files.

Vectors find what looks alike, also two scenes of one place; only pixels tell a copy. Compared is the correlation of
small grey pictures, which neither brightness, contrast nor a codec changes much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Variant = Literal["same", "letterbox", "crop", "mirrored"]
Grey = NDArray[np.float32]  # (H, W) in 0..255

SIDE = 64  # pixels of the compared pictures
COARSE_SIDE = 32
SAME = 0.85  # least correlation of a copy; two frames of one scene, a second apart, mostly stay below
MAYBE = 0.7  # correlation of coarse pictures from which fine ones are asked; 50 crops of real frames had 0.79 and more
BAR_CONTRAST = 6.0  # of 255: a line of a bar is flat
LEAST_BAR = 0.03  # of the height or width, both sides together
CROPS = tuple(np.arange(0.6, 0.97, 0.05))  # share of the side that a crop has kept
BLUR_LEVELS = 8.0  # of 255: added to the spread, so that flat pictures agree with nothing


@dataclass(frozen=True)
class Looks:
    """What a picture is compared by: in grey, as it is and without bars (the same array where it has none)."""

    whole: Grey
    inner: Grey
    small: Grey  # (SIDE, SIDE) of the whole
    small_inner: Grey

    @classmethod
    def of(cls, picture: NDArray[np.uint8]) -> "Looks":
        """picture (H, W, 3) uint8 of any size."""
        whole = _grey(picture)
        inner = _without_bars(whole)
        small = _small(whole)
        return cls(whole, inner, small, small if inner is whole else _small(inner))

    @property
    def has_bars(self) -> bool:
        return self.inner is not self.whole

    def parts(self) -> list[Grey]:
        return [self.whole, self.inner] if self.has_bars else [self.whole]


def variant_of(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Variant | None, float]:
    """a, b (H, W, 3) uint8 of any size -> how b is a copy of a (or a of b), and the correlation in -1..1.

    None when it is no copy that can be told. The plainest explanation that fits is given.
    """
    return variant_among(a, [b])


def variant_among(a: NDArray[np.uint8], others: Sequence[NDArray[np.uint8]]) -> tuple[Variant | None, float]:
    """How one of `others`, neighbouring frames of a film, is a copy of a: as variant_of says; of the first that is."""
    mine, theirs = Looks.of(a), [Looks.of(other) for other in others]
    highest = -1.0
    for variant, agreement in WAYS:
        for other in theirs:
            found = agreement(mine, other)
            if found >= SAME:
                return variant, found
            highest = max(highest, found)
    return None, highest


def _plain(a: Looks, b: Looks) -> float:
    return correlation(a.small, b.small)


def _turned(a: Looks, b: Looks) -> float:
    return correlation(a.small, b.small[:, ::-1])


def _framed(a: Looks, b: Looks) -> float:
    """A picture's own dark edge is no bar: either side may be the one that has bars, or both."""
    if not a.has_bars and not b.has_bars:
        return -1.0
    pairs = ((a.small_inner, b.small_inner), (a.small_inner, b.small), (a.small, b.small_inner))
    return max(correlation(one, other) for one, other in pairs)


def _cropped(a: Looks, b: Looks) -> float:
    """Looked for in coarse pictures first: most that are no crop are so far from it that these tell."""
    cuts = [(part, whole) for one, other in ((a, b), (b, a)) for part in one.parts() for whole in other.parts()]
    coarse = max(_best_crop(part, whole, COARSE_SIDE) for part, whole in cuts)
    return coarse if coarse < MAYBE else max(_best_crop(part, whole, SIDE) for part, whole in cuts)


# The plainest explanation first.
WAYS: tuple[tuple[Variant, Callable[[Looks, Looks], float]], ...] = (
    ("same", _plain),
    ("mirrored", _turned),
    ("letterbox", _framed),
    ("crop", _cropped),
)


def small_grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """picture (H, W, 3) uint8 of any size -> (SIDE, SIDE) float32 in 0..255."""
    return _small(_grey(picture))


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


def _small(grey: NDArray[np.float32], side: int = SIDE) -> NDArray[np.float32]:
    image = Image.fromarray(grey.astype(np.uint8))
    return np.asarray(image.resize((side, side), Image.Resampling.BOX if min(image.size) >= side else 2), np.float32)


def _without_bars(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture without flat lines at its edges, if they are more than LEAST_BAR of a side."""
    rows = np.flatnonzero(grey.std(axis=1) > BAR_CONTRAST)
    columns = np.flatnonzero(grey.std(axis=0) > BAR_CONTRAST)
    if not len(rows) or not len(columns):
        return grey
    inner = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    enough = any(1 - short / long >= LEAST_BAR for short, long in zip(inner.shape, grey.shape, strict=True))
    return inner if enough and min(inner.shape) >= 8 else grey


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of two pictures of one shape, -1..1; near 0 where one of them is flat."""
    x, y = a - a.mean(), b - b.mean()
    return float((x * y).mean() / ((x.std() + BLUR_LEVELS / 4) * (y.std() + BLUR_LEVELS / 4)))


def _best_crop(part: Grey, whole: Grey, side: int) -> float:
    """part, perhaps cut out of `whole`: the highest correlation over sizes and places of the cut."""
    template = _small(part, side)
    return max(_best_place(template, _small(whole, round(side / kept))) for kept in CROPS)


def _best_place(part: Grey, whole: Grey) -> float:
    """The highest correlation of part (P, P) with what is at each place of whole (W, W)."""
    size = part.shape[0]
    covariance = cv2.matchTemplate(whole, part, cv2.TM_CCOEFF) / size**2
    sums, squares = cv2.integral2(whole, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)
    means, mean_squares = (
        (total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]) / size**2
        for total in (sums, squares)
    )
    spread = np.sqrt(np.maximum(mean_squares - means**2, 0))
    return float((covariance / ((spread + BLUR_LEVELS / 4) * (part.std() + BLUR_LEVELS / 4))).max())
