"""Snapshots over HTTP: take one, list and fetch them, prove one, put one back; and proving a collection itself.

They lie in DATA/snapshots; names are ours or plain, so that none leads out of it.
"""

import re
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter

from ...errors import InvalidRequest, NotFound, StorageError
from ...index.backup import read_manifest, verify
from ...index.backup import snapshot as index
from ...index.catalog import now
from ..dependencies import ServicesDependency
from ..file_response import RangeFileResponse
from ..schemas.collections import Collection
from ..schemas.snapshots import RestoreRequest, Snapshot, Snapshots, Verdict
from ..services import Services
from .collections import collection_schema

router = APIRouter(tags=["snapshots"])

NAME = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,120}\.tar")


@router.post("/v1/collections/{name}/verify")
async def verify_collection(name: str, services: ServicesDependency) -> Verdict:
    """Do catalog, ledger, uploads and index agree? Reads every vector; changes nothing."""
    verdict = await to_thread.run_sync(lambda: verify(services.library.open(name)))
    return Verdict.model_validate(verdict.to_dict())


@router.post("/v1/collections/{name}/snapshots", status_code=201)
async def create_snapshot(name: str, services: ServicesDependency) -> Snapshot:
    """Writes the collection to a file on the server, uploads included, while it goes on."""

    def work() -> Snapshot:
        collection = services.library.open(name)
        moment = re.sub(r"[^0-9TZ]", "", now())
        path = folder(services) / f"{collection.name}-{moment}.tar"
        index.create(collection, path)
        return snapshot_schema(path)

    return await to_thread.run_sync(work)


@router.get("/v1/snapshots")
def list_snapshots(services: ServicesDependency) -> Snapshots:
    """The snapshots on this server, by name."""
    return Snapshots(
        data=[snapshot_schema(path) for path in sorted(folder(services).glob("*.tar")) if NAME.fullmatch(path.name)]
    )


@router.get("/v1/snapshots/{snapshot}", response_class=RangeFileResponse)
def fetch_snapshot(snapshot: str, services: ServicesDependency) -> RangeFileResponse:
    """The file itself, to be kept elsewhere."""
    return RangeFileResponse(find(services, snapshot), media_type="application/x-tar", filename=snapshot)


@router.delete("/v1/snapshots/{snapshot}", status_code=204)
def delete_snapshot(snapshot: str, services: ServicesDependency) -> None:
    """Deletes a snapshot."""
    find(services, snapshot).unlink(missing_ok=True)


@router.post("/v1/snapshots/{snapshot}/verify")
async def verify_snapshot(snapshot: str, services: ServicesDependency) -> Verdict:
    """Restores it into a scratch place and compares checksums, counts and the canaries' answers."""
    path = find(services, snapshot)
    _, verdict = await to_thread.run_sync(index.verify_snapshot, path)
    return Verdict.model_validate(verdict.to_dict())


@router.post("/v1/snapshots/restore", status_code=201)
async def restore_snapshot(body: RestoreRequest, services: ServicesDependency) -> Collection:
    """Puts a collection back after proving the file; 409 when there is one of that name, unless `force`."""
    path = find(services, body.snapshot)
    restored = await to_thread.run_sync(index.restore, services.library, path, body.collection, body.force)
    return await to_thread.run_sync(collection_schema, services, restored)


def folder(services: Services) -> Path:
    path = services.library.data_dir / "snapshots"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be made: {error.strerror}.") from error
    return path


def find(services: Services, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"The snapshot name {name!r} is not usable: expected one that GET /v1/snapshots lists.")
    path = folder(services) / name
    if not path.is_file():
        raise NotFound(f"There is no snapshot {name!r}. GET /v1/snapshots lists them.")
    return path


def snapshot_schema(path: Path) -> Snapshot:
    return Snapshot.model_validate({**vars(read_manifest(path)), "name": path.name, "size_bytes": path.stat().st_size})
