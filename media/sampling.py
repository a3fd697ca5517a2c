"""Which frames of a video are looked at: arithmetic on seconds. Knows nothing of files, codecs or pixels.

Time from start_seconds on is cut into cells of 1 / frames_per_second; the first frame in each is taken:

    frames   |  .   .   .   .   .   .           .   .   .        any rate, also a varying one
    cells    |         |         |         |         |
    taken    |  ^       ^         ^               ^   ^          at their true seconds

That is `rate`. `keyframes` takes from the frames that can be decoded alone, at most one a cell; `auto` takes the first
frame of every shot too, wherever in its cell it is shown; `shots` takes that one, and a long shot's further frames
LONG_SHOT_SECONDS apart. Where shots begin is told by shots.py.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Sampling = Literal["rate", "keyframes", "shots", "auto"]

LONG_SHOT_SECONDS = 5.0

_TOLERANCE_SECONDS = 1e-6  # stamps are rounded by containers: 0.4999999 belongs to the cell that begins at 0.5


class Timed(Protocol):
    @property
    def seconds(self) -> float: ...


class Marked(Timed, Protocol):
    @property
    def begins_shot(self) -> bool: ...


T = TypeVar("T", bound=Timed)
M = TypeVar("M", bound=Marked)


@dataclass(frozen=True)
class SamplingGrid:
    """The cells of a window, start_seconds <= seconds < end_seconds, each 1 / frames_per_second long.

    least_gap_seconds  the first frame of a shot is only taken so long after the last frame that was
    """

    frames_per_second: float
    start_seconds: float = 0.0
    end_seconds: float = math.inf
    least_gap_seconds: float = 0.0

    def of(self, seconds: float) -> int:
        """The cell that a frame shown at that second belongs to; negative before the window."""
        return math.floor((seconds - self.start_seconds + _TOLERANCE_SECONDS) * self.frames_per_second)

    def is_past(self, seconds: float) -> bool:
        return seconds >= self.end_seconds - _TOLERANCE_SECONDS

    def needed(self, seconds: Sequence[float], last_cell: int) -> tuple[list[int], int]:
        """Of frames shown at `seconds`, ascending: the places of those that `sample` must meet -> (places, last cell).

        last_cell is the last one that frames before these reached, -1 at the beginning. Needed are the first frame of
        every further cell, and the last one before the window, in case there is none within.
        """
        places: list[int] = []
        before = None
        for place, second in enumerate(seconds):
            if self.is_past(second):
                break
            cell = self.of(second)
            if cell < 0:
                before = place
            elif cell > last_cell:
                last_cell = cell
                places.append(place)
        return (places if before is None else [before, *places]), last_cell


def sample(frames: Iterable[T], grid: SamplingGrid, also: Callable[[T], bool] = lambda _: False) -> Iterator[T]:
    """The first frame of each cell and, within the window, those that `also` says, in order; lazily.

    frames are in presentation order. When no frame begins within the window, the one that is shown at
    start_seconds is taken, so whatever has a frame at or before its window gives at least one.
    """
    last_cell, last_seconds, before = -1, -math.inf, None
    for frame in frames:
        if grid.is_past(frame.seconds):
            break
        cell = grid.of(frame.seconds)
        if cell < 0:
            before = frame
        elif cell > last_cell or (also(frame) and frame.seconds >= last_seconds + grid.least_gap_seconds):
            last_cell, last_seconds = cell, frame.seconds
            yield frame
    if last_cell < 0 and before is not None:
        yield before


def sample_with_cuts(frames: Iterable[M], grid: SamplingGrid) -> Iterator[M]:
    """What `sample` takes, and the first frame of every shot within the window."""
    return sample(frames, grid, also=lambda frame: frame.begins_shot)


def sample_shots(frames: Iterable[M], grid: SamplingGrid) -> Iterator[M]:
    """The first frame of the window and of every shot in it, and of a long shot one every LONG_SHOT_SECONDS."""
    last_seconds, before = -math.inf, None
    step_seconds = max(LONG_SHOT_SECONDS, grid.least_gap_seconds)
    for frame in frames:
        if grid.is_past(frame.seconds):
            break
        if grid.of(frame.seconds) < 0:
            before = frame
        elif frame.seconds >= last_seconds + (
            grid.least_gap_seconds if frame.begins_shot else step_seconds - _TOLERANCE_SECONDS
        ):
            last_seconds = frame.seconds
            yield frame
    if last_seconds < 0 and before is not None:
        yield before


def shown_at(frames: Iterable[T], seconds: float) -> T | None:
    """The frame that is on the screen at that second: the last one not after it, else the first of all."""
    shown = None
    for frame in frames:
        if shown is not None and frame.seconds > seconds + _TOLERANCE_SECONDS:
            break
        shown = frame
    return shown


def sample_ends(seconds: NDArray[np.float64], duration_seconds: float) -> NDArray[np.float64]:
    """seconds (T,) ascending -> (T,) float64: each sample lasts until the next, the last until the end."""
    if not len(seconds):
        return np.zeros(0, np.float64)
    return np.append(seconds[1:], max(duration_seconds, float(seconds[-1]))).astype(np.float64)
