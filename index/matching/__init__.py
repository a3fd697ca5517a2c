"""Are two pictures, or two stretches of film, the same? Alignment of vectors, geometry of pictures, confidence.

Opens no database and writes nothing.
"""

from .alignment import Segment, Timeline, align
from .confidence import SURE, discount_rivals, not_verified, of_frame, of_looks, of_stretch, of_verified
from .features import SHORT_SIDE, Features, detailed_features_of, features_of, query_features_of
from .geometry import Verification, is_same_picture, verify
from .likeness import cosine_of, likeness, rarity, shots_of, variety
from .motion import correlation, laid_on, motion_of
from .quads import Quad, mapped
from .relation import Related, Relation, Variant, related

__all__ = [
    "SHORT_SIDE",
    "SURE",
    "Features",
    "Quad",
    "Related",
    "Relation",
    "Segment",
    "Timeline",
    "Variant",
    "Verification",
    "align",
    "correlation",
    "cosine_of",
    "detailed_features_of",
    "discount_rivals",
    "features_of",
    "is_same_picture",
    "laid_on",
    "likeness",
    "mapped",
    "motion_of",
    "not_verified",
    "of_frame",
    "of_looks",
    "of_stretch",
    "of_verified",
    "query_features_of",
    "rarity",
    "related",
    "shots_of",
    "variety",
    "verify",
]
