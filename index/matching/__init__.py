"""Are two pictures, or two stretches of film, the same? Alignment of vectors, evidence of pixels, confidence.

Opens no database and writes nothing.
"""

from .alignment import Segment, Timeline, align
from .confidence import SURE, discount_rivals, of_frame, of_stretch, of_verified, with_pixels
from .evidence import Evidence, PictureAt, agreement, evidence_of, pictures_of
from .features import Features, detailed_features_of, features_of, query_features_of
from .geometry import Verification, is_same_picture, verify
from .likeness import cosine_of, likeness, rarity, shots_of, variety
from .pixels import variant_of
from .quads import Quad
from .relation import Related, Relation, Variant, related

__all__ = [
    "SURE",
    "Evidence",
    "Features",
    "PictureAt",
    "Quad",
    "Related",
    "Relation",
    "Segment",
    "Timeline",
    "Variant",
    "Verification",
    "agreement",
    "align",
    "cosine_of",
    "detailed_features_of",
    "discount_rivals",
    "evidence_of",
    "features_of",
    "is_same_picture",
    "likeness",
    "of_frame",
    "of_stretch",
    "of_verified",
    "pictures_of",
    "query_features_of",
    "rarity",
    "related",
    "shots_of",
    "variant_of",
    "variety",
    "verify",
    "with_pixels",
]
