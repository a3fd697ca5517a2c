"""Videos: an open file -> upright RGB frames with the second at which a player shows them.

What FFmpeg cannot decode is skipped as long as something else can be decoded. Knows nothing of sound, of pictures, or
of models; which packets the wanted frames need is worked out in groups.py.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from io import SEEK_END
from itertools import chain
from typing import BinaryIO

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...errors import CorruptMedia
from ..frames import TimedFrame
from ..info import MediaInfo
from ..limits import MediaLimits
from ..sampling import SamplingGrid
from .container import VideoContainer, open_container
from .gop import IrregularTimestamps, plan_decoding
from .rendering import renderer
from .stamps import Stamps

_MAX_DAMAGED_IN_A_ROW = 1000
_MAX_SOUND_ALONE_SECONDS = 60.0
_SEEK_LEADS_SECONDS = (0.0, 10.0)  # where an index is wrong, the key frame wanted lies further back

# Codecs whose packets say surely that no other frame leans on theirs, so that a decoder may pass over them.
_SAYS_WHAT_IS_LEANT_ON = {"h264", "mpeg1video", "mpeg2video"}
_SHORT_TAIL = 4  # packets of a group that are decoded in vain sooner than the decoder is emptied and restarted
_BLOCKS_UNSEEN = 2.0  # times that key frames are shrunk from which their blocks need no smoothing


class VideoMedium:
    """A video read from an open file that the caller closes; the first reading costs no second opening."""

    def __init__(
        self,
        file: BinaryIO,
        head: bytes,
        limits: MediaLimits,
        shorter_side: int | None = None,
        hardware: bool = False,
    ) -> None:
        """head: the first bytes; shorter_side: below which no side of a picture is shrunk; hardware: if it may be used.

        Decodes nothing. Raises UnsupportedMedia, CorruptMedia, MediaTooLarge.
        """
        self._file = file
        self._head = head
        self._limits = limits
        self._shorter_side = shorter_side
        self._hardware = hardware
        self._unread: VideoContainer | None = None  # at the start of the file, for whoever reads first
        self._stamps: Stamps | None = None
        film = open_container(file, head, limits, hardware)
        stated = film.stated_duration()
        if stated is not None and not film.is_to_be_scanned(_size_of(file)):
            self.duration_seconds, self._unread = stated, film
            return
        self.duration_seconds, scanned = film.scanned()
        if scanned.stamps is None and film.rewind():
            self._unread = film
        else:
            film.close()
        self._stamps = scanned.stamps
        # Sound may last longer than the pictures; a header that says far more than the packets is wrong.
        if self._stamps is None and stated is not None and stated - self.duration_seconds < _MAX_SOUND_ALONE_SECONDS:
            self.duration_seconds = max(stated, self.duration_seconds)

    @property
    def incomplete(self) -> bool:
        return False  # a film that ends early is not told from a short one

    def close(self) -> None:
        if self._unread is not None:
            self._unread.close()

    @cached_property
    def info(self) -> MediaInfo:
        """Decodes one frame, which alone tells the true size. Raises CorruptMedia where there is none."""
        with self._open() as film:
            first = next(self._decode(film, shorter_side=None), None)
            if first is None:
                raise CorruptMedia(
                    "Not one frame of this video can be decoded: its pictures are damaged, cut off, or "
                    "stored in another file. Send the file again from its source."
                )
            height, width = first.render().shape[:2]
            lasts = max(self.duration_seconds, first.seconds)
            codec = film.stream.codec.canonical_name
            return MediaInfo("video", width, height, lasts, codec, film.mime(self._head))

    def shown(self, start_seconds: float) -> Iterator[TimedFrame]:
        """Frames in presentation order, beginning with a key frame at or before start_seconds."""
        for lead in _SEEK_LEADS_SECONDS:
            if start_seconds - lead <= 0:
                break
            with self._open() as film:
                # The first frame tells a decoder what it needs for all others: H.264 4:4:4 by an old x264 is
                # only understood by x264's version, which stands there and nowhere else.
                next(self._decode(film, self._shorter_side), None)
                if not film.seek(start_seconds - lead):
                    break
                frames = self._decode(film, self._shorter_side)
                first = next(frames, None)
                if first is not None and first.seconds <= start_seconds:
                    yield first
                    yield from frames
                    return
        with self._open() as film:
            yield from self._decode(film, self._shorter_side)

    def frames_for(self, grid: SamplingGrid) -> Iterator[TimedFrame]:
        """Those of `shown` that the cells need, decoding as little as the codec and the stamps allow.

        A group of pictures is left once its last wanted frame is out, and of some codecs the frames that no other
        leans on are passed over. Where something is not as planned, everything is decoded instead.
        """
        last = -math.inf
        try:
            for shown in self._planned(grid):
                last = shown.seconds
                yield shown
        except av.error.MemoryError:
            raise
        except (IrregularTimestamps, av.FFmpegError):
            yield from (shown for shown in self.shown(grid.start_seconds) if shown.seconds > last)

    def key_frames(self, start_seconds: float) -> Iterator[TimedFrame]:
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
            except (IrregularTimestamps, av.FFmpegError):
                continue
        yield from (shown for shown in self.shown(start_seconds) if shown.is_key and shown.seconds > last)

    def _planned(self, grid: SamplingGrid) -> Iterator[TimedFrame]:
        with self._at_key_frame(grid.start_seconds) as (film, packets):
            if grid.frames_per_second >= float(film.stream.average_rate or 0):
                raise IrregularTimestamps("every frame is wanted: there is nothing to plan")
            stream, show = film.stream, self._shower(film)
            context = stream.codec_context
            may_pass_over = stream.codec_context.name in _SAYS_WHAT_IS_LEANT_ON
            expected: deque[int] = deque()
            running = False  # the decoder has all that comes before the next group
            for step in plan_decoding(packets, grid, film.clock()):
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
                raise IrregularTimestamps("a frame did not come out")

    def _key_frames(self, start_seconds: float, one_by_one: bool) -> Iterator[TimedFrame]:
        with self._at_key_frame(start_seconds) as (film, packets):
            stream, show = film.stream, self._shower(film)
            if self._shrinks_by(stream) >= _BLOCKS_UNSEEN:
                stream.codec_context.options = {**stream.codec_context.options, "skip_loop_filter": "all"}
            expected: deque[int] = deque()
            for packet in packets:
                if packet.size and packet.is_keyframe and not packet.is_discard:
                    if packet.pts is None or (expected and packet.pts <= expected[-1]):
                        raise IrregularTimestamps("key frames without a time, or out of order")
                    expected.append(packet.pts)
                    yield from map(show, _expected(stream.decode(packet), expected))
                    if one_by_one:
                        yield from map(show, _expected(_emptied(stream), expected))
            yield from map(show, _expected(stream.decode(None), expected))
            if expected:
                raise IrregularTimestamps("a key frame did not come out")

    @contextmanager
    def _at_key_frame(self, seconds: float) -> "Iterator[tuple[VideoContainer, Iterable[Packet[VideoStream]]]]":
        """The packets from a key frame at or before that second on; from the first one where there is no such."""
        for lead in _SEEK_LEADS_SECONDS:
            if seconds - lead <= 0:
                break
            with self._open(timed=True) as film:
                next(self._decode(film, self._shorter_side), None)  # as in `shown`
                if not film.seek(seconds - lead):
                    break
                packets = film.packets()
                first = next((packet for packet in packets if packet.size), None)
                if first and first.is_keyframe and first.pts is not None and film.clock()(first.pts) <= seconds:
                    yield film, chain([first], packets)
                    return
        with self._open(timed=True) as film:
            yield film, film.packets()

    def _shower(self, film: VideoContainer) -> Callable[[VideoFrame], TimedFrame]:
        """frame -> Shown, for frames whose pts can be trusted."""
        seconds_of, render = film.clock(), renderer(film.stream, self._shorter_side)

        def show(frame: VideoFrame) -> TimedFrame:
            assert frame.pts is not None
            return TimedFrame(seconds_of(frame.pts), render(frame), frame.key_frame)

        return show

    def _shrinks_by(self, stream: VideoStream) -> float:
        return min(stream.width, stream.height) / self._shorter_side if self._shorter_side else 1.0

    @contextmanager
    def _open(self, timed: bool = False) -> Iterator[VideoContainer]:
        """The film from its start, so that nothing lingers from an earlier seek.

        timed: Irregular where the container has no presentation times.
        """
        film, self._unread = self._unread or open_container(self._file, self._head, self._limits, self._hardware), None
        film = replace(film, stamps=self._stamps)
        try:
            if timed and not film.has_presentation_times:
                raise IrregularTimestamps("AVI has no presentation times")
            yield film
        finally:
            film.close()

    def _decode(self, film: VideoContainer, shorter_side: int | None) -> Iterator[TimedFrame]:
        """Every frame that can be decoded from here on, in presentation order, seconds strictly growing."""
        seconds_of = film.clock()
        interval = 1 / float(film.stream.average_rate or 25)
        # AVI has no presentation times, but one picture a packet: the nth picture out has the nth stamp in.
        stamps: deque[int] | None = None if film.has_presentation_times else deque()
        render = renderer(film.stream, shorter_side)
        last = -interval
        for frame in _frames(film, stamps):
            pts = frame.pts if stamps is None else (stamps.popleft() if stamps else None)
            seconds = last + interval if pts is None else seconds_of(pts)
            if seconds <= last:
                seconds = last + interval
            last = seconds
            yield TimedFrame(seconds, render(frame), frame.key_frame)


def _size_of(file: BinaryIO) -> int:
    position = file.tell()
    size = file.seek(0, SEEK_END)
    file.seek(position)
    return size


def _expected(frames: Iterable[VideoFrame], expected: deque[int]) -> Iterator[VideoFrame]:
    """Those of the frames that were expected next, taken off the list; Irregular when one of these was left out."""
    for frame in frames:
        if frame.pts is None or frame.is_corrupt or (expected and frame.pts > expected[0]):
            raise IrregularTimestamps("a frame came out damaged, or another one than expected")
        if expected and frame.pts == expected[0]:
            expected.popleft()
            yield frame


def _emptied(stream: VideoStream) -> list[VideoFrame]:
    """What the decoder still holds; it then waits for a key frame."""
    frames = stream.decode(None)
    stream.codec_context.flush_buffers()
    return frames


def _frames(film: VideoContainer, stamps: deque[int] | None) -> Iterator[VideoFrame]:
    """Packet by packet: a damaged packet costs that packet, a damaged container ends the film there."""
    damaged = 0
    packets = film.packets()
    while damaged < _MAX_DAMAGED_IN_A_ROW:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None
        if stamps is not None and packet is not None and packet.size and packet.dts is not None:
            stamps.append(packet.dts)
        try:
            frames = film.stream.decode(packet)  # no packet: what the decoder still holds
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
