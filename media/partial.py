"""A picture whose file ends early or is broken on the way: what of it can be decoded. Knows no other formats' files."""

from io import BufferedIOBase
from typing import cast

import numpy as np
from PIL import Image, ImageFile

_LEAST = 0.5  # of the rows: with less of it a picture is refused

# Decoded row by row or scan by scan, so that what came before the end is there. Value: of pixels that did not come.
_BLANK = {"JPEG": (127, 128), "MPO": (127, 128), "PNG": (0,), "TIFF": (0,), "BMP": (0,), "GIF": (0,), "PPM": (0,)}
_END_OF_JPEG = b"\xff\xd9"


def load_what_is_there(image: Image.Image) -> bool:
    """Loads the pixels -> whether all of them came; rows that did not are grey (JPEG) or black.

    Raises what Pillow raises, also where less than half of the rows came.
    """
    try:
        image.load()
        return True
    except OSError:
        if image.format not in _BLANK or not isinstance(image, ImageFile.ImageFile):
            raise
        if image.format in ("JPEG", "MPO"):
            _load_with_an_end(image)
        if _share_of_rows(image, _BLANK[image.format]) < _LEAST:
            raise
        image.tile = []
        return False


def _load_with_an_end(image: ImageFile.ImageFile) -> None:
    """Again, the file followed by the mark that it lacks: what its last bytes hold is only given then."""
    file = cast(BufferedIOBase, image.fp)
    image.load_read = lambda count: file.read(count) or _END_OF_JPEG  # type: ignore[attr-defined]
    image.load()


def _share_of_rows(image: ImageFile.ImageFile, blank: tuple[int, ...]) -> float:
    """Of the rows, those in which anything came; 0.0 where nothing was decoded."""
    if getattr(image, "_im", None) is None:
        return 0.0
    image.tile = []
    pixels = np.asarray(image)
    return float((~np.isin(pixels, blank)).reshape(len(pixels), -1).any(axis=1).mean())
