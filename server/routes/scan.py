"""POST /v1/collections/{c}/scan: takes the files below a library root into a collection, as a job."""

from fastapi import APIRouter, Response

from ...index.catalog import jobs as index
from ..dependencies import ServicesDependency
from ..jobs.kinds import SCAN
from ..media_input.library_roots import parse_library_roots, resolve_scan_path
from ..schemas.items import ScanRequest
from ..schemas.jobs import Accepted
from .jobs import job_schema

router = APIRouter(prefix="/v1/collections/{name}", tags=["items"])


@router.post("/scan", status_code=202)
def scan(name: str, body: ScanRequest, services: ServicesDependency, response: Response) -> Accepted:
    """Reads what is new or changed below the path; while a job for the same path waits or runs, that one is named."""
    path = resolve_scan_path(parse_library_roots(services.settings.library_roots), body.path)
    collection = services.library.open_for(name, services.engine)
    waiting = (job for job in index.list_jobs(collection.catalog, 1000) if job.state in ("queued", "running"))
    job = next((job for job in waiting if job.kind == SCAN and job.payload.get("path") == str(path)), None)
    if job is None:
        job = index.add_job(collection.catalog, SCAN, None, {"path": str(path), "name": path.name, "retry": body.retry})
        services.worker.wake()
    response.headers["location"] = f"/v1/jobs/{job.id}"
    return Accepted(job=job_schema(collection, job))
