"""Jobs: what runs in the background, how far it is, and ending it early."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from anyio import sleep, to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from ...errors import NotFound, StorageError
from ...index.catalog import jobs as index
from ...index.collection import Collection
from ..dependencies import ServicesDependency
from ..events import EVENTS
from ..jobs.kinds import DUPLICATES, FILL_PICTURES, REEMBED, SCAN
from ..schemas.jobs import Accepted, Job, Jobs, Progress
from ..services import Services
from ..uploads.files import forget_upload
from ..urls import collection_url, job_url

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

LOOK_SECONDS = 0.25  # between two looks at a job that somebody watches
KEEP_ALIVE_SECONDS = 15.0  # proxies close what is silent for longer
UNITS = {DUPLICATES: "pairs", REEMBED: "items", SCAN: "files", FILL_PICTURES: "items"}
REPORTS = (DUPLICATES, REEMBED)  # kinds whose report has an address


@router.get("")
def list_jobs(services: ServicesDependency, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Jobs:
    """The newest jobs of all collections, newest first."""
    jobs: list[Job] = []
    for collection in services.library.survey()[0]:
        with suppress(StorageError):  # a damaged collection's are left out; /v1/collections says what it has
            jobs += [job_schema(collection, job) for job in index.list_jobs(collection.catalog, limit)]
    return Jobs(data=sorted(jobs, key=lambda job: job.created_at, reverse=True)[:limit])


@router.get("/{job_id}")
def get_job(job_id: str, services: ServicesDependency) -> Job:
    """One job."""
    return job_schema(*find(services, job_id))


@router.get("/{job_id}/events", response_class=StreamingResponse, responses={200: {"content": {EVENTS: {}}}})
async def job_events(job_id: str, request: Request, services: ServicesDependency) -> StreamingResponse:
    """The job as server-sent events `job`, one whenever it changed, until it has ended. Data is the job as JSON."""
    await to_thread.run_sync(find, services, job_id)
    events = changes(job_id, request, services)
    return StreamingResponse(events, media_type=EVENTS, headers={"cache-control": "no-store"})


async def changes(job_id: str, request: Request, services: Services) -> AsyncIterator[bytes]:
    """An event for each change of the job, until it has ended or the server stops."""
    last, silent_seconds = "", 0.0
    while request.app.state.ready:
        try:
            job = job_schema(*await to_thread.run_sync(find, services, job_id))
        except NotFound:  # its collection was dropped
            return
        if (text := job.model_dump_json()) != last:
            last, silent_seconds = text, 0.0
            yield format_sse_event(event="job", data_str=text)
        elif silent_seconds >= KEEP_ALIVE_SECONDS:
            silent_seconds = 0.0
            yield format_sse_event(comment="still there")
        if job.state not in ("queued", "running"):
            return
        await sleep(LOOK_SECONDS)
        silent_seconds += LOOK_SECONDS


@router.delete("/{job_id}")
def cancel_job(job_id: str, services: ServicesDependency) -> Job:
    """Cancels a job: one that waits never begins; one that runs ends after the file it is at, and what it has done
    stays. An upload that has become no item is deleted."""
    collection, job = find(services, job_id)
    if job.state == "running":
        return job_schema(collection, index.cancel_job(collection.catalog, job_id, "running"))
    job = index.cancel_job(collection.catalog, job_id)
    forget_upload(collection, job)
    return job_schema(collection, job)


def find(services: Services, job_id: str) -> tuple[Collection, index.Job]:
    """The job and its collection; NotFound when no collection knows it."""
    for collection in services.library.survey()[0]:
        with suppress(NotFound, StorageError):
            return collection, index.get_job(collection.catalog, job_id)
    raise NotFound(f"There is no job {job_id!r}.")


def accepted(collection: Collection, job: index.Job, response: Response) -> Accepted:
    """The 202 of a request that made a job, or found it at work already; Location names the job."""
    response.headers["location"] = job_url(job.id)
    return Accepted(job=job_schema(collection, job))


def job_schema(collection: Collection, job: index.Job) -> Job:
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
    return f"{collection_url(collection.name)}/{job.kind}/{job.id}"
