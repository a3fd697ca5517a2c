"""What is known of a file before its frames are read, and how a file is told apart by its first bytes.

Names and suffixes say nothing here: a JPEG may well be called photo.heic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from .frames import TimedFrame
from .sampling import SamplingGrid

Kind = Literal["image", "video"]

SNIFF_BYTES = 600  # three packets of an MPEG transport stream


@dataclass(frozen=True)
class MediaInfo:
    """kind             an animation of more than one frame is a video, whatever its format
    width, height    as a person sees it: after rotation
    duration_seconds 0.0 for an image
    codec            "jpeg", "png", "h264", "hevc", "av1", ...
    mime             "image/jpeg", "video/mp4", ...
    """

    kind: Kind
    width: int
    height: int
    duration_seconds: float
    codec: str
    mime: str


class Medium(Protocol):
    """An open file, picture or video."""

    @property
    def info(self) -> MediaInfo:
        """Of a film it takes the first frame to tell. Raises CorruptMedia where there is none."""

    @property
    def duration_seconds(self) -> float | None:
        """Of a film or an animation, by its header; None for a picture."""

    @property
    def incomplete(self) -> bool:
        """Whether the file was found to end early or to be broken, as far as it was read."""

    def shown(self, start_seconds: float) -> Iterator[TimedFrame]:
        """Frames in presentation order, beginning at or before start_seconds where there is one."""

    def frames_for(self, grid: SamplingGrid) -> Iterator[TimedFrame]:
        """Some of them, in order: at least those that sampling.sample takes for these cells."""

    def key_frames(self, start_seconds: float) -> Iterator[TimedFrame]:
        """Those that can be decoded without any other, in order, beginning like `shown`."""


_IMAGES = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("WebP", rb"RIFF....WEBP"),
    ("TIFF", rb"II[*+]\x00|MM\x00[*+]"),
    ("BMP", rb"BM....\x00\x00\x00\x00"),
    ("HEIC", rb"....ftyp(heic|heix|heim|heis|hevc|hevx|hevm|hevs|mif1|msf1)"),
    ("AVIF", rb"....ftyp(avif|avis)"),
    ("JPEG 2000", rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("PNM", rb"P[1-6]\s+(#|\d+\s+(#|\d+\s))"),
)
_VIDEOS = (
    ("MP4", rb"....(ftyp|moov|mdat|free|skip|wide|pnot)"),
    ("Matroska", rb"\x1a\x45\xdf\xa3"),
    ("AVI", rb"RIFF....AVI "),
    ("Flash video", rb"FLV\x01"),
    ("Windows Media", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("Ogg", rb"OggS"),
    ("MPEG", rb"\x00\x00\x01[\xb3\xba]"),
    ("MPEG-TS", rb"\x47.{187}\x47.{187}\x47|.{4}\x47.{191}\x47.{191}\x47"),
    ("MXF", rb"\x06\x0e\x2b\x34\x02\x05\x01\x01"),
    ("RealMedia", rb"\.RMF\x00\x00\x00"),
    ("DV", rb"\x1f\x07\x00[\x3f\xbf]"),
)
_RAWS = (
    ("CR3", rb"....ftypcrx "),
    ("CR2", rb"II\*\x00....CR\x02"),
    ("RAF", rb"FUJIFILMCCD-RAW"),
    ("ORF", rb"IIR[OS]\x08\x00|MMOR\x00"),
    ("RW2", rb"IIU\x00"),
    ("X3F", rb"FOVb"),
    ("MRW", rb"\x00MRM"),
)


def sniff_image(head: bytes) -> str | None:
    """The first bytes of a file -> the name of the picture format they announce."""
    return match_mark(_IMAGES, head)


def sniff_raw(head: bytes) -> str | None:
    """The first bytes of a file -> the name of the camera RAW format they announce; others begin like a TIFF."""
    return match_mark(_RAWS, head)


def is_media(head: bytes) -> bool:
    """Whether the first SNIFF_BYTES announce a picture or a video."""
    return bool(sniff_raw(head) or sniff_image(head) or sniff_video(head))


def sniff_video(head: bytes) -> str | None:
    """The first bytes of a file -> the name of the video container they announce; not all have a mark."""
    return match_mark(_VIDEOS, head)


def match_mark(marks: tuple[tuple[str, bytes], ...], head: bytes) -> str | None:
    """The name beside the first of the marks (regular expressions) with which the bytes begin."""
    return next((name for name, mark in marks if re.match(mark, head, re.DOTALL)), None)
