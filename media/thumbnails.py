"""Small JPEGs for people to look at. Nothing is cached here, and no model ever sees them."""

import io

from PIL import Image

from .frames import Picture
from .limits import MediaLimits
from .reader import Source, frame_at

_DEFAULT_LIMITS = MediaLimits()
_QUALITY = 82


def thumbnail(
    source: Source, seconds: float = 0.0, max_side: int = 320, limits: MediaLimits = _DEFAULT_LIMITS
) -> bytes:
    """The frame shown at that second as a JPEG whose longer side is at most max_side; upright, no metadata.

    Raises what frame_at raises. A picture smaller than max_side keeps its size.
    """
    return thumbnail_of(frame_at(source, seconds, limits).data[0], max_side)


def thumbnail_of(picture: Picture, max_side: int) -> bytes:
    """picture (H, W, 3) uint8 RGB -> a JPEG whose longer side is at most max_side."""
    image = Image.fromarray(picture)
    image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
