"""POST /v1/collections/{c}/search: by a file, a data URL, an item of the collection, or a vector.

Turns what HTTP says into a SearchRequest and its result into an answer; finding is index/search's work.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from ...errors import InvalidRequest, naming
from ...index.catalog import Filter, parse_filter, read_filter
from ...index.collection import Collection
from ...index.search import Query, Region, SearchRequest, SearchResult
from ...index.search import search as search_collection
from ...media.reader import Source
from ..dependencies import ServicesDependency, run_in_pipeline
from ..events import EVENTS, Send, stream, wants_events
from ..inference.request_context import RequestContext
from ..media_input.data_urls import media_bytes
from ..media_input.multipart import read_form
from ..schemas import search as schemas
from ..services import Services
from ..urls import item_urls
from .items import check_limit

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"])

FORM_FIELDS = (
    *("limit", "target", "start_seconds", "end_seconds", "region", "verify", "refine", "filter", "cursor", "exact"),
    "min_recall",
)
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
                    "region": {"type": "string", "description": "left,top,right,bottom as shares, such as 0.5,0,1,1"},
                    "verify": {"type": "boolean", "default": True},
                    "exact": {"type": "boolean", "default": False},
                    "filter": {"type": "string", "description": "a Filter as JSON text"},
                    "cursor": {"type": "string", "description": "next_cursor of the page before"},
                },
            }
        },
    },
}


@router.post(
    "/search",
    response_model=schemas.SearchAnswer,
    responses={200: {"content": {EVENTS: {}}}},
    openapi_extra={"requestBody": BODY},
)
async def search(name: str, request: Request, services: ServicesDependency) -> Response:
    """Where was this seen? target frame names each item's best moment, clip aligns stretches in time.

    With `Accept: text/event-stream` the answer comes as two events: `candidates`, what vectors alone find, and then
    `verified`, the answer. The data of each is a SearchAnswer.
    """
    collection = await to_thread.run_sync(services.library.open_for, name, services.engine)
    async with AsyncExitStack() as needed:
        body, media, sha256 = await asked(request, services, needed)
        work = searching(services, collection, body, media, sha256)
        if not wants_events(request):
            answer = await run_in_pipeline(services, request, lambda context: work(context, None))
            return Response(answer, media_type="application/json")

        async def sending(send: Send) -> tuple[str, str]:
            told = await run_in_pipeline(services, request, lambda context: work(context, send))
            return "verified", told

        return await stream(request, sending, needed.pop_all())


async def asked(
    request: Request, services: Services, needed: AsyncExitStack
) -> tuple[schemas.SearchRequest, Any, str | None]:
    """The request, what it looks for (a path or what data_urls reads), and its sha256 where that is known.

    needed: keeps an uploaded file until the answer is complete.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        form = await needed.enter_async_context(read_form(request, services.incoming, keeps=False))
        form.only(*FORM_FIELDS)
        body = parsed(schemas.SearchRequest.model_validate_strings, dict(form.fields))
        upload = form.one_file()
        return body, upload.source, upload.sha256
    body = unwrapped(parsed(schemas.SearchRequest.model_validate_json, await request.body()))
    given = [field for field in ("item", "embedding", "image") if getattr(body, field) is not None]
    if len(given) != 1:
        told = " and ".join(given) or "none of them"
        raise InvalidRequest(f"Give exactly one of item, embedding and image to look for; got {told}.")
    filled = await services.fetcher.fill_in({"image": body.image})
    return body, filled["image"], None


R = TypeVar("R", bound=BaseModel)


def parsed(validate: Callable[..., R], raw: Any) -> R:
    """raw as a request; its faults are told the way FastAPI tells a body's."""
    try:
        return validate(raw)
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        raise RequestValidationError(faults) from error


def unwrapped(body: schemas.SearchRequest) -> schemas.SearchRequest:
    """{"query": {"item": …}, "limit": 5} -> {"item": …, "limit": 5}."""
    if body.query is None:
        return body
    outer = body.model_dump(exclude_unset=True, exclude={"query"})
    if both := sorted(set(outer) & set(body.query)):
        raise InvalidRequest(f"{', '.join(both)} stands both in the request and in its query; say it once.")
    inner = parsed(schemas.SearchRequest.model_validate, {**outer, **body.query})
    if inner.query is not None:
        raise InvalidRequest("A query within a query makes no sense; expected item, embedding or image.")
    return inner


def searching(
    services: Services, collection: Collection, body: schemas.SearchRequest, media: Any, sha256: str | None
) -> Callable[[RequestContext, Send | None], str]:
    """The whole search, for a worker thread; it gives the answer as JSON, and sends what vectors alone find before.

    media: the path of a file that was sent, with its sha256, or what data_urls.media_bytes reads.
    """
    check_limit(services, body.limit)
    if body.min_recall is not None:
        raise InvalidRequest(
            "min_recall is no longer a part of a request: the server chooses how far it searches when it builds its "
            'index. Leave it out, or say "exact": true to compare every vector.'
        )

    def told(found: SearchResult, context: RequestContext) -> str:
        answer = {**found.to_dict(), "timing": context.timing}
        for hit in answer["data"]:
            hit |= item_urls(collection.name, hit["id"], hit["start_seconds"])
        return schemas.SearchAnswer(**answer).model_dump_json()

    def work(context: RequestContext, send: Send | None) -> str:
        def on_candidates(found: SearchResult) -> None:
            if send is not None:
                send("candidates", told(found, context))

        wanted = request_of(body, media, sha256)
        return told(search_collection(collection, wanted, services.pipeline.tools(context), on_candidates), context)

    return work


def request_of(body: schemas.SearchRequest, media: Any, sha256: str | None) -> SearchRequest:
    """The body as the index takes it, whichever way it names what to look for."""
    source = None if media is None else source_of(media)
    with np.errstate(over="ignore"):
        vector = None if body.embedding is None else np.array(body.embedding, np.float32)
    query = Query(
        source=source,
        item_id=body.item,
        vector=vector,
        region=None if body.region is None else Region(*body.region),
        start_seconds=body.start_seconds,
        end_seconds=body.end_seconds,
        target=body.target,
        sha256=sha256,
    )
    return SearchRequest(query, body.limit, filter_of(body), body.verify, body.exact, body.cursor)


def source_of(media: Any) -> Source:
    """The path of a file that was sent, or the bytes that JSON names as `image`."""
    if isinstance(media, Path):
        return media
    with naming("image"):
        return media_bytes(media)


def filter_of(body: schemas.SearchRequest) -> Filter | None:
    """The request's filter; a form carries it as text."""
    if body.filter is None:
        return None
    return read_filter(body.filter) if isinstance(body.filter, str) else parse_filter(body.filter)
