"""Snapshots over HTTP: take one, list and fetch them, prove one, put one back; and proving a collection itself.

They lie in DATA/snapshots; names are ours or plain, so that none leads out of it.
"""

import re
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter

from ...errors import InvalidRequest, NotFound, StorageError
from ...index.backup import snapshot as index
from ...index.backup.verify import verify
from ...index.catalog.database import now
from ..file_response import RangeFileResponse
from ..schemas.collections import Collection
from ..schemas.snapshots import RestoreRequest, Snapshot, Snapshots, Verdict
from ..services import Here, Services
from .collections import described

router = APIRouter(tags=["snapshots"])

NAME = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,120}\.tar")


@router.post("/v1/collections/{name}/verify")
async def verify_collection(name: str, here: Here) -> Verdict:
    """Do catalog, ledger, uploads and index agree? Reads every vector; changes nothing."""
    verdict = await to_thread.run_sync(lambda: verify(here.library.open(name)))
    return Verdict.model_validate(verdict.to_dict())


@router.post("/v1/collections/{name}/snapshots", status_code=201)
async def create_snapshot(name: str, here: Here) -> Snapshot:
    """Writes the collection to a file on the server, uploads included, while it goes on."""

    def work() -> Snapshot:
        collection = here.library.open(name)
        moment = re.sub(r"[^0-9TZ]", "", now())
        path = folder(here) / f"{collection.name}-{moment}.tar"
        index.create(collection, path)
        return shown(path)

    return await to_thread.run_sync(work)


@router.get("/v1/snapshots")
def list_snapshots(here: Here) -> Snapshots:
    """The snapshots on this server, by name."""
    return Snapshots(data=[shown(path) for path in sorted(folder(here).glob("*.tar")) if NAME.fullmatch(path.name)])


@router.get("/v1/snapshots/{snapshot}", response_class=RangeFileResponse)
def fetch_snapshot(snapshot: str, here: Here) -> RangeFileResponse:
    """The file itself, to be kept elsewhere."""
    return RangeFileResponse(find(here, snapshot), media_type="application/x-tar", filename=snapshot)


@router.delete("/v1/snapshots/{snapshot}", status_code=204)
def delete_snapshot(snapshot: str, here: Here) -> None:
    """Deletes a snapshot."""
    find(here, snapshot).unlink(missing_ok=True)


@router.post("/v1/snapshots/{snapshot}/verify")
async def verify_snapshot(snapshot: str, here: Here) -> Verdict:
    """Restores it into a scratch place and compares checksums, counts and the canaries' answers."""
    path = find(here, snapshot)
    _, verdict = await to_thread.run_sync(index.verify_snapshot, path)
    return Verdict.model_validate(verdict.to_dict())


@router.post("/v1/snapshots/restore", status_code=201)
async def restore_snapshot(wish: RestoreRequest, here: Here) -> Collection:
    """Puts a collection back after proving the file; 409 when there is one of that name, unless `force`."""
    path = find(here, wish.snapshot)
    restored = await to_thread.run_sync(index.restore, here.library, path, wish.collection, wish.force)
    return await to_thread.run_sync(described, here, restored)


def folder(here: Services) -> Path:
    path = here.library.data_dir / "snapshots"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be made: {error.strerror}.") from error
    return path


def find(here: Services, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"The snapshot name {name!r} is not usable: expected one that GET /v1/snapshots lists.")
    path = folder(here) / name
    if not path.is_file():
        raise NotFound(f"There is no snapshot {name!r}. GET /v1/snapshots lists them.")
    return path


def shown(path: Path) -> Snapshot:
    manifest = index.read_manifest(path)
    return Snapshot(
        name=path.name,
        size_bytes=path.stat().st_size,
        collection=manifest.collection,
        model=manifest.model,
        fingerprint=manifest.fingerprint,
        items=manifest.items,
        frames=manifest.frames,
        created_at=manifest.created_at,
    )
