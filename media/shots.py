"""Cuts: the frames of a film with which another shot begins, told from tiny pictures. Knows no files and no models.

A frame begins a shot when it differs far more from the frame before than that one's neighbours did from each other,
and what follows does not go back: a flash is no cut. Dissolves are not seen; a fade through black is, where it ends.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .frames import Picture, TimedFrame

SMALL_SIDE = 24
LEAST_CHANGE = 0.12  # of the range of colours: measured by benchmarks/shots.py
TIMES_USUAL = 4.0  # so many times the change that is usual around: a fast pan changes every frame
USUAL_FRAMES = 6  # over which the usual change is taken
SHORTEST_SHOT_SECONDS = 0.2

Small = NDArray[np.float32]  # (GLANCE_SIDE, GLANCE_SIDE, 3) in 0..1


@dataclass(frozen=True)
class Marked:
    """A frame, and whether a shot begins with it. The first frame of all begins one."""

    frame: TimedFrame
    begins_shot: bool

    @property
    def seconds(self) -> float:
        return self.frame.seconds


def mark_cuts(frames: Iterable[TimedFrame]) -> Iterator[Marked]:
    """Every frame in order, one behind: the next one tells whether a change was only a flash."""
    usual: list[float] = []
    cut_seconds = 0.0
    previous: Small | None = None  # the frame before, flashes left out
    waiting: tuple[TimedFrame, Small] | None = None
    for frame in chain(frames, [None]):
        seen = None if frame is None else downscaled(frame.render())
        if waiting is not None:
            shown, small = waiting
            change = 1.0 if previous is None else difference(previous, small)
            differs = previous is None or _is_cut(change, usual)
            stays = previous is None or seen is None or _is_cut(difference(previous, seen), usual)
            begins = previous is None or (differs and stays and shown.seconds - cut_seconds >= SHORTEST_SHOT_SECONDS)
            yield Marked(shown, begins)
            if begins:
                cut_seconds, usual = shown.seconds, []
            elif stays or not differs:
                usual = [*usual, change][-USUAL_FRAMES:]
            if stays or not differs:
                previous = small
        if frame is not None and seen is not None:
            waiting = frame, seen


def downscaled(picture: Picture) -> Small:
    """picture (H, W, 3) uint8 -> a tiny one, in which neither noise nor a small thing that moves counts."""
    small = Image.fromarray(picture).resize((SMALL_SIDE, SMALL_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small, np.float32) / np.float32(255)


def difference(one: Small, other: Small) -> float:
    """0..1: the mean difference of the two pictures."""
    return float(np.abs(one - other).mean())


def _is_cut(change: float, usual: list[float]) -> bool:
    return change >= LEAST_CHANGE and change >= TIMES_USUAL * (sum(usual) / len(usual) if usual else 0.0)
