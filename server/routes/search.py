"""POST /v1/collections/{c}/search: by a file, a data URL, an item of the collection, or a vector.

Turns a request into query vectors and hits into an answer; finding is index/search's work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from ...errors import InvalidRequest
from ...index.catalog.filters import Filter, parse_filter, read_filter
from ...index.collection import Collection
from ...index.search.answers import search_answer
from ...index.search.cursor import Scope, question, read_cursor, view_now, write_cursor
from ...index.search.query import end_of
from ...index.search.rerank import CANDIDATES, PICTURE, refine
from ...index.search.rerank_clip import refine_clip
from ...index.search.search import Hit, search_clip, search_frame
from ...index.vectors.plan import Effort
from ...media.reader import Source
from ..dependencies import ServicesDependency, run_in_pipeline
from ..inference.request_context import RequestContext
from ..media_input.data_urls import media_bytes
from ..media_input.multipart import read_form
from ..schemas.search import SearchAnswer, SearchRequest, Target
from ..services import Services
from .items import check_limit

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"])

FORM_FIELDS = ("limit", "target", "start_seconds", "end_seconds", "refine", "filter", "cursor", "exact", "min_recall")
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "limit": {"type": "integer", "minimum": 1, "default": 10},
                    "target": {"type": "string", "enum": ["frame", "clip"]},
                    "start_seconds": {"type": "number", "minimum": 0},
                    "end_seconds": {"type": "number", "minimum": 0},
                    "refine": {"type": "boolean", "default": True},
                    "exact": {"type": "boolean", "default": False},
                    "min_recall": {"type": "number", "minimum": 0, "maximum": 1},
                    "filter": {"type": "string", "description": "a Filter as JSON text"},
                    "cursor": {"type": "string", "description": "next_cursor of the page before"},
                },
            }
        },
    },
}


@dataclass(frozen=True)
class Query:
    """What to look for and how to compare: vectors (Q, D) float32 of frames at seconds (Q,) float64.

    informative  (Q,) float32 in 0..1, near 0 for black and flat frames; 1 where a frame is looked for, which never asks
    picture  (P, P, 3) uint8, the one picture that was sent: tells copies apart (index.refine)
    itself  id of the item the query was taken from: it is not its own answer
    mirrored  (Q, D) float32 of a clip's frames with left and right exchanged; None where only vectors are known
    inset  the same of a film that runs within a clip's frames; None where there is none
    end_seconds  when the clip ends, where known
    source  the file that was asked for, to be looked at again; None where there is none
    """

    vectors: NDArray[np.float32]
    seconds: NDArray[np.float64]
    informative: NDArray[np.float32]
    target: Target
    picture: NDArray[np.uint8] | None = None
    itself: str | None = None
    mirrored: NDArray[np.float32] | None = None
    inset: NDArray[np.float32] | None = None
    end_seconds: float | None = None
    source: Source | None = None

    def as_frame(self) -> NDArray[np.float32]:
        """The whole query as one vector (D,): the mean of its frames."""
        return np.asarray(self.vectors.mean(axis=0), np.float32)


@router.post("/search", response_model=SearchAnswer, openapi_extra={"requestBody": BODY})
async def search(name: str, request: Request, here: ServicesDependency) -> Response:
    """Where was this seen? target frame names each item's best moment, clip aligns stretches in time."""
    collection = await to_thread.run_sync(here.library.open_for, name, here.engine)
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        async with read_form(request, here.incoming, keeps=False) as form:
            form.only(*FORM_FIELDS)
            wish = parsed(SearchRequest.model_validate_strings, dict(form.fields))
            upload = form.one_file()
            return await answered(here, request, collection, wish, upload.source, upload.sha256)
    wish = unwrapped(parsed(SearchRequest.model_validate_json, await request.body()))
    given = [field for field in ("item", "embedding", "image") if getattr(wish, field) is not None]
    if len(given) != 1:
        told = " and ".join(given) or "none of them"
        raise InvalidRequest(f"Give exactly one of item, embedding and image to look for; got {told}.")
    (image,) = await here.fetcher.fill_in([wish.image])
    return await answered(here, request, collection, wish, image)


R = TypeVar("R", bound=BaseModel)


def parsed(validate: Callable[..., R], raw: Any) -> R:
    """raw as a request; its faults are told the way FastAPI tells a body's."""
    try:
        return validate(raw)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults) from error


def unwrapped(wish: SearchRequest) -> SearchRequest:
    """{"query": {"item": …}, "limit": 5} -> {"item": …, "limit": 5}."""
    if wish.query is None:
        return wish
    outer = wish.model_dump(exclude_unset=True, exclude={"query"})
    if both := sorted(set(outer) & set(wish.query)):
        raise InvalidRequest(f"{', '.join(both)} stands both in the request and in its query; say it once.")
    inner = parsed(SearchRequest.model_validate, {**outer, **wish.query})
    if inner.query is not None:
        raise InvalidRequest("A query within a query makes no sense; expected item, embedding or image.")
    return inner


async def answered(
    here: Services,
    request: Request,
    collection: Collection,
    wish: SearchRequest,
    media: Any,
    sha256: str | None = None,
) -> Response:
    """The whole trip of one search, in a worker thread.

    media: the path of a file that was sent, with its sha256, or what inputs.media_bytes reads.
    """
    check_limit(here, wish.limit)
    if wish.start_seconds is not None and wish.end_seconds is not None and wish.end_seconds <= wish.start_seconds:
        raise InvalidRequest(f"end_seconds {wish.end_seconds:g} must be after start_seconds {wish.start_seconds:g}.")

    def work(context: RequestContext) -> SearchAnswer:
        asked = question(sha256, wish.model_dump(exclude={"limit", "cursor", "query"}))
        view = view_now(collection) if wish.cursor is None else read_cursor(collection, wish.cursor, asked)
        effort = Effort(wish.exact)
        scope = Scope(filter_of(wish), None if wish.cursor is None else view)
        query = query_of(here, collection, wish, media, context)
        # One hit more than fits tells whether there is another page.
        wanted = wish.limit + 1
        with context.stage("index_ms"):
            hits = look(collection, query, max(wanted, CANDIDATES) if wish.refine else wanted, scope, effort)
        with context.stage("refine_ms"):
            if wish.refine and query.target == "clip" and query.source is not None:
                hits = refine_clip(hits, query.source, here.limits, here.decoder)
            elif wish.refine and query.picture is not None:
                hits = refine(collection, hits, query.as_frame(), query.picture, here.limits, here.decoder)
        page, rest = hits[: wish.limit], hits[wish.limit :]
        following = write_cursor(collection, view, [hit.item.id for hit in page], asked) if rest else None
        answer = search_answer(collection, page, query.target, len(query.vectors), context.timing, following, effort)
        return SearchAnswer(**answer)

    answer = await run_in_pipeline(here, request, work)
    return Response(answer.model_dump_json(), media_type="application/json")


def filter_of(wish: SearchRequest) -> Filter | None:
    """The request's filter; a form carries it as text."""
    if wish.filter is None:
        return None
    return read_filter(wish.filter) if isinstance(wish.filter, str) else parse_filter(wish.filter)


def query_of(here: Services, collection: Collection, wish: SearchRequest, media: Any, context: RequestContext) -> Query:
    """The request's vectors, whichever way it names them."""
    if wish.embedding is not None:
        if wish.target == "clip":
            raise InvalidRequest("One embedding is one frame: target clip needs an item, an image or a file.")
        with np.errstate(over="ignore"):
            return Query(np.array([wish.embedding], np.float32), np.zeros(1), np.ones(1, np.float32), "frame")
    if wish.item is not None:
        return query_of_item(collection, wish)
    source = media if isinstance(media, Path) else media_bytes(media, "image")
    if wish.target == "frame" and wish.start_seconds is not None and wish.end_seconds is None:
        embedded = here.pipeline.embed_moment(source, wish.start_seconds, context)
    else:
        as_clip = wish.target != "frame"
        finer = PICTURE if wish.refine and wish.target != "clip" else None
        embedded = here.pipeline.embed_query(source, context, wish.start_seconds, wish.end_seconds, as_clip, finer)
    target = wish.target or ("clip" if embedded.info.kind == "video" else "frame")
    return Query(
        embedded.vectors,
        embedded.seconds,
        embedded.informative if target == "clip" else np.ones(len(embedded.seconds), np.float32),
        target,
        embedded.picture,
        mirrored=embedded.mirrored,
        inset=embedded.inset,
        end_seconds=end_of(embedded.info, wish.end_seconds),
        source=source,
    )


def query_of_item(collection: Collection, wish: SearchRequest) -> Query:
    """The stored vectors of an item: all, a stretch, or (target frame, only a start) one moment."""
    assert wish.item is not None
    item = collection.get(wish.item)
    moments = collection.moments_of(item.id)
    seconds = moments.start_seconds
    first, last = 0, len(seconds)
    target = wish.target or ("clip" if item.kind == "video" else "frame")
    if wish.start_seconds is not None or wish.end_seconds is not None:
        start_seconds = wish.start_seconds or 0.0
        # The frame that is shown at start_seconds begins at or before it.
        first = max(0, int(np.searchsorted(seconds, start_seconds + 1e-3, side="right")) - 1)
        if wish.end_seconds is not None:
            last = max(first + 1, int(np.searchsorted(seconds, wish.end_seconds)))
        elif target == "frame":
            last = first + 1
    part = slice(first, last)
    return Query(
        moments.vectors[part],
        seconds[part],
        moments.informative[part],
        target,
        itself=item.id,
        end_seconds=float(moments.end_seconds[part][-1]),
        source=item.path,
    )


def look(collection: Collection, query: Query, limit: int, scope: Scope, effort: Effort) -> list[Hit]:
    """The best `limit` items in scope, without the one the query was taken from."""
    wanted = limit if query.itself is None else limit + 1
    if query.target == "clip":
        found = search_clip(
            collection,
            query.vectors,
            query.seconds,
            wanted,
            query.informative,
            query.mirrored,
            query.end_seconds,
            scope,
            effort,
            query.inset,
        )
    else:
        found = search_frame(collection, query.as_frame(), wanted, scope, effort)
    return [hit for hit in found if hit.item.id != query.itself][:limit]
