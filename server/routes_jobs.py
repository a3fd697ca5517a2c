"""Jobs: what runs in the background, how far it is, and taking back what has not begun."""

from typing import Annotated

from fastapi import APIRouter, Query

from ..errors import NotFound
from ..index import jobs as index
from ..index.collection import Collection
from .jobs import DUPLICATES, REEMBED, forget_upload
from .schemas import Job, Jobs, Progress
from .services import Here, Services

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

UNITS = {DUPLICATES: "pairs", REEMBED: "items"}
REPORTS = (DUPLICATES, REEMBED)  # kinds whose report has an address


@router.get("")
def list_jobs(here: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Jobs:
    """The newest jobs of all collections, newest first."""
    jobs = [
        described(collection, job) for collection in collections(here) for job in index.list_jobs(collection, limit)
    ]
    return Jobs(data=sorted(jobs, key=lambda job: job.created_at, reverse=True)[:limit])


@router.get("/{job_id}")
def get_job(job_id: str, here: Here) -> Job:
    """One job."""
    return described(*find(here, job_id))


@router.delete("/{job_id}")
def cancel_job(job_id: str, here: Here) -> Job:
    """Cancels a job that still waits; its uploaded file is deleted."""
    collection, _ = find(here, job_id)
    job = index.cancel_job(collection, job_id)
    forget_upload(collection, job)
    return described(collection, job)


def find(here: Services, job_id: str) -> tuple[Collection, index.Job]:
    """The job and its collection; NotFound when no collection knows it."""
    for collection in collections(here):
        try:
            return collection, index.get_job(collection, job_id)
        except NotFound:
            continue
    raise NotFound(f"There is no job {job_id!r}.")


def collections(here: Services) -> list[Collection]:
    return [here.library.open(known.name) for known in here.library.list()]


def described(collection: Collection, job: index.Job) -> Job:
    return Job(
        id=job.id,
        kind=job.kind,
        state=job.state,
        progress=Progress(done=job.done, total=job.total, unit=UNITS.get(job.kind, "frames")),
        collection=collection.name,
        name=job.payload.get("name"),
        item_id=job.item_id,
        stage=job.stage,
        result_url=_result_url(collection, job),
        error=job.reason,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )


def _result_url(collection: Collection, job: index.Job) -> str | None:
    """Where the report of a finished job is; jobs that take in a video have none."""
    if job.kind not in REPORTS or job.state != "succeeded":
        return None
    return f"/v1/collections/{collection.name}/{job.kind}/{job.id}"
