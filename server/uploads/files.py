"""The files of uploads within a collection: their uris, and deleting those that became no item."""

from ...index.catalog import forget, jobs
from ...index.collection import Collection
from ..jobs.kinds import INGEST


def upload_uri(file: str) -> str:
    """The uri of an uploaded file by the name it is stored under."""
    return f"upload:{file}"


def forget_upload(collection: Collection, job: jobs.Job) -> None:
    """Deletes what is left of an upload whose job made no item: its file and its row in the ledger."""
    if job.kind != INGEST:
        return
    file = str(job.payload["file"])
    (collection.uploads / file).unlink(missing_ok=True)
    forget(collection.catalog, [upload_uri(file)])


def sweep_uploads(collection: Collection) -> None:
    """Deletes uploaded files that neither an item nor a job knows: their upload was never acknowledged."""
    if not collection.uploads.is_dir():
        return
    waiting = {job.payload.get("file") for job in jobs.list_jobs(collection.catalog, 100_000) if job.state == "queued"}
    for path in collection.uploads.iterdir():
        if path.name not in waiting and collection.find_by_uri(upload_uri(path.name)) is None:
            path.unlink(missing_ok=True)
