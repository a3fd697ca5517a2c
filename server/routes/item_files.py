"""The files of items: their bytes, and thumbnails of them.

Only files of indexed items are ever served, and only under the type found when they were indexed.
"""

import logging
from math import inf
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from ...errors import CorruptMedia, FileGone, NotFound
from ...index.catalog import items as index
from ...index.collection import Collection
from ...index.paths import present
from ...index.pictures import shown_size
from ...media import thumbnails
from ...media.frames import Picture
from ..dependencies import ServicesDependency
from ..file_response import RangeFileResponse
from ..services import Services

log = logging.getLogger("vicmae.server")

router = APIRouter(prefix="/v1/collections/{name}/items", tags=["items"])


@router.get(
    "/{item_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "unchanged"}},
)
async def item_thumbnail(
    name: str,
    item_id: str,
    services: ServicesDependency,
    request: Request,
    seconds: Annotated[float, Query(ge=0, allow_inf_nan=False)] = 0.0,
    size: Annotated[int, Query(ge=16, le=2048, description="longest side in pixels")] = 320,
    exact: Annotated[bool, Query(description="the very frame of that second, from the file")] = False,
) -> Response:
    """The picture, or the video's stored frame that stands for that second, as a small JPEG.

    Where no picture is stored, or a smaller one, the file is read; where that is away, what is stored is shown.
    """
    seconds = round(seconds, 3)
    collection, item = await to_thread.run_sync(find, services, name, item_id)
    etag = f'"{item.sha256[:24]}-{seconds:g}-{size}-{exact:d}"'
    headers = {"etag": etag, "cache-control": "private, max-age=86400"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    jpeg = await to_thread.run_sync(
        thumbnail_of, services, collection, item, seconds, size, exact, limiter=services.thumbnail_threads
    )
    return Response(jpeg, media_type="image/jpeg", headers=headers)


@router.get("/{item_id}/media", response_class=RangeFileResponse)
async def item_media(name: str, item_id: str, services: ServicesDependency) -> RangeFileResponse:
    """The original file; takes HTTP Range, so that players can jump."""
    return await to_thread.run_sync(original, services, name, item_id)


@router.head("/{item_id}/media", include_in_schema=False)
async def item_media_head(name: str, item_id: str, services: ServicesDependency) -> RangeFileResponse:
    return await to_thread.run_sync(original, services, name, item_id)


def find(services: Services, name: str, item_id: str) -> tuple[Collection, index.Item]:
    collection = services.library.open(name)
    return collection, collection.get(item_id)


def thumbnail_of(
    services: Services, collection: Collection, item: index.Item, seconds: float, size: int, exact: bool
) -> bytes:
    """Of the stored picture where it is large enough, or where the file is away; else, and where exact, of the file."""
    key = (item.sha256, seconds, size, exact)
    jpeg = services.thumbnails.get(key)
    if jpeg is None:
        is_enough = (size <= stored_side(item) and not exact) or not item.path.is_file()
        stored = stored_picture(collection, item, seconds) if is_enough else None
        if stored is not None:
            jpeg = thumbnails.thumbnail_of(stored, size)
        else:
            # Half a millisecond on, so that a second that was rounded down does not name the frame before.
            jpeg = services.decoder.thumbnail(present_file(collection, item), seconds + 0.0005, size, services.limits)
        services.thumbnails.put(key, jpeg)
    return jpeg


def stored_picture(collection: Collection, item: index.Item, seconds: float) -> Picture | None:
    """The stored picture that stands for that second; None where there is none, or it is damaged."""
    stored = collection.pictures_at(item.id, [seconds])[0]
    try:
        return None if stored is None else stored.pixels()
    except CorruptMedia as error:
        log.warning("the file of %s is read instead of its stored picture: %s", item.id, error)
        return None


def stored_side(item: index.Item) -> float:
    """The longest side that the stored picture is large enough for: any where it is as large as the original."""
    size = shown_size(item.width, item.height)
    return inf if size == (item.width, item.height) else max(size)


def original(services: Services, name: str, item_id: str) -> RangeFileResponse:
    collection, item = find(services, name, item_id)
    path = present_file(collection, item)
    is_media = item.mime.startswith(("image/", "video/"))
    return RangeFileResponse(
        path,
        media_type=item.mime if is_media else "application/octet-stream",
        filename=item.name,
        stat_result=path.stat(),
        content_disposition_type="inline" if is_media else "attachment",
        headers={
            "content-security-policy": "default-src 'none'; sandbox",
            "cache-control": "private, no-cache",
        },
    )


def present_file(collection: Collection, item: index.Item) -> Path:
    """The item's file; FileGone when it is no longer what was indexed."""
    try:
        return present(item.path, item.name)
    except NotFound as error:
        raise FileGone(str(error)) from error
