"""Search: one request in, one result out, for HTTP, the command line and Python.

query       decode and embed what is looked for
candidates  the items with the nearest vectors
ranking     hits by all of their stored vectors
frames      the hits of a picture, verified; clips  those of a clip
cursor      where the next page goes on
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...export.calibration import Calibration, how_to_calibrate
from ..catalog import Filter
from ..collection import Collection
from ..matching import SURE
from ..vectors import Allowed, Effort
from .candidates import candidates, candidates_of_each, checked
from .clips import verified_clips
from .cursor import Cursor, first_cursor, read_cursor, write_cursor
from .frames import CANDIDATES, verified_frames
from .hypotheses import Hypothesis
from .query import EmbeddedQuery, Query, Target, embed_query
from .ranking import Hit, clip_hits, frame_hits, renditions_of
from .tools import Tools
from .verification import identical, in_whole

MAX_PROBES = 48  # frames of a clip that look for candidates; all of them are aligned
OF_EACH = 3  # items that a part of a picture may bring: some parts are like very many
SPARE_CANDIDATES = 8  # items aligned beyond the limit, since candidates are ranked more coarsely


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """What is looked for, and among what.

    limit   hits on a page
    filter  which items may be found
    verify  whether the best hits are looked at; else vectors alone tell
    exact   whether every vector is compared, however many there are
    cursor  next_cursor of the page before: all else but the limit must be as it was then
    """

    query: Query | EmbeddedQuery
    limit: int = 10
    filter: Filter | None = None
    verify: bool = True
    exact: bool = False
    cursor: str | None = None

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise InvalidRequest(f"limit must be at least 1, got {self.limit}.")

    def digest(self) -> str:
        """A name for what is asked: equal for requests that are pages of one search."""
        asked = f"{self.query.digest()} {self.filter} {self.verify} {self.exact}"
        return hashlib.sha256(asked.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SearchResult:
    """hits, best first; next_cursor: of the next page, None on the last one; plan: how it was found.

    found  whether any of them is likely what is looked for; None where nothing was looked at to tell
    """

    hits: list[Hit]
    target: Target
    found: bool | None
    next_cursor: str | None
    plan: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as HTTP and `--json` give them."""
        data = [hit_dict(hit) for hit in self.hits]
        return {"data": data, "found": self.found, "plan": self.plan, "next_cursor": self.next_cursor}


def search(
    collection: Collection,
    request: SearchRequest,
    tools: Tools | None = None,
    on_candidates: Callable[[SearchResult], None] = lambda result: None,
) -> SearchResult:
    """Where was this seen? min(limit, items that may be found) hits.

    tools          needed for a source, and to look at pictures
    on_candidates  is told what vectors alone find, before that is verified
    Raises InvalidRequest, NotFound, MediaError.
    """
    tools = tools or Tools()
    digest = request.digest()
    cursor = first_cursor(collection) if request.cursor is None else read_cursor(collection, request.cursor, digest)
    query = request.query
    query = embed_query(collection, query, tools) if isinstance(query, Query) else query
    effort = Effort(request.exact)
    looked_at = max(request.limit + 1, CANDIDATES)  # one more than the limit tells whether there is another page
    with tools.stage("index_ms"):
        collection.index.refresh()
        allowed = _allowed(collection, request, cursor)
        hits = _with_identity(find(collection, query, looked_at, allowed, effort, tools.calibration), query)

    def result(hits: list[Hit]) -> SearchResult:
        page, rest = hits[: request.limit], hits[request.limit :]
        following = write_cursor(collection, cursor, [hit.item.id for hit in page], digest) if rest else None
        plan = {"target": query.target, "query_frames": len(query.vectors), **effort.to_dict()}
        if any(hit.confidence is None for hit in page):
            plan["note"] = how_to_calibrate("clips" if query.target == "clip" else "pictures")
        return SearchResult([_as_sent(hit, query) for hit in page], query.target, _was_found(hits), following, plan)

    def find_parts(vectors: NDArray[np.float32], asked_as: Sequence[Hypothesis]) -> list[Hit]:
        with tools.stage("index_ms"):
            found = candidates_of_each(collection, checked(collection, vectors), OF_EACH, allowed, effort)
            return frame_hits(vectors, asked_as, found, collection.index.mean(), tools.calibration)

    if not request.verify:
        return result(hits)
    on_candidates(result(hits))
    if query.target == "clip":
        return result(verified_clips(collection, hits, query, tools))
    return result(verified_frames(collection, hits, query, find_parts, tools))


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
    if query.target == "clip":
        query = _checked_clip(collection, query)
        renditions = list(renditions_of(query).values())
        most = min(MAX_PROBES // len(renditions), len(query.vectors))
        probes = np.unique(np.linspace(0, len(query.vectors) - 1, most).astype(np.int64))
        asked = np.concatenate([vectors[probes] for vectors in renditions])
        found = candidates(collection, asked, wanted + SPARE_CANDIDATES, allowed, effort)
        hits = clip_hits(query, found, collection.index.mean(), wanted, calibration)
    else:
        vectors = checked(collection, query.as_frame[None])
        found = candidates(collection, vectors, wanted, allowed, effort)
        hits = frame_hits(vectors, [Hypothesis()], found, collection.index.mean(), calibration)
    return [hit for hit in hits if hit.item.id != query.item_id][:limit]


def hit_dict(hit: Hit) -> dict[str, Any]:
    """One hit as plain values. The path stays out: it is nobody's business over HTTP."""
    item, place = hit.item, hit.verification
    return {
        "id": item.id,
        "uri": item.uri,
        "name": item.name,
        "kind": item.kind,
        "mime": item.mime,
        "score": hit.score,
        "confidence": hit.confidence,
        "verified": hit.verified,
        "mirrored": hit.segments[0].mirrored,
        "region": None if place is None else place.region,
        "query_region": None if place is None else place.query_region,
        "differs": [] if place is None else list(place.differs),
        "start_seconds": hit.start_seconds,
        "end_seconds": hit.end_seconds,
        "segments": [asdict(segment) for segment in hit.segments],
        "metadata": item.metadata,
    }


def _with_identity(hits: list[Hit], query: EmbeddedQuery) -> list[Hit]:
    """Items of the very bytes that are looked for are certain, and come first."""
    if query.sha256 is None:
        return hits
    told = [identical(hit) if hit.item.sha256 == query.sha256 else hit for hit in hits]
    return sorted(told, key=lambda hit: not hit.verified)


def _as_sent(hit: Hit, query: EmbeddedQuery) -> Hit:
    """The hit with its place told in the picture that was sent, where a region of that was looked for."""
    found = hit.verification
    return hit if found is None else replace(hit, verification=in_whole(found, query.region))


def _was_found(hits: Sequence[Hit]) -> bool | None:
    """Whether any hit is likely right; None: nothing was looked at, or nothing says how sure a hit is."""
    if any(hit.confidence is not None and hit.confidence >= SURE for hit in hits):
        return True
    return None if all(hit.verified is None for hit in hits) else False


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
