"""A decoded frame -> an RGB picture as a player shows it: its colours, square pixels, turned upright."""

from collections.abc import Callable
from typing import Any, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from ...errors import CorruptMedia
from ..frames import Picture
from .tone_mapping import Transfer, to_sdr

_MAX_SQUEEZE = 4.0
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_HIGH_RANGE: dict[int, Transfer] = {16: "pq", 18: "hlg"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67


def renderer(stream: VideoStream, shorter_side: int | None) -> Callable[[VideoFrame], Callable[[], Picture]]:
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
                transfer = _HIGH_RANGE.get(frame.color_trc)
                depth = "rgb48le" if transfer else "rgb24"
                rgb = converter.reformat(frame, width, height, depth, colorspace, interpolation=rule, threads=1)
                pixels = rgb.to_ndarray()
                shown = to_sdr(pixels.astype(np.uint16), transfer) if transfer else cast(Picture, pixels)
                return _upright(shown, frame)
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
