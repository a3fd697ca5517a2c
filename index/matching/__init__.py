"""Are two pictures, or two stretches of film, the same? Alignment of vectors, evidence of pixels, confidence.

Opens no database and writes nothing.
"""

from .alignment import Segment, align
from .evidence import Evidence, evidence_of
from .pixels import Variant, variant_of
from .verification import look

__all__ = ["Evidence", "Segment", "Variant", "align", "evidence_of", "look", "variant_of"]
