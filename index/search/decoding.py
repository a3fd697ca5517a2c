"""A file as pixels for the encoder: a picture, a part of a video, or one moment of it. Decoded once."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaTooLarge
from ...media.frames import Frames
from ...media.preprocess import enough_side, to_pixels
from ...media.reader import MediaInfo, Source
from ...media.spec import InputSpec
from ..matching import SHORT_SIDE
from ..pictures import from_jpeg, to_jpeg
from .regions import Region
from .tools import Pixels, Tools

PICTURE_SIDE = 2 * SHORT_SIDE  # pixels of a single picture's shorter side, below which it is not shrunk: half of it is
# still as large as what is stored


@dataclass(frozen=True)
class Decoded:
    """A file as the encoder wants it: pixels (T, S, S, 3) uint8 of frames shown at seconds (T,) float64.

    picture  (H, W, 3) uint8, the only frame; None where there are more
    jpegs    (T) small pictures of the frames of a clip, if they were to be kept
    """

    info: MediaInfo
    pixels: Pixels
    seconds: NDArray[np.float64]
    picture: NDArray[np.uint8] | None
    jpegs: Sequence[bytes] = ()

    def frames(self, place: int) -> Frames:
        """As frame(), with its second."""
        return Frames(self.frame(place)[None], self.seconds[place : place + 1])

    def frame(self, place: int) -> NDArray[np.uint8]:
        """The small picture (H, W, 3) of the frame at this place, of those that were kept."""
        if self.picture is not None:
            return self.picture
        return from_jpeg(self.jpegs[place])


def decode(
    source: Source,
    spec: InputSpec,
    tools: Tools,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    shorter_side: int | None = None,
    region: Region | None = None,
    keep: bool = False,
) -> Decoded:
    """A picture, or the part of a video from start to end. Raises MediaError, InvalidRequest.

    shorter_side: below which nothing is shrunk while decoding; by default, what the spec needs. keep: small pictures of
    all frames, some 25 KB each
    """
    told: list[MediaInfo] = []

    def on_info(info: MediaInfo) -> None:
        told.append(info)
        last = info.duration_seconds if end_seconds is None else min(end_seconds, info.duration_seconds)
        _check_span(last - start_seconds, tools.max_query_seconds)

    def read() -> Iterator[Frames]:
        found = tools.decoder.read_frames(
            source,
            tools.frames_per_second,
            tools.limits,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            shorter_side=_side_for(shorter_side or enough_side(spec), region),
            on_info=on_info,
        )
        with closing(found):
            for frames in found:
                _check_span(float(frames.seconds[-1]) - start_seconds, tools.max_query_seconds)
                yield frames if region is None else region.cut_from(frames)

    pixels: list[Pixels] = []
    seconds: list[NDArray[np.float64]] = []
    jpegs: list[bytes] = []
    for frames in read():
        pixels.append(to_pixels(frames, spec))
        seconds.append(frames.seconds)
        jpegs += [to_jpeg(each) for each in frames.data] if keep else []
    shown = np.concatenate(seconds)
    picture = frames.data[0] if len(shown) == 1 else None
    return Decoded(told[0], np.concatenate(pixels), shown, picture, jpegs if picture is None else ())


def mirrored(pixels: Pixels) -> Pixels:
    """pixels (N, S, S, 3) with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, :, ::-1])


def decode_moment(source: Source, spec: InputSpec, seconds: float, tools: Tools, region: Region | None) -> Decoded:
    """The one frame shown at that second; a picture is itself at any second. Raises MediaError, InvalidRequest."""
    info = tools.decoder.probe(source, tools.limits)
    if info.kind == "video" and 0 < info.duration_seconds <= seconds:
        raise InvalidRequest(
            f"The start, {seconds:g} s, lies beyond the end of the video, {info.duration_seconds:g} s."
        )
    side = _side_for(picture_side(spec), region)
    frames = tools.decoder.frame_at(source, seconds if info.kind == "video" else 0.0, tools.limits, side)
    frames = frames if region is None else region.cut_from(frames)
    return Decoded(info, to_pixels(frames, spec), frames.seconds, frames.data[0])


def picture_side(spec: InputSpec) -> int:
    """Enough of a single picture for the encoder, and for what is compared of it and of its parts."""
    return max(enough_side(spec), PICTURE_SIDE)


def _side_for(side: int, region: Region | None) -> int:
    """The shorter side of the whole picture with which the region still has `side`."""
    return side if region is None else round(side / region.smaller_share)


def _check_span(span_seconds: float, max_query_seconds: float) -> None:
    if span_seconds > max_query_seconds:
        raise MediaTooLarge(
            f"The clip lasts {span_seconds:.1f} s; a query may last {max_query_seconds:g} s (max_query_seconds). "
            "Choose a part of it with a start and an end (start_seconds, end_seconds).",
            "max_query_seconds",
        )
