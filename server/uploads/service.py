"""An uploaded file into a collection: known bytes are recognised, pictures go in at once, videos get a job.

What it answers for is on disk before it answers: the item, or the file together with its job. Knows no HTTP.
"""

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import Conflict, CorruptMedia, InvalidRequest, NotFound, StorageError
from ...index.atomic import flush
from ...index.catalog import Item, check_item_id, forget, jobs
from ...index.collection import Collection
from ...index.ingest import Task, ingest_file
from ...media.sampling import Sampling
from ..jobs.kinds import INGEST
from ..jobs.queue import active_jobs
from ..media_input.multipart import Upload
from ..services import Services
from .files import forget_upload, upload_uri


@dataclass(frozen=True)
class UploadOutcome:
    """What became of an upload: an item (new or known before), or the job that will make one."""

    item: Item | None = None
    job: jobs.Job | None = None
    is_new: bool = False


def add_upload(
    services: Services,
    collection: Collection,
    upload: Upload,
    item_id: str | None,
    metadata: dict[str, Any] | None,
    sampling: Sampling | None = None,
) -> UploadOutcome:
    """The upload as an item or a job. Blocks; call it in a worker thread.

    sampling None: as the server is set. Raises MediaError for what is no readable picture or video, Conflict when
    item_id holds other bytes, or the bytes are known with another sampling.
    """
    if item_id is not None:
        check_item_id(item_id)
    own_id = item_id or f"i{upload.sha256[:20]}"
    found = _found(collection, upload, item_id, sampling) or _waiting(collection, upload, own_id)
    if found is not None:
        return found
    try:
        return _new(services, collection, upload, own_id, metadata, sampling, replaces=False)
    except Conflict:
        # Another upload of this id was stored while ours was read: it holds the same bytes, or ours is refused.
        found = _found(collection, upload, own_id, sampling) or _waiting(collection, upload, own_id)
        if found is None:
            raise
        return found


def replace_upload(
    services: Services,
    collection: Collection,
    upload: Upload | None,
    item_id: str,
    metadata: dict[str, Any] | None,
    sampling: Sampling | None = None,
) -> UploadOutcome:
    """The item of this id holds these bytes and this metadata afterwards, whatever it held before; None keeps.

    The old bytes are found until the new ones are. Blocks; call it in a worker thread. Doing it again changes nothing.
    Raises as take_in does; Conflict only while a job is making the item of other bytes.
    """
    check_item_id(item_id)
    known = collection.get_many([item_id]).get(item_id)
    if upload is None and metadata is None:
        raise InvalidRequest("Expected a file, metadata or both to put in the item's place; got neither.")
    if upload is None or (known is not None and _holds(known, upload, sampling)):
        changed = collection.get(item_id) if metadata is None else collection.update_metadata(item_id, metadata)
        return UploadOutcome(item=changed)
    waiting = _waiting_job(collection, item_id)
    if waiting is not None:
        same = (upload.sha256, metadata, sampling or services.settings.sampling)
        if tuple(waiting.payload.get(name) for name in ("sha256", "metadata", "sampling")) == same:
            return UploadOutcome(job=waiting)
        forget_upload(collection, jobs.cancel_job(collection.catalog, waiting.id))
    made = _new(services, collection, upload, item_id, metadata, sampling, replaces=True)
    return replace(made, is_new=known is None)


def _new(
    services: Services,
    collection: Collection,
    upload: Upload,
    item_id: str,
    metadata: dict[str, Any] | None,
    sampling: Sampling | None,
    replaces: bool,
) -> UploadOutcome:
    """Keeps the upload and makes an item of it: a picture at once, a video by a job.

    replaces: False raises Conflict where an item of the id is there when it is stored, and keeps nothing.
    """
    info = services.decoder.probe(upload.path, services.limits)
    services.limits.check_duration(info.duration_seconds)
    path = _keep(upload.path, collection.uploads)
    sampling = sampling or services.settings.sampling
    uri = upload_uri(path.name)
    try:
        if info.kind == "video":
            payload = {
                **{"file": path.name, "name": upload.name, "sha256": upload.sha256},
                **{"metadata": metadata, "sampling": sampling, "replaces": replaces},
            }
            job = jobs.add_job(collection.catalog, INGEST, item_id, payload, replaces)
            services.worker.wake()
            return UploadOutcome(job=job)
        task = Task.of(path, uri, upload.name, item_id, metadata, replaces)
        outcome = ingest_file(collection, services.engine, task, replace(services.ingest_options, sampling=sampling))
    except Conflict:
        path.unlink(missing_ok=True)
        raise
    if outcome.state == "failed":
        path.unlink(missing_ok=True)
        forget(collection.catalog, [uri])
        raise CorruptMedia(outcome.reason or "The picture cannot be read.")
    return UploadOutcome(item=collection.get(item_id), is_new=True)


def _found(
    collection: Collection, upload: Upload, item_id: str | None, sampling: Sampling | None
) -> UploadOutcome | None:
    """The item that these bytes are already. Conflict when item_id holds others, or the item is sampled otherwise."""
    known = _known(collection, upload, item_id)
    if known is None:
        return None
    _check_sampling(known, sampling)
    return UploadOutcome(item=known)


def _waiting(collection: Collection, upload: Upload, item_id: str) -> UploadOutcome | None:
    """The job that makes the item of these bytes. Conflict when it makes it of others."""
    job = _waiting_job(collection, item_id)
    if job is None:
        return None
    if job.payload.get("sha256") != upload.sha256:
        raise Conflict(f"A job is already making the item {item_id!r} of other bytes. Choose another id.")
    return UploadOutcome(job=job)


def _known(collection: Collection, upload: Upload, item_id: str | None) -> Item | None:
    """The item that these bytes are already; None when they are new. Conflict when item_id holds others."""
    if item_id is None:
        return collection.find_by_sha256(upload.sha256)
    try:
        item = collection.get(item_id)
    except NotFound:
        return None
    if item.sha256 != upload.sha256:
        raise Conflict(
            f"The item {item_id!r} exists and holds other bytes. PUT it to replace them, or choose another id."
        )
    return item


def _holds(known: Item, upload: Upload, sampling: Sampling | None) -> bool:
    """Whether the item is of these bytes, sampled so."""
    return known.sha256 == upload.sha256 and (known.kind == "image" or sampling in (None, known.sampling))


def _check_sampling(known: Item, sampling: Sampling | None) -> None:
    if known.kind == "video" and sampling not in (None, known.sampling):
        raise Conflict(
            f"These bytes are the item {known.id!r} already, sampled by {known.sampling}, not {sampling}. Delete it "
            "first, or leave sampling out."
        )


def _waiting_job(collection: Collection, item_id: str) -> jobs.Job | None:
    return next((job for job in active_jobs(collection) if job.item_id == item_id), None)


def _keep(received: Path, folder: Path) -> Path:
    """Moves a received file into the collection, bytes and name on disk when it returns."""
    path = folder / uuid.uuid4().hex
    try:
        flush(received)
        received.rename(path)
        flush(folder)
    except OSError as error:
        raise StorageError(f"The upload could not be kept: {error.strerror}. Is the disk full?") from error
    return path
