"""Who decodes: this process, or children that a bad file can kill (sandbox.py). Both answer to the same calls."""

from collections.abc import Generator
from typing import Protocol, Unpack

from . import reader, thumbnails
from .frames import Frames
from .info import MediaInfo
from .limits import MediaLimits
from .reader import FrameOptions, Source


class Decoder(Protocol):
    """The calls of reader.py and thumbnails.py, whose words on arguments and errors hold. Safe in many threads."""

    @property
    def workers(self) -> int:
        """How many files it decodes at once; further callers wait."""
        ...

    def probe(self, source: Source, limits: MediaLimits) -> MediaInfo: ...

    def read_frames(
        self, source: Source, frames_per_second: float, limits: MediaLimits, **options: Unpack[FrameOptions]
    ) -> Generator[Frames, None, None]: ...

    def frame_at(
        self, source: Source, seconds: float, limits: MediaLimits, shorter_side: int | None = None
    ) -> Frames: ...

    def thumbnail(self, source: Source, seconds: float, max_side: int, limits: MediaLimits) -> bytes: ...

    def close(self) -> None:
        """Ends what is being decoded, where that can be ended; nothing more is decoded then."""


class InProcess:
    """Decodes in this very process: for files that are trusted."""

    workers = 2  # that a caller with many files had better use; any number may

    def __init__(self, hardware: bool = False) -> None:
        """hardware: whether a video decoder of the machine's graphics processor may be used."""
        self.hardware = hardware

    def probe(self, source: Source, limits: MediaLimits) -> MediaInfo:
        return reader.probe(source, limits)

    def read_frames(
        self, source: Source, frames_per_second: float, limits: MediaLimits, **options: Unpack[FrameOptions]
    ) -> Generator[Frames, None, None]:
        return reader.read_frames(source, frames_per_second, limits, hardware=self.hardware, **options)

    def frame_at(self, source: Source, seconds: float, limits: MediaLimits, shorter_side: int | None = None) -> Frames:
        return reader.frame_at(source, seconds, limits, shorter_side=shorter_side)

    def thumbnail(self, source: Source, seconds: float, max_side: int, limits: MediaLimits) -> bytes:
        return thumbnails.thumbnail(source, seconds, max_side, limits)

    def close(self) -> None:
        """Nothing: who decodes in this process waits for it."""


HERE = InProcess()
