"""Frames: decoded pictures with the second at which each is shown. Knows nothing of files or models."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB, upright


@dataclass(frozen=True)
class Frames:
    """Upright RGB pictures and their presentation times.

    data     (T, H, W, 3) uint8, upright (EXIF and display rotation applied)
    seconds  (T,) float64, from the start of the file, ascending; an image is T = 1 at 0.0
    incomplete  whether the file ended early or was broken, as far as it was read
    """

    data: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    incomplete: bool = False

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[3] != 3 or self.data.dtype != np.uint8:
            raise ValueError(f"data must be (T, H, W, 3) uint8, got {self.data.shape} {self.data.dtype}")
        if self.seconds.shape != (len(self.data),) or self.seconds.dtype != np.float64:
            raise ValueError(
                f"seconds must be ({len(self.data)},) float64, got {self.seconds.shape} {self.seconds.dtype}"
            )

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        span = f"{self.seconds[0]:.3f}..{self.seconds[-1]:.3f} s" if len(self) else "empty"
        return f"Frames({'x'.join(map(str, self.data.shape))} uint8, {span})"


@dataclass(frozen=True)
class TimedFrame:
    """A decoded picture that is not RGB yet: most are passed over, and only the chosen ones pay for `render`.

    seconds  presentation time from the start of the file
    render   () -> Picture; to be called while the file is open
    is_key   whether it can be decoded without any other
    """

    seconds: float
    render: Callable[[], Picture]
    is_key: bool = True
