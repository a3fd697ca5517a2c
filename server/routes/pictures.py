"""POST /v1/collections/{c}/fill-pictures: makes the stored pictures of items that have none, as a job."""

from fastapi import APIRouter, Response

from ..dependencies import ServicesDependency
from ..jobs.kinds import FILL_PICTURES
from ..jobs.queue import enqueue_once
from ..schemas.jobs import Accepted
from .jobs import accepted

router = APIRouter(prefix="/v1/collections/{name}", tags=["items"])


@router.post("/fill-pictures", status_code=202)
def fill_pictures(name: str, services: ServicesDependency, response: Response) -> Accepted:
    """Reads the files of items that have no stored pictures; while such a job waits or runs, that one is named."""
    collection = services.library.open_for(name, services.engine)
    return accepted(collection, enqueue_once(collection, services.worker, FILL_PICTURES, {}), response)
