"""Two items of a collection: which stretches do they share, by stored vectors, and how surely, by a few frames."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ..catalog.items import Moments
from ..collection import Collection
from ..matching.alignment import LEAST_LIKENESS, Segment, align
from .rerank_clip import looked_at
from .search import side_of, with_chance


def align_items(
    collection: Collection,
    a: str,
    b: str,
    a_window: tuple[float, float | None] = (0.0, None),
    b_window: tuple[float, float | None] = (0.0, None),
    limits: MediaLimits | None = None,
    decoder: Decoder = HERE,
) -> list[Segment]:
    """What the items a and b share, best first; a is the query's side of a Segment. Empty when nothing runs along.

    A window is (start_seconds, end_seconds) of its item, None: to its end. How sure a stretch is, and whether it is
    mirrored, is what the files' pixels say; files that cannot be read say nothing. Raises NotFound, InvalidRequest.
    """
    one, other = collection.get(a), collection.get(b)
    first = part_of(collection.moments_of(one.id), *a_window)
    second = part_of(collection.moments_of(other.id), *b_window)
    collection.index.refresh()
    limits = limits or MediaLimits()
    segments = shared(first, second, collection.index.mean())
    return [looked_at(one.path, other, segment, limits, decoder) for segment in segments]


def shared(a: Moments, b: Moments, mean: NDArray[np.float32]) -> list[Segment]:
    """mean (D,) of frames in general -> the stretches in which a and b look alike, best first; may be none."""
    segments = align(a.vectors @ b.vectors.T, a.vectors @ mean, side_of(a), side_of(b))
    return [with_chance(segment) for segment in segments if segment.likeness >= LEAST_LIKENESS]


def part_of(moments: Moments, start_seconds: float = 0.0, end_seconds: float | None = None) -> Moments:
    """The frames shown from start_seconds on and before end_seconds; at least the one shown at the start."""
    if end_seconds is not None and end_seconds <= start_seconds:
        raise InvalidRequest(f"The end, {end_seconds:g} s, must come after the start, {start_seconds:g} s.")
    starts = moments.start_seconds
    # The frame that is shown at start_seconds begins at or before it.
    first = max(0, int(np.searchsorted(starts, start_seconds + 1e-3, side="right")) - 1)
    last = len(starts) if end_seconds is None else max(first + 1, int(np.searchsorted(starts, end_seconds)))
    part = slice(first, last)
    return replace(moments, **{name: getattr(moments, name)[part] for name in moments.__dataclass_fields__})
