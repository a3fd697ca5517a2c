"""Two items of a collection: which stretches do they share, by stored vectors, and how surely, by a few pictures."""

import numpy as np
from numpy.typing import NDArray

from ...export.calibration import Calibration
from ..catalog import Moments
from ..collection import Collection
from ..matching import Segment, align
from .clips import Looks
from .query import frames_between
from .ranking import item_timeline, with_chance
from .shown import pixels_at
from .tools import Tools


def align_items(
    collection: Collection,
    a: str,
    b: str,
    a_window: tuple[float, float | None] = (0.0, None),
    b_window: tuple[float, float | None] = (0.0, None),
    tools: Tools | None = None,
) -> list[Segment]:
    """What the items a and b share, best first; a is the query's side of a Segment. Empty when nothing runs along.

    A window is (start_seconds, end_seconds) of its item, None: to its end. How sure a stretch is, and whether it is
    mirrored, is what the pictures say; those that cannot be read say nothing. Raises NotFound, InvalidRequest.
    """
    tools = tools or Tools()
    first, second = collection.get(a), collection.get(b)
    a_frames = frames_between(collection.moments_of(first.id), *a_window)
    b_frames = frames_between(collection.moments_of(second.id), *b_window)
    collection.index.refresh()
    looks = Looks(
        collection, lambda seconds: pixels_at(collection, first.id, seconds, tools), a_frames.start_seconds, tools
    )
    segments = shared(a_frames, b_frames, collection.index.mean(), tools.calibration)
    return [looks.verified(second, segment) for segment in segments]


def shared(a: Moments, b: Moments, mean: NDArray[np.float32], calibration: Calibration) -> list[Segment]:
    """mean (D,) of all frames -> the stretches in which a and b look alike, best first; may be none."""
    similarity, background = a.vectors @ b.vectors.T, a.vectors @ mean
    segments = align(similarity, background, item_timeline(a), item_timeline(b), calibration)
    return [with_chance(segment, calibration) for segment in segments if segment.likeness >= calibration.same_footage]
