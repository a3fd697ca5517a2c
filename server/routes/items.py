"""The items of a collection: take files in, list, show, change, remove; and their pictures and bytes.

Only files of indexed items are ever served, and only under the type found when they were indexed.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, cast, get_args

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from ...errors import FileGone, InvalidRequest, NotFound
from ...index.catalog import items as index
from ...index.catalog.filters import read_filter
from ...index.collection import Collection
from ...media.sampling import Sampling
from ..file_response import RangeFileResponse
from ..media_input.multipart import read_form
from ..schemas.items import Item, ItemChange, Items, Metadata
from ..schemas.jobs import Accepted
from ..services import Here, Services
from ..uploads import service as uploads
from ..uploads.idempotency import MAX_KEY, StoredResponse
from . import jobs

router = APIRouter(prefix="/v1/collections/{name}/items", tags=["items"])

UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "id": {"type": "string", "pattern": index.ITEM_ID.pattern},
                    "metadata": {"type": "string", "description": "a JSON object"},
                    "sampling": {
                        "type": "string",
                        "enum": list(get_args(Sampling)),
                        "description": "which frames of a video are embedded; the server's setting unless given",
                    },
                },
            }
        }
    },
}
PUT_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "left out: the item keeps its file"},
                    "metadata": {"type": "string", "description": "a JSON object; left out: the item keeps its own"},
                    "sampling": {"type": "string", "enum": list(get_args(Sampling))},
                },
            }
        }
    },
}
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
async def add_item(name: str, request: Request, here: Here, idempotency_key: IdempotencyKey = None) -> Response:
    """Takes in one file. A picture can be found at once (201); a video when its job is done (202)."""
    if idempotency_key is None:
        return await added(name, request, here)
    key = f"{getattr(request.state, 'key_id', '')} {idempotency_key}"
    with here.idempotency.running(key):
        return await added(name, request, here, key)


async def added(name: str, request: Request, here: Services, key: str | None = None) -> Response:
    """The answer for one file; with a key the answer that the same request had before, if it had one."""
    collection = await to_thread.run_sync(here.library.open_for, name, here.engine)
    async with read_form(request, here.incoming) as form:
        form.only("id", "metadata", "sampling")
        metadata = metadata_of(form.fields.get("metadata"))
        upload = form.one_file()
        item_id = form.fields.get("id") or None
        sampling = sampling_of(form.fields.get("sampling"))
        digest = sha256(json.dumps([name, upload.sha256, sorted(form.fields.items())]).encode()).hexdigest()
        if key is not None and (before := await to_thread.run_sync(here.idempotency.find, key, digest)) is not None:
            return answer_of(before, {"idempotency-replayed": "true"})
        outcome = await here.pipeline.run(
            lambda context: uploads.add_upload(here, collection, upload, item_id, metadata, sampling)
        )
    answer = await to_thread.run_sync(answered, collection, outcome)
    if key is not None:
        await to_thread.run_sync(here.idempotency.keep, key, digest, answer)
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
async def put_item(name: str, item_id: str, request: Request, here: Here) -> Response:
    """Puts a file, metadata or both in the item's place, or makes it. Doing it again changes nothing."""
    collection = await to_thread.run_sync(here.library.open_for, name, here.engine)
    async with read_form(request, here.incoming) as form:
        form.only("metadata", "sampling")
        metadata = metadata_of(form.fields.get("metadata"))
        upload = form.one_file() if form.files else None
        sampling = sampling_of(form.fields.get("sampling"))
        outcome = await here.pipeline.run(
            lambda context: uploads.replace_upload(here, collection, upload, item_id, metadata, sampling)
        )
    return answer_of(await to_thread.run_sync(answered, collection, outcome))


def answered(collection: Collection, outcome: uploads.UploadOutcome) -> StoredResponse:
    """What is told of an upload that was taken in."""
    if outcome.job is not None:
        accepted = Accepted(job=jobs.described(collection, outcome.job))
        return StoredResponse(202, f"/v1/jobs/{outcome.job.id}", accepted.model_dump_json())
    assert outcome.item is not None
    item = described(collection, outcome.item)
    location = f"/v1/collections/{collection.name}/items/{item.id}"
    return StoredResponse(201 if outcome.is_new else 200, location, item.model_dump_json())


def answer_of(answer: StoredResponse, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        answer.body, answer.status, {"location": answer.location, **(headers or {})}, media_type="application/json"
    )


@router.get("")
def list_items(
    name: str,
    here: Here,
    limit: Annotated[int, Query(ge=1)] = 50,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
    filter: Annotated[str | None, Query(description="a Filter (see the schemas) as JSON text")] = None,
) -> Items:
    """A page of items, newest first."""
    collection = here.library.open(name)
    check_limit(here, limit)
    page, next_cursor = collection.items(limit, cursor, None if filter is None else read_filter(filter))
    return Items(data=[described(collection, item) for item in page], next_cursor=next_cursor)


@router.get("/{item_id}")
def get_item(name: str, item_id: str, here: Here) -> Item:
    """One item."""
    collection = here.library.open(name)
    return described(collection, collection.get(item_id))


@router.patch("/{item_id}")
def change_item(name: str, item_id: str, change: ItemChange, here: Here) -> Item:
    """Changes an item's metadata by a merge patch (RFC 7396): null removes a name, what is not given stays."""
    collection = here.library.open(name)
    return described(collection, collection.merge_metadata(item_id, change.metadata))


@router.delete("/{item_id}", status_code=204)
def delete_item(name: str, item_id: str, here: Here) -> None:
    """Removes an item, its vectors and its uploaded file. A file indexed from a folder stays where it is."""
    here.library.open(name).delete(item_id)


@router.get(
    "/{item_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "unchanged"}},
)
async def item_thumbnail(
    name: str,
    item_id: str,
    here: Here,
    request: Request,
    seconds: Annotated[float, Query(ge=0, allow_inf_nan=False)] = 0.0,
    size: Annotated[int, Query(ge=16, le=2048, description="longest side in pixels")] = 320,
) -> Response:
    """The picture, or the video's frame at that second, as a small JPEG."""
    seconds = round(seconds, 3)
    collection, item = await to_thread.run_sync(find, here, name, item_id)
    etag = f'"{item.sha256[:24]}-{seconds:g}-{size}"'
    headers = {"etag": etag, "cache-control": "private, max-age=86400"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    jpeg = await to_thread.run_sync(
        made_thumbnail, here, collection, item, seconds, size, limiter=here.thumbnail_threads
    )
    return Response(jpeg, media_type="image/jpeg", headers=headers)


@router.get("/{item_id}/media", response_class=RangeFileResponse)
async def item_media(name: str, item_id: str, here: Here) -> RangeFileResponse:
    """The original file; takes HTTP Range, so that players can jump."""
    return await to_thread.run_sync(original, here, name, item_id)


@router.head("/{item_id}/media", include_in_schema=False)
async def item_media_head(name: str, item_id: str, here: Here) -> RangeFileResponse:
    return await to_thread.run_sync(original, here, name, item_id)


def find(here: Services, name: str, item_id: str) -> tuple[Collection, index.Item]:
    collection = here.library.open(name)
    return collection, collection.get(item_id)


def made_thumbnail(here: Services, collection: Collection, item: index.Item, seconds: float, size: int) -> bytes:
    key = (item.sha256, seconds, size)
    jpeg = here.thumbnails.get(key)
    if jpeg is None:
        # Half a millisecond on, so that a second that was rounded down does not name the frame before.
        jpeg = here.decoder.thumbnail(present_file(collection, item), seconds + 0.0005, size, here.limits)
        here.thumbnails.put(key, jpeg)
    return jpeg


def original(here: Services, name: str, item_id: str) -> RangeFileResponse:
    collection, item = find(here, name, item_id)
    path = present_file(collection, item)
    shown = item.mime.startswith(("image/", "video/"))
    return RangeFileResponse(
        path,
        media_type=item.mime if shown else "application/octet-stream",
        filename=item.name,
        stat_result=path.stat(),
        content_disposition_type="inline" if shown else "attachment",
        headers={
            "content-security-policy": "default-src 'none'; sandbox",
            "cache-control": "private, no-cache",
        },
    )


def present_file(collection: Collection, item: index.Item) -> Path:
    """The item's file; FileGone when it is no longer what was indexed."""
    try:
        return collection.file_path(item)
    except NotFound as error:
        raise FileGone(str(error)) from error


def metadata_of(text: str | None) -> dict[str, Any] | None:
    """A form's metadata field: a JSON object, or nothing."""
    if text is None or not text.strip():
        return None
    try:
        return METADATA.validate_python(json.loads(text), strict=True)
    except ValidationError as error:
        told = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise InvalidRequest(f"The form field metadata must be a JSON object: {told}.") from error
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


def check_limit(here: Services, limit: int) -> None:
    if limit > here.settings.max_limit:
        raise InvalidRequest(f"limit is {limit}, expected 1 to {here.settings.max_limit} (max_limit).")


def described(collection: Collection, item: index.Item) -> Item:
    """An item as the network sees it. Its path stays out: that is nobody's business there."""
    url = f"/v1/collections/{collection.name}/items/{item.id}"
    return Item(
        id=item.id,
        uri=item.uri,
        name=item.name,
        kind=item.kind,
        mime=item.mime,
        size_bytes=item.size_bytes,
        width=item.width,
        height=item.height,
        duration_seconds=item.duration_seconds,
        sampling=item.sampling,
        frames=item.frames,
        sha256=item.sha256,
        metadata=item.metadata,
        created_at=item.created_at,
        thumbnail_url=f"{url}/thumbnail",
        media_url=f"{url}/media",
    )
