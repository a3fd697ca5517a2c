"""What people do to clips: every frame edited alike, encoded anew, run faster. (T, H, W, 3) uint8 RGB -> a file."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from zlib import crc32

import av
import numpy as np
from numpy.typing import NDArray

from ..frames import Picture
from .arrays import covering
from .edits import UNEDITED, edited
from .lettering import LINES, any_line, write_centred

USUAL_CRF = 23


@dataclass(frozen=True)
class ClipEdit:
    """picture: edit of EDITS that every frame goes through; crf: quality of the encoder, 0 (best) to 51; speed: of the
    edited clip, in seconds of the original for each of its own; subtitled: with a line of text."""

    picture: str = UNEDITED
    crf: int = USUAL_CRF
    speed: float = 1.0
    subtitled: bool = False


CLIP_EDITS: dict[str, ClipEdit] = {
    UNEDITED: ClipEdit(),
    "low bitrate": ClipEdit(crf=40),
    "subtitle": ClipEdit(subtitled=True),
    "crop 75 %": ClipEdit("crop 75 %"),
    "mirrored": ClipEdit("mirrored"),
    "speed 1.25": ClipEdit(speed=1.25),
}


def edited_clip(
    edit: str, frames: NDArray[np.uint8], frames_per_second: float, name: str, seed: int = 0
) -> tuple[bytes, float]:
    """frames (T, H, W, 3) uint8 RGB -> an MP4 file after that edit of CLIP_EDITS, and the seconds that it lasts."""
    how = CLIP_EDITS[edit]
    pictures = [edited(how.picture, frame, name, (), seed) for frame in frames]  # the same dice for every frame
    if how.subtitled:
        dice = np.random.default_rng((seed, crc32(edit.encode()), crc32(name.encode())))
        line = any_line(dice, LINES)
        pictures = [_subtitled(picture, line) for picture in pictures]
    rate = frames_per_second * how.speed
    return encoded(pictures, rate, how.crf), len(pictures) / rate


def compilation(parts: Iterable[NDArray[np.uint8]], frames_per_second: float) -> bytes:
    """Parts, each (T, H, W, 3), one after the other as an MP4 file; all are cut to the shape of the first."""
    pictures: list[Picture] = []
    for part in parts:
        height, width = (pictures or part)[0].shape[:2]
        pictures += [covering(frame, width, height) for frame in part]
    return encoded(pictures, frames_per_second)


def encoded(pictures: Iterable[Picture], frames_per_second: float, crf: int = USUAL_CRF) -> bytes:
    """Pictures of one shape, at least one, as an MP4 file (H.264); an odd row or column at the edge is cut."""
    rate = Fraction(frames_per_second).limit_denominator(1001)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"preset": "veryfast", "crf": str(crf)}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            even = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
            if number == 0:
                stream.height, stream.width = even.shape[:2]
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def _subtitled(picture: Picture, line: str) -> Picture:
    """With a line of outlined text, 8 % of its height, in the lowest eighth."""
    height, width = picture.shape[:2]
    style = {"colour": (255, 255, 255), "outline": (0, 0, 0), "weight": 700}
    return write_centred(picture, line, 0.91 * height, 0.08 * height, 0.94 * width, **style)
