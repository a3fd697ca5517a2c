"""The one door for any file: bytes -> what it is, and its frames. The content decides, never the name.

Every file ends in frames or in a MediaError with a sentence; nothing else comes out of a bad file. Knows
nothing of models: how a frame becomes an encoder's input is in preprocess.py.
"""

import io
import math
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import BinaryIO, TypedDict

import numpy as np

from ..errors import CorruptMedia, InvalidRequest, NotFound, UnsupportedMedia
from .frames import Frames, Picture, TimedFrame
from .images import ImageMedium
from .info import SNIFF_BYTES, Kind, MediaInfo, Medium, sniff_image, sniff_raw
from .limits import MediaLimits
from .raw import RawMedium, is_raw_tiff
from .sampling import Sampling, SamplingGrid, sample, sample_shots, sample_with_cuts, shown_at
from .shots import mark_cuts
from .unsupported import unsupported_format
from .video import VideoMedium

__all__ = ["MEDIA_SUFFIXES", "FrameOptions", "Kind", "MediaInfo", "Source", "frame_at", "probe", "read_frames"]

Source = Path | bytes

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .tif .tiff .bmp .heic .heif .hif .avif "
    ".jp2 .j2k .ppm .pgm .pbm .pnm .insp .dng .cr2 .cr3 .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .pef "
    ".srw .rwl .3fr .x3f .mrw .erf .mef .mos .iiq .kdc .dcr".split()
)
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .mkv .webm .avi .divx .mpg .mpeg .mpe .m2v .vob .ts .mts .m2ts .wmv .asf .flv .f4v "
    ".3gp .3g2 .ogv .ogm .mxf .dv .insv .lrv .m2t .rm .rmvb".split()
)
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
"""Lower-case suffixes of files that are pictures and videos for sure; what each is, its content decides."""

_MAX_CHUNK_BYTES = 96 * 2**20
_MAX_CHUNK_SECONDS = 5.0  # what is there by then does not wait for the rest
_DEFAULT_LIMITS = MediaLimits()


def probe(source: Source, limits: MediaLimits = _DEFAULT_LIMITS) -> MediaInfo:
    """What a file is, from its header and, for a video, its first frame.

    Raises UnsupportedMedia, CorruptMedia, MediaTooLarge; NotFound when there is no such file. A picture that
    is damaged behind its header passes here and is refused by read_frames.
    """
    with _opened(source, limits) as medium:
        return medium.info


class FrameOptions(TypedDict, total=False):
    """What read_frames takes by name, here and of every Decoder (decoding.py); what is left out is as there."""

    start_seconds: float
    end_seconds: float | None
    chunk: int
    shorter_side: int | None
    sampling: Sampling
    on_info: Callable[[MediaInfo], None] | None


def read_frames(
    source: Source,
    frames_per_second: float,
    limits: MediaLimits = _DEFAULT_LIMITS,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    chunk: int = 16,
    shorter_side: int | None = None,
    hardware: bool = False,
    sampling: Sampling = "rate",
    on_info: Callable[[MediaInfo], None] | None = None,
) -> Generator[Frames, None, None]:
    """Sampled frames in chunks of at most `chunk`, fewer where they are large or slow; a picture is one frame at 0.0.

    With shorter_side, pictures larger than they need to be may come smaller, but with no side below it. With
    hardware, a video decoder of the machine's graphics processor does the work where it can. on_info is told what
    probe would say, before the first frame comes; what it raises ends the reading.

    Takes the first frame of every 1 / frames_per_second seconds in start_seconds <= seconds < end_seconds
    (sampling.py draws it, and what the other kinds of sampling take), with its true time from the start of the file.
    At least one frame comes, or an error: those of probe, and InvalidRequest for a part that is empty or begins
    after the end.
    """
    end = math.inf if end_seconds is None else end_seconds
    if not (frames_per_second > 0 and math.isfinite(frames_per_second) and chunk > 0):
        raise InvalidRequest(f"frames per second must be a positive number, got {frames_per_second}.")
    if not 0 <= start_seconds < end:
        raise InvalidRequest(
            f"The part from {start_seconds} to {end_seconds} seconds is empty: "
            f"give a start of 0 or more and an end after it."
        )
    with _opened(source, limits, shorter_side, hardware) as medium:
        if on_info is not None:
            on_info(medium.info)
        if medium.duration_seconds is None:
            start_seconds, end = 0.0, math.inf
        elif start_seconds > 0 and start_seconds > medium.info.duration_seconds:
            raise InvalidRequest(
                f"The part begins at {start_seconds} seconds, but the video lasts "
                f"{medium.info.duration_seconds:.2f} seconds: give an earlier start."
            )
        length = min(end, medium.duration_seconds or 0.0) - start_seconds
        limits.check_duration(length)
        if sampling in ("rate", "auto"):
            limits.check_frames(math.floor(max(length, 0.0) * frames_per_second))
        # However many shots there are, their first frames are at most half of max_frames.
        grid = SamplingGrid(frames_per_second, start_seconds, end, max(length, 0.0) * 2 / limits.max_frames)
        came = False
        for frames in _chunks(_chosen(medium, sampling, grid), chunk, limits):
            limits.check_duration(float(frames.seconds[-1]) - start_seconds)
            came = True
            yield replace(frames, incomplete=medium.incomplete)
        if not came:
            raise _nothing_decoded(medium)


def frame_at(
    source: Source, seconds: float, limits: MediaLimits = _DEFAULT_LIMITS, shorter_side: int | None = None
) -> Frames:
    """The one frame (T = 1) that is on the screen at that second; after the end, the last one. Seeks.

    shorter_side as in read_frames.
    """
    with _opened(source, limits, shorter_side) as medium:
        shown = shown_at(medium.shown(max(seconds, 0.0)), seconds)
        if shown is None:
            raise _nothing_decoded(medium)
        return replace(_frames([shown.render()], [shown.seconds]), incomplete=medium.incomplete)


def _chosen(medium: Medium, sampling: Sampling, grid: SamplingGrid) -> Iterator[TimedFrame]:
    match sampling:
        case "rate":
            yield from sample(medium.frames_for(grid), grid)
        case "keyframes":
            yield from sample(medium.key_frames(grid.start_seconds), grid)
        case "shots":
            found = sample_shots(mark_cuts(medium.shown(grid.start_seconds)), grid)
            yield from (marked.frame for marked in found)
        case "auto":
            found = sample_with_cuts(mark_cuts(medium.shown(grid.start_seconds)), grid)
            yield from (marked.frame for marked in found)


@contextmanager
def _opened(
    source: Source, limits: MediaLimits, shorter_side: int | None = None, hardware: bool = False
) -> Iterator[Medium]:
    with _file(source, limits) as file:
        head = file.read(SNIFF_BYTES)
        file.seek(0)
        if not head:
            raise CorruptMedia("The file is empty: 0 bytes. Send it again from its source.")
        refused = unsupported_format(head)
        if refused:
            raise UnsupportedMedia(
                f"This format is not supported: {refused}. Convert the file, for example to JPEG or H.264 in MP4."
            )
        name = sniff_image(head)
        if sniff_raw(head) or (name == "TIFF" and is_raw_tiff(file)):
            yield RawMedium(file, sniff_raw(head) or "DNG", limits, shorter_side)
        elif name:
            yield ImageMedium(file, name, limits, shorter_side)
        else:
            with closing(VideoMedium(file, head, limits, shorter_side, hardware)) as film:
                yield film


@contextmanager
def _file(source: Source, limits: MediaLimits) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        limits.check_bytes(len(source))
        yield io.BytesIO(source)
        return
    try:
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedMedia("This is not a file but a folder or a device. Name a picture or a video.")
        file = source.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {source}.") from error
    except (OSError, ValueError) as error:
        raise CorruptMedia(f"The file cannot be opened: {getattr(error, 'strerror', error)}.") from error
    with file:
        yield file


def _chunks(chosen: Iterable[TimedFrame], chunk: int, limits: MediaLimits) -> Iterator[Frames]:
    pictures: list[Picture] = []
    seconds: list[float] = []
    count = 0
    began = monotonic()
    for shown in chosen:
        count += 1
        limits.check_frames(count)
        picture = shown.render()
        room = max(1, min(chunk, _MAX_CHUNK_BYTES // picture.nbytes))
        late = monotonic() - began > _MAX_CHUNK_SECONDS
        if pictures and (len(pictures) >= room or picture.shape != pictures[0].shape or late):
            yield _frames(pictures, seconds)
            pictures, seconds = [], []
            began = monotonic()
        pictures.append(picture)
        seconds.append(shown.seconds)
    if pictures:
        yield _frames(pictures, seconds)


def _frames(pictures: list[Picture], seconds: list[float]) -> Frames:
    return Frames(np.stack(pictures), np.array(seconds, np.float64))


def _nothing_decoded(medium: Medium) -> CorruptMedia:
    """Raises itself what `info` has to say, if that is more."""
    _ = medium.info
    return CorruptMedia("Not one frame of this file can be decoded. Send it again from its source.")
