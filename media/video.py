"""Videos: an open file -> upright RGB frames with the second at which a player shows them.

Second 0 is where the file starts: its earliest stream. What FFmpeg cannot decode is skipped as long as
something else can be decoded. Knows nothing of sound, of pictures, or of models; which packets the wanted frames
need is worked out in groups.py.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, BinaryIO, cast

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from ..errors import CorruptMedia, UnsupportedMedia
from .frames import Picture, Shown
from .groups import Irregular, plan
from .hardware import hardware_decoder
from .info import MediaInfo, sniff_video
from .limits import MediaLimits
from .sampling import Cells

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
_MAX_DAMAGED_IN_A_ROW = 1000
_SEEK_LEADS_SECONDS = (0.0, 10.0)  # where an index is wrong, the key frame wanted lies further back
_MAX_SQUEEZE = 4.0
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED

# Codecs whose packets say surely that no other frame leans on theirs, so that a decoder may pass over them.
_SAYS_WHAT_IS_LEANT_ON = {"h264", "mpeg1video", "mpeg2video"}
_SHORT_TAIL = 4  # packets of a group that are decoded in vain sooner than the decoder is emptied and restarted


class VideoMedium:
    """A video read from an open file that the caller closes."""

    def __init__(
        self,
        file: BinaryIO,
        head: bytes,
        limits: MediaLimits,
        shorter_side: int | None = None,
        hardware: bool = False,
    ) -> None:
        """head: the first bytes; shorter_side: below which no side of a picture is shrunk; hardware: if it may be used.

        Decodes one frame. Raises UnsupportedMedia, CorruptMedia, MediaTooLarge.
        """
        self._file = file
        self._head = head
        self._limits = limits
        self._shorter_side: int | None = None  # the first frame tells the true size
        self._hardware = hardware
        with self._open() as (container, stream):
            duration = _duration(container, stream)
            limits.check_duration(duration)
            first = next(self._decode(container, stream), None)
            if first is None:
                raise CorruptMedia(
                    "Not one frame of this video can be decoded: its pictures are damaged, cut off, or "
                    "stored in another file. Send the file again from its source."
                )
            height, width = first.render().shape[:2]
            mime = self._mime(container)
            self.info = MediaInfo(
                "video", width, height, max(duration, first.seconds), stream.codec.canonical_name, mime
            )
        self._shorter_side = shorter_side

    def shown(self, start_seconds: float) -> Iterator[Shown]:
        """Frames in presentation order, beginning with a key frame at or before start_seconds."""
        for lead in _SEEK_LEADS_SECONDS:
            if start_seconds - lead <= 0:
                break
            with self._open() as (container, stream):
                # The first frame tells a decoder what it needs for all others: H.264 4:4:4 by an old x264 is
                # only understood by x264's version, which stands there and nowhere else.
                next(self._decode(container, stream), None)
                if not _seek(container, stream, start_seconds - lead):
                    break
                frames = self._decode(container, stream)
                first = next(frames, None)
                if first is not None and first.seconds <= start_seconds:
                    yield first
                    yield from frames
                    return
        with self._open() as (container, stream):
            yield from self._decode(container, stream)

    def shown_for(self, cells: Cells) -> Iterator[Shown]:
        """Those of `shown` that the cells need, decoding as little as the codec and the stamps allow.

        A group of pictures is left once its last wanted frame is out, and of some codecs the frames that no other
        leans on are passed over. Where something is not as planned, everything is decoded instead.
        """
        last = -math.inf
        try:
            for shown in self._planned(cells):
                last = shown.seconds
                yield shown
        except av.error.MemoryError:
            raise
        except (Irregular, av.FFmpegError):
            yield from (shown for shown in self.shown(cells.start_seconds) if shown.seconds > last)

    def key_frames(self, start_seconds: float) -> Iterator[Shown]:
        """The key frames of `shown`, without decoding the others where the stamps allow it.

        Fed with nothing else, a decoder mixes up the key frames that others lean on across, unless it is emptied
        after each; then its threads have nothing to share, so that is tried second.
        """
        last = -math.inf
        for one_by_one in (False, True):
            try:
                for shown in self._key_frames(start_seconds, one_by_one):
                    if shown.seconds > last:
                        last = shown.seconds
                        yield shown
                return
            except av.error.MemoryError:
                raise
            except (Irregular, av.FFmpegError):
                continue
        yield from (shown for shown in self.shown(start_seconds) if shown.is_key and shown.seconds > last)

    def _planned(self, cells: Cells) -> Iterator[Shown]:
        with self._at_key_frame(cells.start_seconds) as (container, stream, packets):
            seconds_of = _clock(container, stream)
            if cells.frames_per_second >= float(stream.average_rate or 0):
                raise Irregular("every frame is wanted: there is nothing to plan")
            if "avi" in container.format.name:
                raise Irregular("AVI has no presentation times")
            show = self._shower(container, stream)
            context = stream.codec_context
            may_pass_over = stream.codec_context.name in _SAYS_WHAT_IS_LEANT_ON
            expected: deque[int] = deque()
            running = False  # the decoder has all that comes before the next group
            for step in plan(packets, cells, seconds_of):
                expected.extend(step.wanted)
                leaves = step.needed == 0 or len(step.packets) - step.needed > _SHORT_TAIL
                for packet in step.packets[: step.needed] if leaves else step.packets:
                    if packet.pts in step.leading and not running:
                        continue
                    if may_pass_over:
                        context.skip_frame = "DEFAULT" if packet.pts in step.wanted else "NONREF"
                    yield from map(show, _expected(stream.decode(packet), expected))
                if leaves and (step.needed or running):
                    yield from map(show, _expected(_emptied(stream), expected))
                running = not leaves
            yield from map(show, _expected(stream.decode(None), expected))
            if expected:
                raise Irregular("a frame did not come out")

    def _key_frames(self, start_seconds: float, one_by_one: bool) -> Iterator[Shown]:
        with self._at_key_frame(start_seconds) as (container, stream, packets):
            if "avi" in container.format.name:
                raise Irregular("AVI has no presentation times")
            show = self._shower(container, stream)
            expected: deque[int] = deque()
            for packet in packets:
                if packet.size and packet.is_keyframe and not packet.is_discard:
                    if packet.pts is None or (expected and packet.pts <= expected[-1]):
                        raise Irregular("key frames without a time, or out of order")
                    expected.append(packet.pts)
                    yield from map(show, _expected(stream.decode(packet), expected))
                    if one_by_one:
                        yield from map(show, _expected(_emptied(stream), expected))
            yield from map(show, _expected(stream.decode(None), expected))
            if expected:
                raise Irregular("a key frame did not come out")

    @contextmanager
    def _at_key_frame(
        self, seconds: float
    ) -> "Iterator[tuple[InputContainer, VideoStream, Iterable[Packet[VideoStream]]]]":
        """The packets from a key frame at or before that second on; from the first one where there is no such."""
        for lead in _SEEK_LEADS_SECONDS:
            if seconds - lead <= 0:
                break
            with self._open() as (container, stream):
                next(self._decode(container, stream), None)  # as in `shown`
                if not _seek(container, stream, seconds - lead):
                    break
                packets = container.demux(stream)
                first = next((packet for packet in packets if packet.size), None)
                seconds_of = _clock(container, stream)
                if first and first.is_keyframe and first.pts is not None and seconds_of(first.pts) <= seconds:
                    yield container, stream, chain([first], packets)
                    return
        with self._open() as (container, stream):
            yield container, stream, container.demux(stream)

    def _shower(self, container: InputContainer, stream: VideoStream) -> Callable[[VideoFrame], Shown]:
        """frame -> Shown, for frames whose pts can be trusted."""
        seconds_of, render = _clock(container, stream), _renderer(stream, self._shorter_side)

        def show(frame: VideoFrame) -> Shown:
            assert frame.pts is not None
            seconds = seconds_of(frame.pts)
            self._limits.check_duration(seconds)
            return Shown(seconds, render(frame), frame.key_frame)

        return show

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """A fresh container at the start of the file, so that nothing lingers from an earlier seek."""
        max_pixels = {"max_pixels": str(min(self._limits.max_pixels, 2**31 - 1))}
        options = {"format_whitelist": _CONTAINERS, **max_pixels}
        with self._container(options, hardware_decoder() if self._hardware else None) as container:
            stream = _best_stream(container)
            self._limits.check_pixels(stream.codec_context.width, stream.codec_context.height)
            stream.codec_context.options = max_pixels
            stream.thread_type = "AUTO"
            yield container, stream

    def _container(self, options: dict[str, str], accelerator: HWAccel | None) -> InputContainer:
        """Raises UnsupportedMedia, CorruptMedia."""
        self._file.seek(0)
        try:
            return av.open(
                self._file,
                "r",
                metadata_errors="replace",
                options=options,
                buffer_size=_READ_BYTES,
                hwaccel=accelerator,
            )
        except av.error.MemoryError:
            raise
        except (av.FFmpegError, OSError, ValueError, RuntimeError) as error:
            if accelerator is None:
                raise self._refusal(error) from error
        return self._container(options, None)

    def _refusal(self, error: Exception) -> UnsupportedMedia | CorruptMedia:
        known = sniff_video(self._head)
        if known is None or isinstance(error, av.error.ArgumentError):
            return UnsupportedMedia(
                "This is no picture or video that can be read, going by its content. "
                "Send a photo (JPEG, PNG, WebP, HEIC, ...) or a video (MP4, MOV, MKV, WebM, AVI, ...)."
            )
        return CorruptMedia(
            f"This {known} file is damaged or cut short: its table of contents cannot be read. "
            f"Send the file again from its source."
        )

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[Shown]:
        """Every frame that can be decoded from here on, in presentation order, seconds strictly growing."""
        seconds_of = _clock(container, stream)
        interval = 1 / float(stream.average_rate or 25)
        # AVI has no presentation times, but one picture a packet: the nth picture out has the nth stamp in.
        stamps: deque[int] | None = deque() if "avi" in container.format.name else None
        render = _renderer(stream, self._shorter_side)
        last = -interval
        for frame in _frames(container, stream, stamps):
            pts = frame.pts if stamps is None else (stamps.popleft() if stamps else None)
            seconds = last + interval if pts is None else seconds_of(pts)
            if seconds <= last:
                seconds = last + interval
            self._limits.check_duration(seconds)
            last = seconds
            yield Shown(seconds, render(frame), frame.key_frame)

    def _mime(self, container: InputContainer) -> str:
        name = container.format.name.split(",")[0]
        if name == "mov" and container.metadata.get("major_brand", "qt").strip() == "qt":
            return "video/quicktime"
        if name == "matroska" and b"webm" in self._head:
            return "video/webm"
        return _MIMES.get(name, f"video/{name}")


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


def _duration(container: InputContainer, stream: VideoStream) -> float:
    """Seconds from the start of the file to its end: from the header, else from the last packet."""
    origin = (container.start_time or 0) / av.time_base
    ends = [
        float(((s.start_time or 0) + s.duration) * s.time_base) - origin
        for s in (stream, *container.streams.audio)
        if s.duration and s.time_base
    ]
    if ends:
        return max(ends)
    if container.duration:
        return max(container.duration / av.time_base - max(origin, 0.0), 0.0)
    return _scanned_duration(container, stream) - origin


def _scanned_duration(container: InputContainer, stream: VideoStream) -> float:
    """The end of the last packet, without decoding; leaves the container at the start again where it can."""
    end = 0.0
    tick = float(stream.time_base or 0)
    try:
        for packet in container.demux(stream):
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * tick)
    except av.FFmpegError:
        pass  # a file cut short ends where it was cut
    _seek(container, stream, 0.0)
    return end


def _seek(container: InputContainer, stream: VideoStream, seconds: float) -> bool:
    """Goes to the key frame at or before that second; False where the file cannot be searched."""
    origin = (container.start_time or 0) / av.time_base
    try:
        container.seek(int((seconds + origin) / float(stream.time_base or 1)), stream=stream)
    except (av.FFmpegError, OSError):
        return False
    return True


def _clock(container: InputContainer, stream: VideoStream) -> Callable[[int], float]:
    """pts -> seconds from the start of the file."""
    origin = (container.start_time or 0) / av.time_base
    tick = float(stream.time_base or 0)
    return lambda pts: max(pts * tick - origin, 0.0)


def _expected(frames: Iterable[VideoFrame], expected: deque[int]) -> Iterator[VideoFrame]:
    """Those of the frames that were expected next, taken off the list; Irregular when one of these was left out."""
    for frame in frames:
        if frame.pts is None or frame.is_corrupt or (expected and frame.pts > expected[0]):
            raise Irregular("a frame came out damaged, or another one than expected")
        if expected and frame.pts == expected[0]:
            expected.popleft()
            yield frame


def _emptied(stream: VideoStream) -> list[VideoFrame]:
    """What the decoder still holds; it then waits for a key frame."""
    frames = stream.decode(None)
    stream.codec_context.flush_buffers()
    return frames


def _frames(container: InputContainer, stream: VideoStream, stamps: deque[int] | None) -> Iterator[VideoFrame]:
    """Packet by packet: a damaged packet costs that packet, a damaged container ends the film there."""
    damaged = 0
    packets = container.demux(stream)
    while damaged < _MAX_DAMAGED_IN_A_ROW:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None
        if stamps is not None and packet is not None and packet.size and packet.dts is not None:
            stamps.append(packet.dts)
        try:
            frames = stream.decode(packet)  # no packet: what the decoder still holds
            damaged = 0
        except av.error.MemoryError:
            raise
        except av.FFmpegError:
            frames = []
            damaged += 1
            if stamps:
                stamps.pop()
        yield from frames
        if packet is None:
            return


def _renderer(stream: VideoStream, shorter_side: int | None) -> Callable[[VideoFrame], Callable[[], Picture]]:
    """frame -> (() -> Picture): to RGB, square pixels, turned upright; one converter for the whole film.

    Pictures are shrunk on the way, but no side below shorter_side.
    """
    converter = VideoReformatter()
    squeeze = float(stream.sample_aspect_ratio or 1)
    if not 1.05 < max(squeeze, 1 / squeeze) < _MAX_SQUEEZE:
        squeeze = 1.0

    def to_picture(frame: VideoFrame) -> Picture:
        # What players do: unmarked HD is BT.709, everything else unmarked or marked with nonsense is BT.601.
        usual = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
        for colorspace in (usual if frame.colorspace == _UNSPECIFIED else None, usual):
            try:
                width, height = max(1, round(frame.width * squeeze)), frame.height
                shrink = min(width, height) / shorter_side if shorter_side else 1.0
                rule = None
                if shrink > 1:
                    width, height, rule = round(width / shrink), round(height / shrink), Interpolation.AREA
                rgb = converter.reformat(frame, width, height, "rgb24", colorspace, interpolation=rule, threads=1)
                return _upright(cast(Picture, rgb.to_ndarray()), frame)
            except (av.FFmpegError, ValueError) as error:
                reason = error
        raise CorruptMedia(f"A frame of this video cannot be shown ({reason}). Convert it to H.264 in MP4.")

    return lambda frame: lambda: to_picture(frame)


def _upright(picture: Picture, frame: VideoFrame) -> Picture:
    """Applies the display matrix: one of eight turns and mirrorings, the nearest where it is none of them.

    The matrix sends a stored point (x, y) to (a x + c y, b x + d y) on the screen.
    """
    matrix = cast(Any, frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    a, b, _, c, d, *_ = (int(v) for v in np.frombuffer(bytes(matrix), np.int32))
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, across, down = picture.swapaxes(0, 1), c, b
    if across < 0:
        picture = picture[:, ::-1]
    if down < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)
