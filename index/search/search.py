"""Search: one request in, one result out, for HTTP, the command line and Python.

query       decode and embed what is looked for
candidates  the items with the nearest vectors
ranking     hits by all of their stored vectors
rerank      the best hits by their pixels
cursor      where the next page goes on
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...export.calibration import Calibration, how_to_calibrate
from ..catalog import Filter
from ..collection import Collection
from ..vectors import Allowed, Effort
from .candidates import candidates, checked
from .cursor import Cursor, first_cursor, read_cursor, write_cursor
from .query import EmbeddedQuery, Query, Target, embed_query
from .ranking import Hit, clip_hits, frame_hits, renditions_of
from .rerank import RERANKED, rerank
from .tools import Tools

MAX_PROBES = 48  # frames of a clip that look for candidates; all of them are aligned
SPARE_CANDIDATES = 8  # items aligned beyond the limit, since candidates are ranked more coarsely


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """What is looked for, and among what.

    limit   hits on a page
    filter  which items may be found
    rerank  whether the pixels of the best hits are compared
    exact   whether every vector is compared, however many there are
    cursor  next_cursor of the page before: all else but the limit must be as it was then
    """

    query: Query | EmbeddedQuery
    limit: int = 10
    filter: Filter | None = None
    rerank: bool = True
    exact: bool = False
    cursor: str | None = None

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidRequest(f"limit must be at least 1, got {self.limit}.")

    def digest(self) -> str:
        """A name for what is asked: equal for requests that are pages of one search."""
        asked = f"{self.query.digest()} {self.filter} {self.rerank} {self.exact}"
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SearchResult:
    """hits, best first; next_cursor: of the next page, None on the last one; plan: how it was found."""

    hits: list[Hit]
    target: Target
    next_cursor: str | None
    plan: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as HTTP and `--json` give them."""
        return {"data": [hit_dict(hit) for hit in self.hits], "plan": self.plan, "next_cursor": self.next_cursor}


def search(collection: Collection, request: SearchRequest, tools: Tools | None = None) -> SearchResult:
    """Where was this seen? min(limit, items that may be found) hits.

    tools: needed for a source, and to compare pixels. Raises InvalidRequest, NotFound, MediaError.
    """
    tools = tools or Tools()
    digest = request.digest()
    cursor = first_cursor(collection) if request.cursor is None else read_cursor(collection, request.cursor, digest)
    query = request.query
    query = embed_query(collection, query, tools) if isinstance(query, Query) else query
    effort = Effort(request.exact)
    wanted = request.limit + 1  # one more tells whether there is another page
    with tools.stage("index_ms"):
        collection.index.refresh()
        allowed = _allowed(collection, request, cursor)
        looked_at = max(wanted, RERANKED) if request.rerank else wanted
        hits = find(collection, query, looked_at, allowed, effort, tools.calibration)
    with tools.stage("refine_ms"):
        hits = rerank(collection, hits, query, tools) if request.rerank else hits
    page, rest = hits[: request.limit], hits[request.limit :]
    following = write_cursor(collection, cursor, [hit.item.id for hit in page], digest) if rest else None
    plan = {"target": query.target, "query_frames": len(query.vectors), **effort.to_dict()}
    is_clip = query.target == "clip"
    if (tools.calibration.stretch if is_clip else tools.calibration.frame) is None:
        plan["note"] = how_to_calibrate("clips" if is_clip else "pictures")
    return SearchResult(page, query.target, following, plan)


def find(
    collection: Collection,
    query: EmbeddedQuery,
    limit: int,
    allowed: Allowed | None,
    effort: Effort,
    calibration: Calibration,
) -> list[Hit]:
    """The best `limit` items that are allowed (None: all are), by vectors; not the one the query was taken from."""
    wanted = limit if query.item_id is None else limit + 1
    mean = collection.index.mean()
    if query.target == "clip":
        query = _checked_clip(collection, query)
        renditions = list(renditions_of(query).values())
        most = min(MAX_PROBES // len(renditions), len(query.vectors))
        probes = np.unique(np.linspace(0, len(query.vectors) - 1, most).astype(np.int64))
        asked = np.concatenate([vectors[probes] for vectors in renditions])
        found = candidates(collection, asked, wanted + SPARE_CANDIDATES, allowed, effort)
        hits = clip_hits(query, found, mean, wanted, calibration)
    else:
        vectors = checked(collection, query.as_frame[None])
        found = candidates(collection, vectors, wanted, allowed, effort)
        hits = frame_hits(vectors[0], found, mean, calibration)
    return [hit for hit in hits if hit.item.id != query.item_id][:limit]


def hit_dict(hit: Hit) -> dict[str, Any]:
    """One hit as plain values. The path stays out: it is nobody's business over HTTP."""
    item = hit.item
    return {
        "id": item.id,
        "uri": item.uri,
        "name": item.name,
        "kind": item.kind,
        "mime": item.mime,
        "score": hit.score,
        "confidence": hit.confidence,
        "start_seconds": hit.start_seconds,
        "end_seconds": hit.end_seconds,
        "segments": [asdict(segment) for segment in hit.segments],
        "metadata": item.metadata,
    }


def _checked_clip(collection: Collection, query: EmbeddedQuery) -> EmbeddedQuery:
    """The query with vectors of unit length. Raises InvalidRequest."""

    def unit(vectors: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        return None if vectors is None else checked(collection, vectors)

    vectors = checked(collection, query.vectors)
    return replace(query, vectors=vectors, mirrored=unit(query.mirrored), inset=unit(query.inset))


def _allowed(collection: Collection, request: SearchRequest, cursor: Cursor) -> Allowed | None:
    """The vectors of the items that may be found; None when all may."""
    if request.filter is None and request.cursor is None:
        return None
    allowed = collection.allowed(request.filter)
    return allowed if request.cursor is None else allowed.until(cursor.last_vector_id).without(cursor.shown)
