"""A decoded picture as the small JPEG that is stored of it, and back. Size and quality stand here.

Measured on photos and film frames of a research pack (docs/benchmarks.md): 25 KB a picture, 39 dB of the same size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptMedia
from ...media.frames import Picture

SIDE = 320  # pixels of the shorter side at most
LONGEST = 8 * SIDE  # of the longer side: a strip of a panorama is bounded too, and JPEG has a limit of its own
QUALITY = 80


def shown_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the stored picture of a picture of this size; it is never enlarged."""
    share = min(1.0, SIDE / max(1, min(width, height)), LONGEST / max(1, width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def to_jpeg(picture: Picture) -> bytes:
    """picture (H, W, 3) uint8 RGB of any size -> JPEG of shown_size."""
    height, width = picture.shape[:2]
    size = shown_size(width, height)
    if size != (width, height):
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def from_jpeg(data: bytes) -> NDArray[np.uint8]:
    """JPEG -> (H, W, 3) uint8 RGB. Raises CorruptMedia."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if found is None:
        raise CorruptMedia("A stored picture is no JPEG: its file is damaged. Run `vicmae verify`.")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)
