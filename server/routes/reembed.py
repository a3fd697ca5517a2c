"""POST /v1/collections/{c}/reembed: a job that embeds a collection anew by the running model, into another one."""

from fastapi import APIRouter, Response

from ...index.catalog import jobs as index
from ...index.ingest import open_both
from ..dependencies import ServicesDependency
from ..jobs.kinds import REEMBED
from ..jobs.queue import enqueue_once
from ..schemas.collections import Reembedding, ReembedRequest
from ..schemas.jobs import Accepted
from .jobs import accepted

router = APIRouter(prefix="/v1/collections/{name}", tags=["collections"])


@router.post("/reembed", status_code=202)
def reembed(name: str, body: ReembedRequest, services: ServicesDependency, response: Response) -> Accepted:
    """Starts it, or names the job that does it already. The collection of the name stays as it is."""
    source, target = open_both(services.library, name, body.into, services.engine, body.alias)
    payload = {"source": source.name, "alias": body.alias, "from_files": body.from_files}
    job = enqueue_once(target, services.worker, REEMBED, payload)
    return accepted(target, job, response)


@router.get("/reembed/{job_id}")
def report(name: str, job_id: str, services: ServicesDependency) -> Reembedding:
    """What became of the items; `name` is the new collection. 404 until the job has succeeded."""
    return Reembedding.model_validate(index.result_of(services.library.open(name).catalog, job_id, REEMBED))
