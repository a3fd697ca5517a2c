"""A picture, a clip, an item or a vector in, hits out: one flow for HTTP, the command line and Python."""

from .decoding import Decoded, decode, mirrored
from .film_frames import frames_like
from .pairwise import align_items, shared
from .query import EmbeddedQuery, Query, Target, embed_query
from .ranking import Hit, aligned_hits
from .rectangles import film_within
from .regions import Region
from .search import SearchRequest, SearchResult, find, search
from .shown import FilePicture, Shown, picture_shown, pictures_shown
from .tools import Stage, Tools, tools_of

__all__ = [
    "Decoded",
    "EmbeddedQuery",
    "FilePicture",
    "Hit",
    "Query",
    "Region",
    "SearchRequest",
    "SearchResult",
    "Shown",
    "Stage",
    "Target",
    "Tools",
    "align_items",
    "aligned_hits",
    "decode",
    "embed_query",
    "mirrored",
    "film_within",
    "find",
    "frames_like",
    "search",
    "picture_shown",
    "pictures_shown",
    "shared",
    "tools_of",
]
