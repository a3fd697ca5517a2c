"""The items of a collection: add files, list, describe, change, remove. Their bytes are item_files.py's."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, cast, get_args

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from ...errors import InvalidRequest
from ...index.catalog import items as index
from ...index.catalog import read_filter
from ...index.collection import Collection
from ...media.sampling import Sampling
from ..dependencies import ServicesDependency
from ..media_input.multipart import read_form
from ..openapi import FILE, form_body
from ..schemas.items import Item, ItemChange, Items, Metadata
from ..schemas.jobs import Accepted
from ..services import Services
from ..uploads import service as uploads
from ..uploads.idempotency import MAX_KEY, StoredResponse
from ..urls import item_url, item_urls, job_url
from . import jobs

router = APIRouter(prefix="/v1/collections/{name}/items", tags=["items"])

SAMPLING = {"type": "string", "enum": list(get_args(Sampling))}
UPLOAD_BODY = form_body(
    required=["file"],
    file=FILE,
    id={"type": "string", "pattern": index.ITEM_ID.pattern},
    metadata={"type": "string", "description": "a JSON object"},
    sampling={**SAMPLING, "description": "which frames of a video are embedded; the server's setting unless given"},
)
PUT_BODY = form_body(
    required=[],
    file={**FILE, "description": "left out: the item keeps its file"},
    metadata={"type": "string", "description": "a JSON object; left out: the item keeps its own"},
    sampling=SAMPLING,
)
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=MAX_KEY, description="the same request under the same key within a day gets the same answer"),
]
METADATA: TypeAdapter[dict[str, Any]] = TypeAdapter(Metadata)


@router.post(
    "",
    status_code=201,
    response_model=Item,
    responses={
        200: {"model": Item, "description": "these very bytes are in the collection already"},
        202: {"model": Accepted, "description": "a video was taken in; Location names its job"},
    },
    openapi_extra={"requestBody": UPLOAD_BODY},
)
async def add_item(
    name: str, request: Request, services: ServicesDependency, idempotency_key: IdempotencyKey = None
) -> Response:
    """Takes in one file. A picture can be found at once (201); a video when its job is done (202)."""
    if idempotency_key is None:
        return await add_once(name, request, services)
    key = f"{getattr(request.state, 'key_id', '')} {idempotency_key}"
    with services.idempotency.running(key):
        return await add_once(name, request, services, key)


async def add_once(name: str, request: Request, services: Services, key: str | None = None) -> Response:
    """The answer for one file; with a key the answer that the same request had before, if it had one."""
    collection = await to_thread.run_sync(services.library.open_for, name, services.engine)
    async with read_form(request, services.incoming) as form:
        form.only("id", "metadata", "sampling")
        metadata = metadata_of(form.fields.get("metadata"))
        upload = form.one_file()
        item_id = form.fields.get("id") or None
        sampling = sampling_of(form.fields.get("sampling"))
        digest = sha256(json.dumps([name, upload.sha256, sorted(form.fields.items())]).encode()).hexdigest()
        if (
            key is not None
            and (earlier := await to_thread.run_sync(services.idempotency.find, key, digest)) is not None
        ):
            return answer_of(earlier, {"idempotency-replayed": "true"})
        outcome = await services.pipeline.run(
            lambda context: uploads.add_upload(services, collection, upload, item_id, metadata, sampling)
        )
    answer = await to_thread.run_sync(stored_response, collection, outcome)
    if key is not None:
        await to_thread.run_sync(services.idempotency.keep, key, digest, answer)
    return answer_of(answer)


@router.put(
    "/{item_id}",
    response_model=Item,
    responses={
        201: {"model": Item, "description": "there was no such item"},
        202: {"model": Accepted, "description": "a video was taken in; the old one is found until its job is done"},
    },
    openapi_extra={"requestBody": PUT_BODY},
)
async def put_item(name: str, item_id: str, request: Request, services: ServicesDependency) -> Response:
    """Puts a file, metadata or both in the item's place, or makes it. Doing it again changes nothing."""
    collection = await to_thread.run_sync(services.library.open_for, name, services.engine)
    async with read_form(request, services.incoming) as form:
        form.only("metadata", "sampling")
        metadata = metadata_of(form.fields.get("metadata"))
        upload = form.one_file() if form.files else None
        sampling = sampling_of(form.fields.get("sampling"))
        outcome = await services.pipeline.run(
            lambda context: uploads.replace_upload(services, collection, upload, item_id, metadata, sampling)
        )
    return answer_of(await to_thread.run_sync(stored_response, collection, outcome))


def stored_response(collection: Collection, outcome: uploads.UploadOutcome) -> StoredResponse:
    """The answer to an upload: the item, or the job that makes it."""
    if outcome.job is not None:
        accepted = Accepted(job=jobs.job_schema(collection, outcome.job))
        return StoredResponse(202, job_url(outcome.job.id), accepted.model_dump_json())
    assert outcome.item is not None
    item = item_schema(collection, outcome.item)
    location = item_url(collection.name, item.id)
    return StoredResponse(201 if outcome.is_new else 200, location, item.model_dump_json())


def answer_of(answer: StoredResponse, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        answer.body, answer.status, {"location": answer.location, **(headers or {})}, media_type="application/json"
    )


@router.get("")
def list_items(
    name: str,
    services: ServicesDependency,
    limit: Annotated[int, Query(ge=1)] = 50,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
    filter: Annotated[str | None, Query(description="a Filter (see the schemas) as JSON text")] = None,
) -> Items:
    """A page of items, newest first."""
    collection = services.library.open(name)
    check_limit(services, limit)
    page, next_cursor = collection.items(limit, cursor, None if filter is None else read_filter(filter))
    return Items(data=[item_schema(collection, item) for item in page], next_cursor=next_cursor)


@router.get("/{item_id}")
def get_item(name: str, item_id: str, services: ServicesDependency) -> Item:
    """One item."""
    collection = services.library.open(name)
    return item_schema(collection, collection.get(item_id))


@router.patch("/{item_id}")
def change_item(name: str, item_id: str, change: ItemChange, services: ServicesDependency) -> Item:
    """Changes an item's metadata by a merge patch (RFC 7396): null removes a name, what is not given stays."""
    collection = services.library.open(name)
    return item_schema(collection, collection.merge_metadata(item_id, change.metadata))


@router.delete("/{item_id}", status_code=204)
def delete_item(name: str, item_id: str, services: ServicesDependency) -> None:
    """Removes an item, its vectors and its uploaded file. A file indexed from a folder stays where it is."""
    services.library.open(name).delete(item_id)


def metadata_of(text: str | None) -> dict[str, Any] | None:
    """A form's metadata field: a JSON object, or nothing."""
    if text is None or not text.strip():
        return None
    try:
        return METADATA.validate_python(json.loads(text), strict=True)
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InvalidRequest(f"The form field metadata must be a JSON object: {reason}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The form field metadata must be a JSON object: {error}.") from error


def sampling_of(text: str | None) -> Sampling | None:
    """A form's sampling field; nothing means the server's setting."""
    if not text:
        return None
    for known in get_args(Sampling):
        if text == known:
            return cast(Sampling, known)
    raise InvalidRequest(f"sampling is {text!r}, expected one of {', '.join(get_args(Sampling))}.")


def check_limit(services: Services, limit: int) -> None:
    if limit > services.settings.max_limit:
        raise InvalidRequest(f"limit is {limit}, expected 1 to {services.settings.max_limit} (max_limit).")


def item_schema(collection: Collection, item: index.Item) -> Item:
    """An item as the network sees it. What its schema does not name stays out, such as the path."""
    return Item.model_validate({**vars(item), **item_urls(collection.name, item.id)})
