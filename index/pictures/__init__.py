"""The frame store: one small picture of every stored frame, in one immutable file an item, beside the catalog.

What shows a frame reads it here and opens no original. The catalog says which file is whose; nothing here has SQL.
"""

from .files import SUFFIX, PictureFiles
from .jpeg import SIDE, from_jpeg, shown_size, to_jpeg
from .pictures import PICTURES_FOLDER, Pictures, StoredPicture
from .spool import Spool

__all__ = [
    "PICTURES_FOLDER",
    "SIDE",
    "SUFFIX",
    "PictureFiles",
    "Pictures",
    "Spool",
    "StoredPicture",
    "from_jpeg",
    "shown_size",
    "to_jpeg",
]
