"""Camera RAW: an open file -> the picture developed by LibRaw, never the small JPEG that a camera puts beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from PIL import TiffImagePlugin

from ..errors import CorruptMedia, MediaTooLarge, UnsupportedMedia
from .frames import Picture, TimedFrame
from .info import MediaInfo
from .limits import MediaLimits
from .sampling import SamplingGrid

if TYPE_CHECKING:  # loads only where a RAW file is read
    import rawpy

_MIMES = {
    "DNG": "image/x-adobe-dng",
    "CR2": "image/x-canon-cr2",
    "CR3": "image/x-canon-cr3",
    "RAF": "image/x-fuji-raf",
    "ORF": "image/x-olympus-orf",
    "RW2": "image/x-panasonic-rw2",
    "X3F": "image/x-sigma-x3f",
    "MRW": "image/x-minolta-mrw",
}
_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706
_SENSOR = (32803, 34892)  # photometric: as the sensor saw it, mosaic or linear
_TURNED = (5, 6)  # LibRaw's flips by which width and height are exchanged


def is_raw_tiff(file: BinaryIO) -> bool:
    """Whether a file that begins like a TIFF is a camera's (NEF, ARW, DNG, PEF ...). Keeps the position.

    Such a file says it is a DNG, holds what a sensor saw, or begins with a small picture and has the others below it.
    """
    position = file.tell()
    try:
        file.seek(0)
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        is_small = bool(int(tags.get(_SUBFILE, 0)) & 1) and _SUB_IFDS in tags
        return _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _SENSOR or is_small
    # Whatever its tags do to the parser, ImageMedium says what is wrong with them.
    except Exception:
        return False
    finally:
        file.seek(position)


class RawMedium:
    """A camera RAW file that the caller closes: one picture at 0.0."""

    duration_seconds: float | None = None
    incomplete = False

    def __init__(self, file: BinaryIO, name: str, limits: MediaLimits, shorter_side: int | None = None) -> None:
        """name: of the format; shorter_side: below which no side is shrunk. Raises MediaError."""
        self._file = file
        self._name = name
        self._limits = limits
        self._shorter_side = shorter_side

    @cached_property
    def info(self) -> MediaInfo:
        with self._opened() as raw:
            width, height = _upright_size(raw)
            mime = _MIMES.get(self._name, "image/x-dcraw")
            return MediaInfo("image", width, height, 0.0, "raw", mime)

    def shown(self, start_seconds: float) -> Iterator[TimedFrame]:
        yield TimedFrame(0.0, self._developed)

    def frames_for(self, grid: SamplingGrid) -> Iterator[TimedFrame]:
        return self.shown(0.0)

    def key_frames(self, start_seconds: float) -> Iterator[TimedFrame]:
        return self.shown(0.0)

    def _developed(self) -> Picture:
        with self._opened() as raw:
            halves = self._shorter_side is not None and min(_upright_size(raw)) >= 2 * self._shorter_side
            # The camera's own white balance, as in the JPEG that it would have written; sRGB, 8 bits, upright.
            picture: Picture = raw.postprocess(use_camera_wb=True, half_size=halves, output_bps=8)
            return picture

    @contextmanager
    def _opened(self) -> "Iterator[rawpy.RawPy]":
        """Turns what LibRaw raises into a MediaError with a sentence."""
        import rawpy

        self._file.seek(0)
        try:
            with rawpy.imread(self._file) as raw:
                self._limits.check_pixels(raw.sizes.raw_width, raw.sizes.raw_height)
                yield raw
        except (rawpy.LibRawFileUnsupportedError, rawpy.NotSupportedError) as error:
            raise UnsupportedMedia(
                f"This format is not supported: {self._name} of a camera that LibRaw {_version()} does not know. "
                "Convert the photo, for example to JPEG."
            ) from error
        except (rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError, MemoryError) as error:
            raise MediaTooLarge(
                f"This {self._name} does not fit into memory; send a smaller one.", "decode_memory_bytes"
            ) from error
        except rawpy.LibRawError as error:
            raise CorruptMedia(
                f"This {self._name} is damaged or cut short ({error}). Send the file again from its source."
            ) from error


def _upright_size(raw: "rawpy.RawPy") -> tuple[int, int]:
    sizes = raw.sizes
    return (sizes.height, sizes.width) if sizes.flip in _TURNED else (sizes.width, sizes.height)


def _version() -> str:
    import rawpy

    return ".".join(map(str, rawpy.libraw_version))
