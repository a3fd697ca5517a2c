"""The frame store: one small picture of every stored frame, in one immutable file an item, beside the catalog.

What shows a frame reads it here and opens no original. The catalog says which file is whose; nothing here has SQL.
"""

from .jpeg import SIDE, from_jpeg, shown_size, to_jpeg
from .pictures import Pictures, StoredPicture
from .spool import Spool

__all__ = ["SIDE", "Pictures", "Spool", "StoredPicture", "from_jpeg", "shown_size", "to_jpeg"]
