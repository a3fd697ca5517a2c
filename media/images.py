"""Pictures and animations: an open file -> upright RGB. Knows nothing of video files, sampling or models.

Whatever a file does to Pillow, what leaves here is a MediaError.
"""

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import CorruptMedia, MediaError, MediaTooLarge, UnsupportedMedia
from .colours import to_rgb
from .frames import Picture, TimedFrame
from .gif import gif_delays
from .info import MediaInfo
from .limits import MediaLimits
from .partial import load_what_is_there
from .sampling import SamplingGrid
from .unsupported import unsupported_variety

pillow_heif.register_heif_opener(thumbnails=False)
# Oddities in the metadata of a picture that can be read are no news to anybody.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Only formats with a mark of their own, and none that runs another program (EPS).
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000", "PPM")
_ANIMATED = {"GIF", "WEBP", "PNG", "AVIF"}  # elsewhere a second picture is a page, a thumbnail or a depth map
_CODECS = {"MPO": "jpeg", "HEIF": "heic", "PPM": "pnm"}
_MIMES = {"MPO": "image/jpeg", "HEIF": "image/heic"}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEIF_HEAD_BYTES = 256 * 1024  # holds the list of properties, which comes before the pictures


class ImageMedium:
    """A picture (one frame at 0.0) or an animation, read from an open file that the caller closes."""

    def __init__(self, file: BinaryIO, name: str, limits: MediaLimits, shorter_side: int | None = None) -> None:
        """name: what the first bytes announce; shorter_side: below which no side of a picture is shrunk.

        Raises CorruptMedia, UnsupportedMedia, MediaTooLarge.
        """
        self._name = name
        self._limits = limits
        self._shorter_side = shorter_side
        self._file = file
        self.incomplete = False
        self._is_open = False
        _lift_pillows_guard(limits)
        with self._worded():
            self._image = Image.open(file, formats=_FORMATS)
            self._is_open = True
            limits.check_pixels(*self._image.size)
            if self._image.format == "HEIF":
                _heed_exif_of_heif(self._image, file)
            self._animated = self._image.format in _ANIMATED and getattr(self._image, "n_frames", 1) > 1
            self.info = self._describe(file)

    @property
    def duration_seconds(self) -> float | None:
        return self.info.duration_seconds if self._animated else None

    def shown(self, start_seconds: float) -> Iterator[TimedFrame]:
        """The picture at 0.0, or every frame of the animation; start_seconds changes nothing here."""
        if not self._animated:
            yield TimedFrame(0.0, self._render_later(self._image))
            return
        for second, _ in self._walk():
            yield TimedFrame(second, self._render_later(self._image.copy()))

    def frames_for(self, grid: SamplingGrid) -> Iterator[TimedFrame]:
        """All of `shown`: a frame of an animation is only known after those before it."""
        return self.shown(grid.start_seconds)

    def key_frames(self, start_seconds: float) -> Iterator[TimedFrame]:
        """The first picture: the others are changes to it."""
        return itertools.islice(self.shown(start_seconds), 1)

    def _describe(self, file: BinaryIO) -> MediaInfo:
        image = self._image
        width, height = image.size
        # A TIFF already reports its upright size, although its tag stays until the pixels are loaded.
        if image.format != "TIFF" and _orientation(image) >= 5:
            width, height = height, width
        format_ = image.format or ""
        mime = _MIMES.get(format_) or Image.MIME.get(format_) or f"image/{format_.lower()}"
        codec = _CODECS.get(format_, format_.lower())
        if not self._animated:
            return MediaInfo("image", width, height, 0.0, codec, mime)
        delays = gif_delays(file) if format_ == "GIF" else None
        duration = sum(map(_lasts, delays)) if delays else max(end for _, end in self._walk())
        return MediaInfo("video", width, height, duration, codec, mime)

    def _walk(self) -> Iterator[tuple[float, float]]:
        """Steps the open animation through its frames -> (start, end) seconds of each.

        A damaged frame ends the film there; only when it is the first is the file refused.
        """
        image, second = self._image, 0.0
        for index in range(getattr(image, "n_frames", 1)):
            try:
                with self._worded():
                    image.seek(index)
                    self._limits.check_pixels(*image.size)
                    image.load()
                    delay = float(image.info.get("duration", 0) or 0)
            except CorruptMedia:
                if index == 0:
                    raise
                self.incomplete = True
                return
            end = second + _lasts(delay)
            yield second, end
            second = end

    def _render_later(self, image: Image.Image) -> Callable[[], Picture]:
        def render() -> Picture:
            with self._worded():
                steps = _steps_down(image, self._shorter_side)
                if image.format in ("JPEG", "MPO") and steps > 1:
                    # A JPEG is decoded at an eighth to a half of its size for a part of the work.
                    image.draft(None, (image.width // steps, image.height // steps))
                    steps = _steps_down(image, self._shorter_side)
                if not load_what_is_there(image):
                    self.incomplete = True
                picture = upright_rgb(image)
                return picture if steps == 1 else np.array(Image.fromarray(picture).reduce(steps), np.uint8)

        return render

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Turns what Pillow raises into a MediaError with a sentence."""
        name = self._name
        try:
            yield
        except MediaError:
            raise
        except Image.DecompressionBombError as error:
            raise MediaTooLarge(
                f"This {name} declares more pixels than are decoded ({error}). "
                "Send a smaller one, or raise max_pixels.",
                "max_pixels",
            ) from error
        except MemoryError as error:
            raise MediaTooLarge(
                f"This {name} does not fit into memory; send a smaller one.", "decode_memory_bytes"
            ) from error
        except NotImplementedError as error:
            raise UnsupportedMedia(f"This {name} is of a variety that cannot be read: {error}.") from error
        # Plug-ins let out whatever their parsers stumble over (OSError, SyntaxError, struct.error, KeyError ...),
        # and all of it means that the file is damaged.
        except Exception as error:
            # The tags of a TIFF that was opened say nothing of why its pixels cannot be read.
            of_tags = name == "TIFF" and self._is_open
            variety = None if of_tags else unsupported_variety(self._file, name)
            if variety is not None:
                raise UnsupportedMedia(
                    f"This format is not supported: {variety}. Convert the picture, for example to JPEG or PNG."
                ) from error
            raise CorruptMedia(
                f"This {name} is damaged or cut short ({_reason(error)}). Send the file again from its source."
            ) from error


def _steps_down(image: Image.Image, shorter_side: int | None) -> int:
    """By how much a picture may be divided without a side falling below shorter_side."""
    return max(1, min(image.size) // shorter_side) if shorter_side else 1


def upright_rgb(image: Image.Image) -> Picture:
    """Any loaded Pillow picture -> (H, W, 3) uint8, turned as its EXIF says, on white where transparent."""
    turn = _TURNS.get(_orientation(image))
    rgb = to_rgb(image)
    if turn is not None:
        rgb = rgb.transpose(turn)
    return np.array(rgb, np.uint8)


def _lift_pillows_guard(limits: MediaLimits) -> None:
    """Lets Pillow, whose one limit holds for the whole process, go as far as max_pixels.

    It stays in place, since a format may take memory while it is only being opened. (Pillow refuses at twice
    the number.)
    """
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limits.max_pixels // 2 + 1)


def _lasts(delay: float) -> float:
    """The delay of a frame in milliseconds -> seconds it is shown; like browsers, takes haste for a slip."""
    return (delay if delay > 10 else 100.0) / 1000


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header cannot be read"
    return str(error).strip().rstrip(".") or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 when there is none or the EXIF block cannot be parsed."""
    # Asked for EXIF that it has not met yet, Pillow decodes a PNG to its end and loses the errors on the way.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # A broken EXIF block fails in as many ways as a broken picture, and must not cost the picture.
    except Exception:
        return 1


def _heed_exif_of_heif(image: Image.Image, file: BinaryIO) -> None:
    """Makes the EXIF orientation of a HEIC count where its container does not turn it.

    Normally the container does, and the EXIF only repeats it, so pillow_heif sets it to 1 and keeps the
    original aside; some camera apps write the EXIF alone.
    """
    position = file.tell()
    file.seek(0)
    head = file.read(_HEIF_HEAD_BYTES)
    file.seek(position)
    if b"ipma" in head and b"irot" not in head and b"imir" not in head:
        image.getexif()[ExifTags.Base.Orientation] = image.info.get("original_orientation") or 1
