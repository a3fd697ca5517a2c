"""A collection's vectors as a file, out and in: GET …/export, POST …/import. What is in it is index.exchange's work.

The file is written to disk first and sent from there: so a slow reader holds no transaction open, and a disk without
room answers 507 before anything is sent. It has no name, so that nothing is left of it when the server is killed.
"""

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from ...errors import StorageError
from ...index.backup import Form, export_to, import_vectors
from ..dependencies import ServicesDependency
from ..media_input.multipart import read_form
from ..openapi import FILE, form_body
from ..schemas.collections import Collection
from .collections import check_collection_count, collection_schema

router = APIRouter(prefix="/v1/collections/{name}", tags=["collections"])

PIECE_BYTES = 1 << 20
TYPES: dict[Form, str] = {"npz": "application/zip", "parquet": "application/vnd.apache.parquet"}
BODY = form_body(required=["file"], file=FILE)


@router.get("/export", response_class=StreamingResponse)
async def export_collection(name: str, services: ServicesDependency, format: Form = "parquet") -> StreamingResponse:
    """All stored vectors as Parquet or npz: a row a frame, with uri, seconds and metadata."""

    def work() -> tuple[str, BinaryIO]:
        collection = services.library.open(name)
        try:
            file = TemporaryFile(dir=services.incoming)
            try:
                export_to(collection, file, format)
                file.flush()
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise StorageError(f"There is no room to write the file to be sent: {error.strerror or error}.") from error
        return collection.name, file

    own, file = await to_thread.run_sync(work)
    headers = {
        "content-length": str(file.tell()),
        "content-disposition": f'attachment; filename="{own}.{format}"',
    }
    return StreamingResponse(pieces(file), media_type=TYPES[format], headers=headers)


@router.post(
    "/import", status_code=201, response_model=Collection, openapi_extra={"requestBody": BODY}, responses={201: {}}
)
async def import_collection(name: str, request: Request, services: ServicesDependency) -> Collection:
    """Makes a collection of an exported file, bound to the model that the file names; 409 when the name is taken."""
    await to_thread.run_sync(check_collection_count, services)
    async with read_form(request, services.incoming) as form:
        form.only()
        upload = form.one_file()
        imported = await to_thread.run_sync(import_vectors, services.library, upload.path, name, upload.name)
    return await to_thread.run_sync(collection_schema, services, imported)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(PIECE_BYTES):
            yield piece
