"""Are two pictures, or two stretches of film, the same? Alignment of vectors, evidence of pixels, confidence.

Opens no database and writes nothing.
"""

from .alignment import Segment, Timeline, align
from .confidence import SURE, discount_rivals, of_frame, of_stretch, with_pixels
from .evidence import Evidence, PictureAt, agreement, evidence_of, pictures_of
from .likeness import cosine_of, likeness, rarity, shots_of, variety
from .pixels import Variant, variant_of

__all__ = [
    "SURE",
    "Evidence",
    "PictureAt",
    "Segment",
    "Timeline",
    "Variant",
    "agreement",
    "align",
    "cosine_of",
    "discount_rivals",
    "evidence_of",
    "likeness",
    "of_frame",
    "of_stretch",
    "pictures_of",
    "rarity",
    "shots_of",
    "variant_of",
    "variety",
    "with_pixels",
]
