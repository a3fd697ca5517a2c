"""A film that is open: its container, and of its streams the one that a player would show. Decodes no pictures.

Second 0 is where the file starts: its earliest stream.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from ...errors import CorruptMedia, UnsupportedMedia
from ..info import sniff_video
from ..limits import MediaLimits
from .hardware import hardware_decoder
from .stamps import NO_STAMP, Stamps, mend_stamps

# Only containers that hold their pictures themselves: a playlist makes FFmpeg open other files and addresses.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,dv,nut,rm,wav,mp3,flac,aac,aiff"
_MIMES = {
    "mov": "video/mp4",
    "matroska": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "mpeg": "video/mpeg",
    "flv": "video/x-flv",
    "asf": "video/x-ms-wmv",
    "ogg": "video/ogg",
    "mxf": "application/mxf",
}
_NO_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_READ_BYTES = 256 * 1024

_SHORT_SECONDS = 60.0
_FEWEST_BYTES_A_SECOND = 16_000  # of a film that lasts longer; where there are fewer, its length is doubted
_CLOCKS = ("mpegts", "mpeg")  # stamps of a clock that may be set anew, as in broadcasts and recordings that were joined
_MAX_GAP_OF_CLOCKS = 10.0  # seconds, as FFmpeg has it; a longer one is a clock set anew
_MAX_GAP_SECONDS = 3600.0  # elsewhere a picture may well stay for long
_MAX_SCANNED = 32 * 2**20  # bytes that are read through to look at stamps
_MAX_SCANNED_OF_CLOCKS = 256 * 2**20


@dataclass(frozen=True)
class VideoContainer:
    """container and stream as FFmpeg gives them; `close` leaves the file itself open.

    stamps  those that its packets get, where their own are wrong (stamps.py)
    """

    container: InputContainer
    stream: VideoStream
    stamps: Stamps | None = None

    @property
    def has_presentation_times(self) -> bool:
        return "avi" not in self.container.format.name

    @property
    def origin_seconds(self) -> float:
        """Where second 0 lies on the container's own clock."""
        stated = (self.container.start_time or 0) / av.time_base
        if self.stamps is None:
            return stated
        shown = self.stamps.shown[self.stamps.shown != NO_STAMP]
        first = shown if len(shown) else self.stamps.decoded
        return min(stated, float(first.min()) * float(self.stream.time_base or 0))

    def packets(self) -> "Iterator[Packet[VideoStream]]":
        """From here on, in decoding order; with mended stamps only from the start of the file."""
        packets = self.container.demux(self.stream)
        if self.stamps is None:
            yield from packets
            return
        mended = zip(self.stamps.decoded.tolist(), self.stamps.shown.tolist(), strict=True)
        for packet in packets:
            if packet.size:
                packet.dts, shown = next(mended, (packet.dts, packet.pts))
                packet.pts = None if shown == NO_STAMP else shown
            yield packet

    def clock(self) -> Callable[[int], float]:
        """pts -> seconds from the start of the file."""
        origin, tick = self.origin_seconds, float(self.stream.time_base or 0)
        return lambda pts: max(pts * tick - origin, 0.0)

    def stated_duration(self) -> float | None:
        """Seconds from the start of the file to its end, by its header."""
        ends = [
            float(((s.start_time or 0) + s.duration) * s.time_base) - self.origin_seconds
            for s in (self.stream, *self.container.streams.audio)
            if s.duration and s.time_base
        ]
        if ends:
            return max(ends)
        if self.container.duration:
            return max(self.container.duration / av.time_base - max(self.origin_seconds, 0.0), 0.0)
        return None

    def is_to_be_scanned(self, size_bytes: int) -> bool:
        """Whether what the header says of time is missing, unlikely, or checked for little.

        A file is read through where it is small; a large one is believed.
        """
        stated = self.stated_duration()
        if stated is None or (stated > _SHORT_SECONDS and size_bytes < stated * _FEWEST_BYTES_A_SECOND):
            return True
        name = self.container.format.name
        return size_bytes <= (_MAX_SCANNED_OF_CLOCKS if name in _CLOCKS else _MAX_SCANNED)

    def scanned(self) -> tuple[float, "VideoContainer"]:
        """Seconds from the start of the file to the end of its last packet, and the film with mended stamps.

        Decodes nothing; the film is at its end then.
        """
        tick, end = float(self.stream.time_base or 0), 0.0
        stamps: tuple[array[int], array[int]] = array("q"), array("q")
        lasts = 0
        try:
            for packet in self.container.demux(self.stream):
                for kept, stamp in zip(stamps, (packet.dts, packet.pts), strict=True):
                    if packet.size:
                        kept.append(NO_STAMP if stamp is None else stamp)
                lasts = packet.duration or lasts
        except (av.FFmpegError, OSError):
            pass  # a file cut short ends where it was cut
        own = Stamps(*(np.array(kept, np.int64) for kept in stamps))
        max_gap = _MAX_GAP_OF_CLOCKS if self.container.format.name in _CLOCKS else _MAX_GAP_SECONDS
        film = replace(self, stamps=mend_stamps(own, round(max_gap / tick)) if tick else None)
        used = film.stamps or own
        known = np.where(used.shown != NO_STAMP, used.shown, used.decoded)
        known = known[known != NO_STAMP]
        if len(known):
            end = (int(known.max()) + lasts) * tick - film.origin_seconds
        return max(end, 0.0), film

    def rewind(self) -> bool:
        """Goes back to the first packet, before anything is decoded; False where only opening the file again does."""
        if "mov" not in self.container.format.name or not self.stream.index_entries:
            return False
        try:
            self.container.seek(self.stream.index_entries[0].timestamp, stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def seek(self, seconds: float) -> bool:
        """Goes to the key frame at or before that second; False where the file cannot be searched."""
        if self.stamps is not None:
            return False
        try:
            moment = int((seconds + self.origin_seconds) / float(self.stream.time_base or 1))
            self.container.seek(moment, stream=self.stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def mime(self, head: bytes) -> str:
        """head: the first bytes of the file."""
        name = self.container.format.name.split(",")[0]
        if name == "mov" and self.container.metadata.get("major_brand", "qt").strip() == "qt":
            return "video/quicktime"
        if name == "matroska" and b"webm" in head:
            return "video/webm"
        return _MIMES.get(name, f"video/{name}")

    def close(self) -> None:
        self.container.close()


def open_container(file: BinaryIO, head: bytes, limits: MediaLimits, hardware: bool) -> VideoContainer:
    """From the start of the file, with every thread that pays. Raises UnsupportedMedia, CorruptMedia, MediaTooLarge."""
    max_pixels = {"max_pixels": str(min(limits.max_pixels, 2**31 - 1))}
    options = {"format_whitelist": _CONTAINERS, **max_pixels}
    container = _container(file, head, options, hardware_decoder() if hardware else None)
    try:
        stream = _best_stream(container)
        limits.check_pixels(stream.codec_context.width, stream.codec_context.height)
    except BaseException:
        container.close()
        raise
    stream.codec_context.options = max_pixels
    stream.thread_type = "AUTO"
    return VideoContainer(container, stream)


def _container(file: BinaryIO, head: bytes, options: dict[str, str], accelerator: HWAccel | None) -> InputContainer:
    file.seek(0)
    try:
        return av.open(
            file, "r", metadata_errors="replace", options=options, buffer_size=_READ_BYTES, hwaccel=accelerator
        )
    except av.error.MemoryError:
        raise
    except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
        if accelerator is None:
            raise _refusal(head, error) from error
    return _container(file, head, options, None)


def _refusal(head: bytes, error: Exception) -> UnsupportedMedia | CorruptMedia:
    known = sniff_video(head)
    if known is None or isinstance(error, av.error.ArgumentError):
        return UnsupportedMedia(
            "This is no picture or video that can be read, going by its content. "
            "Send a photo (JPEG, PNG, WebP, HEIC, ...) or a video (MP4, MOV, MKV, WebM, AVI, ...)."
        )
    return CorruptMedia(
        f"This {known} file is damaged or cut short: its table of contents cannot be read. "
        f"Send the file again from its source."
    )


def _best_stream(container: InputContainer) -> VideoStream:
    """The stream a player would choose: the default one, else the largest; cover art is no video."""
    streams = [s for s in container.streams.video if not s.disposition & _NO_PICTURES]
    if not streams:
        what = "sound but no pictures" if container.streams.audio else "no pictures"
        raise UnsupportedMedia(f"This file holds {what}. Send a photo or a video.")
    readable = [s for s in streams if s.codec_context is not None]
    if not readable:
        raise UnsupportedMedia(
            "The pictures in this video are of a kind that no decoder here can read. "
            "Convert it, for example to H.264 in MP4."
        )
    return max(
        readable,
        key=lambda s: (
            bool(s.disposition & Disposition.default),
            s.codec_context.width * s.codec_context.height,
        ),
    )
