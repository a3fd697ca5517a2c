"""Are two pictures the same one, mirrored, cropped, or framed by bars? Arithmetic on pixels; knows no files.

Vectors find what looks alike, also two scenes of one place; only pixels tell a copy. Compared is the correlation of
small grey pictures, which neither brightness, contrast nor a codec changes much.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Variant = Literal["same", "letterbox", "crop", "mirrored"]

SIDE = 64  # pixels of the compared pictures
SAME = 0.85  # least correlation of a copy; two frames of one scene, a second apart, mostly stay below
BAR_CONTRAST = 6.0  # of 255: a line of a bar is flat
LEAST_BAR = 0.03  # of the height or width, both sides together
CROPS = tuple(np.arange(0.6, 0.97, 0.05))  # share of the side that a crop has kept
BLUR_LEVELS = 8.0  # of 255: added to the spread, so that flat pictures agree with nothing


def variant_of(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Variant | None, float]:
    """a, b (H, W, 3) uint8 of any size -> how b is a copy of a (or a of b), and the correlation in -1..1.

    None when it is no copy that can be told. The plainest explanation that fits is given.
    """
    grey_a, grey_b = _grey(a), _grey(b)
    small_a, small_b = _small(grey_a), _small(grey_b)
    plain = _correlation(small_a, small_b)
    if plain >= SAME:
        return "same", plain
    turned = _correlation(small_a, small_b[:, ::-1])
    if turned >= SAME:
        return "mirrored", turned
    inner_a, inner_b = _without_bars(grey_a), _without_bars(grey_b)
    if inner_a.shape != grey_a.shape or inner_b.shape != grey_b.shape:
        # A picture's own dark edge is no bar: either side may be the one that has bars, or both.
        framed = max(
            _correlation(_small(one), _small(other))
            for one, other in ((inner_a, inner_b), (inner_a, grey_b), (grey_a, inner_b))
        )
        if framed >= SAME:
            return "letterbox", framed
    cropped = max(
        _best_crop(_small(part), whole)
        for parts, wholes in (((grey_a, inner_a), (grey_b, inner_b)), ((grey_b, inner_b), (grey_a, inner_a)))
        for part in parts
        for whole in wholes
    )
    if cropped >= SAME:
        return "crop", cropped
    return None, max(plain, turned, cropped)


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


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of two pictures of one shape, -1..1; near 0 where one of them is flat."""
    x, y = a - a.mean(), b - b.mean()
    return float((x * y).mean() / ((x.std() + BLUR_LEVELS / 4) * (y.std() + BLUR_LEVELS / 4)))


def _best_crop(part: NDArray[np.float32], whole: NDArray[np.float32]) -> float:
    """part (SIDE, SIDE), perhaps cut out of `whole`: the highest correlation over sizes and places of the cut."""
    best = -1.0
    for kept in CROPS:
        side = round(SIDE / kept)
        best = max(best, _best_place(part, _small(whole, side)))
    return best


def _best_place(part: NDArray[np.float32], whole: NDArray[np.float32]) -> float:
    """Normalised cross-correlation of part (P, P) at every place of whole (W, W), by FFT; the highest."""
    size, shape = part.shape[0], whole.shape
    template = part - part.mean()
    places = whole.shape[0] - size + 1
    product = np.fft.irfft2(np.fft.rfft2(whole) * np.conj(np.fft.rfft2(template, shape)), shape)[:places, :places]
    sums, squares = _window_sums(whole, size), _window_sums(whole**2, size)
    count = size * size
    spread = np.sqrt(np.maximum(squares / count - (sums / count) ** 2, 0))
    return float((product / count / ((spread + BLUR_LEVELS / 4) * (template.std() + BLUR_LEVELS / 4))).max())


def _window_sums(picture: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """The sum over every (size, size) window."""
    total = np.pad(picture.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]
    return np.asarray(sums, np.float64)
