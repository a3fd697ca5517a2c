"""A file as a query: the vectors of a picture, of a clip, or of one moment of a film. Searches nothing."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidRequest, MediaTooLarge
from ..export.engine import Engine
from ..media.limits import MediaLimits
from ..media.preprocess import to_pixels
from ..media.reader import frame_at, probe, read_frames
from .reading import informativeness


@dataclass(frozen=True)
class Query:
    """vectors (Q, D) float32, seconds (Q,) float64, informative (Q,) float32 in 0..1, and times taken."""

    target: Literal["frame", "clip"]
    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    timing: dict[str, float]


def embed_query(
    engine: Engine,
    path: Path,
    *,
    target: Literal["frame", "clip"] | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    frames_per_second: float = 2.0,
    max_query_seconds: float = 120.0,
    limits: MediaLimits | None = None,
) -> Query:
    """The file, or the part of it from start_seconds to end_seconds, as a query.

    A picture is looked for as a frame, a video as a clip, unless `target` says otherwise; a frame of a video
    is the one shown at start_seconds. Raises MediaError, InvalidRequest.
    """
    limits = limits or MediaLimits()
    began = perf_counter()
    info = probe(path, limits)
    first = start_seconds or 0.0
    if end_seconds is not None and end_seconds <= first:
        raise InvalidRequest(f"The end, {end_seconds:g} s, must come after the start, {first:g} s.")
    if info.kind == "video" and 0 < info.duration_seconds <= first:
        raise InvalidRequest(f"The start, {first:g} s, lies beyond the end of the video, {info.duration_seconds:g} s.")
    target = target or ("clip" if info.kind == "video" else "frame")
    pixels, seconds = [], []
    if info.kind == "video" and target == "frame":
        frame = frame_at(path, first, limits)
        pixels, seconds = [to_pixels(frame, engine.spec)], [frame.seconds]
    else:
        span = (first, end_seconds) if info.kind == "video" else (0.0, None)
        for frames in read_frames(path, frames_per_second, limits, start_seconds=span[0], end_seconds=span[1]):
            if frames.seconds[-1] - first > max_query_seconds:
                raise MediaTooLarge(
                    f"The clip is longer than {max_query_seconds:g} s, the most that a query may last "
                    "(max_query_seconds). Choose a part of it with a start and an end."
                )
            pixels.append(to_pixels(frames, engine.spec))
            seconds.append(frames.seconds)
    decoded = perf_counter()
    pictures = np.concatenate(pixels)
    vectors = engine.embed(pictures)
    timing = {"decode_ms": _ms(decoded - began), "engine_ms": _ms(perf_counter() - decoded)}
    return Query(target, vectors, np.concatenate(seconds), informativeness(pictures), timing)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
