"""A film that is open: its container, and of its streams the one that a player would show. Decodes no pictures.

Second 0 is where the file starts: its earliest stream.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ...errors import CorruptMedia, UnsupportedMedia
from ..info import sniff_video
from ..limits import MediaLimits
from .hardware import hardware_decoder

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


@dataclass(frozen=True)
class VideoContainer:
    """container and stream as FFmpeg gives them; `close` leaves the file itself open."""

    container: InputContainer
    stream: VideoStream

    @property
    def has_presentation_times(self) -> bool:
        return "avi" not in self.container.format.name

    @property
    def origin_seconds(self) -> float:
        """Where second 0 lies on the container's own clock."""
        return (self.container.start_time or 0) / av.time_base

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

    def scanned_duration(self) -> float:
        """The same by the end of the last packet, without decoding; the film is at its end then."""
        end = 0.0
        tick = float(self.stream.time_base or 0)
        try:
            for packet in self.container.demux(self.stream):
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * tick)
        except av.FFmpegError:
            pass  # a file cut short ends where it was cut
        return end - self.origin_seconds

    def seek(self, seconds: float) -> bool:
        """Goes to the key frame at or before that second; False where the file cannot be searched."""
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
