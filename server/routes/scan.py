"""POST /v1/collections/{c}/scan: takes the files below a library root into a collection, as a job."""

from fastapi import APIRouter, Response

from ..dependencies import ServicesDependency
from ..jobs.kinds import SCAN
from ..jobs.queue import enqueue_once
from ..media_input.library_roots import parse_library_roots, resolve_scan_path
from ..schemas.items import ScanRequest
from ..schemas.jobs import Accepted
from .jobs import accepted

router = APIRouter(prefix="/v1/collections/{name}", tags=["items"])


@router.post("/scan", status_code=202)
def scan(name: str, body: ScanRequest, services: ServicesDependency, response: Response) -> Accepted:
    """Reads what is new or changed below the path; while a job for the same path waits or runs, that one is named."""
    path = resolve_scan_path(parse_library_roots(services.settings.library_roots), body.path)
    collection = services.library.open_for(name, services.engine)
    payload = {"path": str(path), "name": path.name, "retry": body.retry}
    job = enqueue_once(
        collection, services.worker, SCAN, payload, is_same=lambda job: job.payload.get("path") == str(path)
    )
    return accepted(collection, job, response)
