"""A file as a query: the pixels, then the vectors, of a picture, a clip, or one moment of a film. Searches nothing."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaTooLarge
from ...export.engine import Engine
from ...media.decoding import HERE, Decoder
from ...media.frames import Frames
from ...media.informativeness import informativeness
from ...media.insets import find_inset, glances
from ...media.limits import MediaLimits
from ...media.preprocess import enough_side, to_pixels
from ...media.reader import MediaInfo, Source
from ...media.spec import InputSpec
from .rerank import PICTURE


@dataclass(frozen=True)
class Decoded:
    """A file as the engine wants it: pixels (T, S, S, 3) uint8 of frames shown at seconds (T,) float64.

    picture  (P, P, 3) uint8, the only frame in the finer size that rerank.py compares; None for a clip, and where that
             was not asked for
    inset    (T, S, S, 3) uint8 of the film that runs within the frames (media.insets); None where there is none
    """

    info: MediaInfo
    pixels: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    picture: NDArray[np.uint8] | None
    inset: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Query:
    """vectors (Q, D) float32, seconds (Q,) float64, informative (Q,) float32 in 0..1, and times taken.

    mirrored  (Q, D) float32 of a clip's frames with left and right exchanged; None for a single frame
    end_seconds  when the clip, or the part of it, ends; None where the file does not say
    inset     (Q, D) float32 of the film that runs within a clip's frames; None where there is none
    """

    target: Literal["frame", "clip"]
    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    picture: NDArray[np.uint8] | None
    timing: dict[str, float]
    mirrored: NDArray[np.float32] | None = None
    end_seconds: float | None = None
    inset: NDArray[np.float32] | None = None


def decode(
    source: Source,
    spec: InputSpec,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    frames_per_second: float = 2.0,
    max_query_seconds: float = 120.0,
    limits: MediaLimits,
    decoder: Decoder = HERE,
    finer: InputSpec | None = None,
    look_within: bool = False,
) -> Decoded:
    """A picture, or the part of a video from start to end. Raises MediaError, InvalidRequest.

    finer: of a single frame a picture of this size is made too, from a decoding of its own, so that the pixels are the
    same with and without. look_within: an inset is looked for; where there is one the video is decoded twice.
    """
    told: list[MediaInfo] = []

    def on_info(info: MediaInfo) -> None:
        told.append(info)
        last = info.duration_seconds if end_seconds is None else min(end_seconds, info.duration_seconds)
        _check_span(last - start_seconds, max_query_seconds)

    def read() -> Iterator[Frames]:
        found = decoder.read_frames(
            source,
            frames_per_second,
            limits,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            shorter_side=enough_side(spec),
            on_info=on_info,
        )
        with closing(found):
            for frames in found:
                _check_span(float(frames.seconds[-1]) - start_seconds, max_query_seconds)
                yield frames

    pixels: list[NDArray[np.uint8]] = []
    seconds: list[NDArray[np.float64]] = []
    small: list[NDArray[np.uint8]] = []
    for frames in read():
        pixels.append(to_pixels(frames, spec))
        seconds.append(frames.seconds)
        if look_within:
            small.append(glances(frames))
    shown = np.concatenate(seconds)
    inset = None
    if small and len({glance.shape[1:] for glance in small}) == 1 and (where := find_inset(np.concatenate(small))):
        within = np.concatenate([to_pixels(where.cut_out(frames), spec) for frames in read()])
        inset = within if len(within) == len(shown) else None
    picture = None
    if finer is not None and len(shown) == 1:
        frame = decoder.frame_at(source, float(shown[0]), limits, enough_side(finer))
        picture = to_pixels(frame, finer)[0]
    return Decoded(told[0], np.concatenate(pixels), shown, picture, inset)


def decode_moment(
    source: Source, spec: InputSpec, seconds: float, limits: MediaLimits, decoder: Decoder = HERE
) -> Decoded:
    """The one frame shown at that second; a picture is itself at any second. Raises MediaError, InvalidRequest."""
    info = decoder.probe(source, limits)
    if info.kind == "video" and 0 < info.duration_seconds <= seconds:
        raise InvalidRequest(
            f"The start, {seconds:g} s, lies beyond the end of the video, {info.duration_seconds:g} s."
        )
    side = max(enough_side(spec), enough_side(PICTURE))
    frames = decoder.frame_at(source, seconds if info.kind == "video" else 0.0, limits, side)
    return Decoded(info, to_pixels(frames, spec), frames.seconds, to_pixels(frames, PICTURE)[0])


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
    decoder: Decoder = HERE,
) -> Query:
    """The file, or the part of it from start_seconds to end_seconds, as a query.

    A picture is looked for as a frame, a video as a clip, unless `target` says otherwise; a frame of a video
    is the one shown at start_seconds. Raises MediaError, InvalidRequest.
    """
    limits = limits or MediaLimits()
    began = perf_counter()
    first = start_seconds or 0.0
    if end_seconds is not None and end_seconds <= first:
        raise InvalidRequest(f"The end, {end_seconds:g} s, must come after the start, {first:g} s.")
    if target == "frame":
        decoded = decode_moment(path, engine.spec, first, limits, decoder)
    else:
        decoded = decode(
            path,
            engine.spec,
            start_seconds=first,
            end_seconds=end_seconds,
            frames_per_second=frames_per_second,
            max_query_seconds=max_query_seconds,
            limits=limits,
            decoder=decoder,
            finer=PICTURE,
            look_within=True,
        )
    target = target or ("clip" if decoded.info.kind == "video" else "frame")
    ready = perf_counter()
    vectors = engine.embed(decoded.pixels)
    turned = engine.embed(mirrored(decoded.pixels)) if target == "clip" else None
    inset = None if decoded.inset is None or target != "clip" else engine.embed(decoded.inset)
    timing = {"decode_ms": _ms(ready - began), "engine_ms": _ms(perf_counter() - ready)}
    informative = informativeness(decoded.pixels)
    ends = end_of(decoded.info, end_seconds)
    return Query(target, vectors, decoded.seconds, informative, decoded.picture, timing, turned, ends, inset)


def end_of(info: MediaInfo, end_seconds: float | None) -> float | None:
    """When the part of a video up to end_seconds (None: all) ends; None for a picture or an unknown duration."""
    if info.kind == "image" or info.duration_seconds <= 0:
        return None
    return info.duration_seconds if end_seconds is None else min(end_seconds, info.duration_seconds)


def mirrored(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """pixels (N, S, S, 3) with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _check_span(span_seconds: float, max_query_seconds: float) -> None:
    if span_seconds > max_query_seconds:
        raise MediaTooLarge(
            f"The clip lasts {span_seconds:.1f} s; a query may last {max_query_seconds:g} s (max_query_seconds). "
            "Choose a part of it with a start and an end (start_seconds, end_seconds).",
            "max_query_seconds",
        )


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
