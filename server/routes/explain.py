"""POST /v1/collections/{c}/explain: why is this hit like what was looked for? Two pictures under heat maps.

Turns a request into two frames and their explanation into an answer; comparing is export/explanation.py's work.
"""

import base64
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ...errors import InvalidRequest
from ...export import explanation
from ...index.collection import Collection
from ...media.frames import Picture
from ..dependencies import ServicesDependency, run_in_pipeline
from ..inference.request_context import RequestContext
from ..media_input.multipart import read_form
from ..openapi import FILE, form_body
from ..schemas.base import Timing
from ..schemas.search import ExplainedSide, ExplainRequest, Explanation
from ..services import Services
from .item_files import present_file, stored_picture
from .search import parsed, source_of

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"])

FORM_FIELDS = ("hit", "hit_seconds", "seconds")
SECONDS = {"type": "number", "minimum": 0}
BODY = form_body(
    required=["file", "hit"],
    json_schema="ExplainRequest",
    file=FILE,
    seconds=SECONDS,
    hit={"type": "string"},
    hit_seconds=SECONDS,
)


@router.post("/explain", response_model=Explanation, openapi_extra={"requestBody": BODY})
async def explained(name: str, request: Request, services: ServicesDependency) -> Response:
    """Which parts of the query and of the hit are alike: a heat map over each, and its numbers."""
    collection = await to_thread.run_sync(services.library.open_for, name, services.engine)
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        async with read_form(request, services.incoming, keeps=False) as form:
            form.only(*FORM_FIELDS)
            body = parsed(ExplainRequest.model_validate_strings, dict(form.fields))
            return await respond(services, request, collection, body, form.one_file().source)
    body = parsed(ExplainRequest.model_validate_json, await request.body())
    if (body.item is None) == (body.image is None):
        raise InvalidRequest("Give exactly one of item and image, which is what was looked for, and the hit.")
    filled = await services.fetcher.fill_in({"image": body.image})
    return await respond(services, request, collection, body, filled["image"])


async def respond(
    services: Services, request: Request, collection: Collection, body: ExplainRequest, media: Any
) -> Response:
    """The whole explanation, in a worker thread. media: as in search.py."""

    def work(context: RequestContext) -> Explanation:
        def picture_of(item_id: str, seconds: float) -> Picture:
            item = collection.get(item_id)
            stored = stored_picture(collection, item, seconds)
            if stored is not None:
                return stored
            return services.pipeline.picture_at(present_file(collection, item), seconds, context)

        if body.item is not None:
            query = picture_of(body.item, body.seconds)
        else:
            query = services.pipeline.picture_at(source_of(media), body.seconds, context)
        why = services.pipeline.explain(query, picture_of(body.hit, body.hit_seconds), context)
        return Explanation(score=why.score, query=shown(why.query), hit=shown(why.hit), timing=Timing(**context.timing))

    return JSONResponse((await run_in_pipeline(services, request, work)).model_dump())


def shown(side: explanation.Side) -> ExplainedSide:
    overlay = base64.b64encode(explanation.png(side.overlay())).decode()
    return ExplainedSide(grid=side.grid.round(4).tolist(), overlay=f"data:image/png;base64,{overlay}")
