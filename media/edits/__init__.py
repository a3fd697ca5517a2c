"""What people do to pictures and clips: the edits by which an encoder and the whole product are judged, and the draw.

Knows pictures only. Shares no code with the augmentations of training: what is learnt from one set of edits is judged
by another.
"""

from .arrays import Others, covering, shrunk
from .clip_edits import CLIP_EDITS, ClipEdit, compilation, edited_clip
from .draw import Half, half_of, shuffled
from .edits import EDITS, SIXTEEN, UNEDITED, edited

__all__ = [
    "CLIP_EDITS",
    "EDITS",
    "SIXTEEN",
    "UNEDITED",
    "ClipEdit",
    "Half",
    "Others",
    "compilation",
    "covering",
    "edited",
    "edited_clip",
    "half_of",
    "shrunk",
    "shuffled",
]
