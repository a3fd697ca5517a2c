"""Made media for every test: pictures and videos drawn from a seed, and files that are broken on purpose.

Nothing is random from run to run, and nothing is read from anywhere. Two seeds look clearly different. In a
video a new shot begins every `SHOT_SECONDS`; within a shot the background slides and a disc crosses the
picture, so a frame tells its second. Knows nothing of vicmae.
"""

import math
import struct
import wave
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Size = tuple[int, int]  # width, height
SIZE: Size = (160, 120)
SHOT_SECONDS = 2.0

_CLOCK = 90_000  # ticks a second, fine enough for any time stamp
_ENCODER_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
}


def picture(seed: int, size: Size = SIZE) -> Image.Image:
    """A colourful RGB picture, a gradient with a dozen shapes; the same one at every size."""
    return Image.fromarray(_picture(seed, size).copy())


def write_image(path: Path, seed: int, size: Size = SIZE, **save_args: Any) -> Path:
    """picture(seed) saved in the format of the suffix; HEIC needs pillow_heif, which is registered here."""
    if path.suffix.lower() in {".heic", ".heif"}:
        import pillow_heif

        pillow_heif.register_heif_opener()
    picture(seed, size).save(path, **save_args)
    return path


def scene_at(seed: int, second: float, size: Size = SIZE) -> NDArray[np.uint8]:
    """The scene at any second: (H, W, 3) uint8."""
    shot, phase = divmod(max(second, 0.0), SHOT_SECONDS)
    phase /= SHOT_SECONDS
    width, height = size
    background = _picture(seed * 1009 + 7919 + int(shot), size)
    frame = np.roll(background, round(phase * width / 4), axis=1)
    rows, columns = np.ogrid[:height, :width]
    centre, radius = phase * width, height / 7
    disc = (columns - centre) ** 2 + (rows - height / 2) ** 2 < radius**2
    frame[disc] = (255, 255, 255) if int(shot) % 2 else (0, 0, 0)
    return frame


def scene_frames(seed: int, seconds: float, fps: float = 20, size: Size = SIZE) -> Iterator[NDArray[np.uint8]]:
    """The scene as a film: round(seconds * fps) frames (H, W, 3) uint8, frame i at i / fps."""
    for index in range(round(seconds * fps)):
        yield scene_at(seed, index / fps, size)


def frame_of(seed: int, second: float, fps: float = 20, size: Size = SIZE) -> Image.Image:
    """The picture that write_video(seed, fps=fps, size=size) shows at that second, before any codec."""
    return Image.fromarray(scene_at(seed, math.floor(second * fps + 1e-6) / fps, size))


def write_video(
    path: Path,
    seed: int = 0,
    seconds: float = 6.0,
    fps: float = 20,
    size: Size = SIZE,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    start_seconds: float = 0.0,
    rotation: int = 0,
    timestamps: Sequence[float] | None = None,
    gop: int = 20,
) -> Path:
    """The scene as a file; the container is chosen by the suffix (.mp4 .mov .mkv .webm .avi .ts ...).

    start_seconds  added to every time stamp in the file: a stream that does not begin at zero
    rotation       display rotation, degrees counter-clockwise: the stored frames stay as drawn
    timestamps     seconds of each frame from the start, instead of i / fps: a variable frame rate
    gop            frames from one key frame to the next
    """
    times = [i / fps for i in range(round(seconds * fps))] if timestamps is None else list(timestamps)
    even = timestamps is None and start_seconds == 0
    clock = Fraction(1) / Fraction(fps).limit_denominator(1001) if even else Fraction(1, _CLOCK)
    options = _ENCODER_OPTIONS.get(codec, {})
    with av.open(str(path), "w") as container:
        stream = cast(
            VideoStream,
            container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options),
        )
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        stream.codec_context.time_base = clock
        if not options:
            stream.bit_rate = 2_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for second in times:
            frame = av.VideoFrame.from_ndarray(scene_at(seed, second, size), format="rgb24")
            frame.pts = round((second + start_seconds) / clock)
            frame.time_base = clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_animation(path: Path, seeds: Sequence[int], milliseconds: int | list[int], size: Size = SIZE) -> Path:
    """An animated GIF, WebP, PNG or AVIF (by suffix) that shows picture(seed) for each seed in turn."""
    first, *rest = [picture(seed, size) for seed in seeds]
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path


def write_empty(path: Path) -> Path:
    """A file of no bytes."""
    path.write_bytes(b"")
    return path


def write_text(path: Path) -> Path:
    """Prose, whatever the suffix says."""
    path.write_text("This is a plain text that only calls itself a picture.\n" * 40)
    return path


def write_truncated(path: Path, whole: Path, share: float = 0.5) -> Path:
    """The first share of another file's bytes, as a broken download leaves them."""
    data = whole.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def write_damaged(path: Path, whole: Path, start: float = 0.4, stop: float = 0.5) -> Path:
    """Another file with the bytes from start to stop (shares of its length) replaced by noise."""
    data = bytearray(whole.read_bytes())
    first, last = int(len(data) * start), int(len(data) * stop)
    data[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(data)
    return path


def write_gif_bomb(path: Path) -> Path:
    """44 bytes that declare a canvas of 65535 x 65535 pixels."""
    side = 65535
    path.write_bytes(
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0x80, 0, 0)
        + b"\x00\x00\x00\xff\xff\xff"
        + b"\x21\xf9\x04\x00\x00\x00\x00\x00"
        + b"\x2c" + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x02\x03\x44\x01\x05\x00"
        + b"\x3b"
    )  # fmt: skip
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A WAV file: sound, no picture."""
    rate = 8000
    tone = np.sin(np.arange(int(rate * seconds)) * (2 * np.pi * 440 / rate)) * 8000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(tone.astype("<i2").tobytes())
    return path


@lru_cache(maxsize=64)
def _picture(seed: int, size: Size) -> NDArray[np.uint8]:
    dice = np.random.default_rng(seed)
    width, height = size
    corners = dice.integers(0, 256, (2, 2, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = dice.uniform(-0.1, 1.0, 2)
        across, down = dice.uniform(0.1, 0.45, 2)
        box = (x * width, y * height, (x + across) * width, (y + down) * height)
        colour = cast(tuple[int, int, int], tuple(int(c) for c in dice.integers(0, 256, 3)))
        match int(dice.integers(3)):
            case 0:
                draw.ellipse(box, fill=colour)
            case 1:
                draw.rectangle(box, fill=colour)
            case _:
                draw.polygon([(box[0], box[3]), ((box[0] + box[2]) / 2, box[1]), (box[2], box[3])], fill=colour)
    pixels = np.asarray(image, np.uint8)
    pixels.setflags(write=False)
    return pixels
