"""A picture, a clip, an item or a vector in, hits out: one flow for HTTP, the command line and Python."""

from .decoding import Decoded, decode, mirrored
from .pairwise import align_items, shared
from .query import EmbeddedQuery, Query, Target, embed_query
from .ranking import Hit, aligned_hits
from .regions import Region
from .rerank import RERANKED, rerank
from .search import SearchRequest, SearchResult, find, search
from .tools import Stage, Tools, tools_of

__all__ = [
    "RERANKED",
    "Decoded",
    "EmbeddedQuery",
    "Hit",
    "Query",
    "Region",
    "SearchRequest",
    "SearchResult",
    "Stage",
    "Target",
    "Tools",
    "align_items",
    "aligned_hits",
    "decode",
    "embed_query",
    "mirrored",
    "rerank",
    "find",
    "search",
    "shared",
    "tools_of",
]
