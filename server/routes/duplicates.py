"""Duplicates of a collection: start the job, read its report (JSON, CSV, a page), say and take back what is none."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, JSONResponse, Response

from ...index.catalog import dismiss, dismissed_items, undo
from ...index.catalog import jobs as index
from ...index.duplicates import content_security_policy, report_csv, report_html
from ..dependencies import ServicesDependency
from ..jobs.kinds import DUPLICATES
from ..jobs.queue import enqueue_once
from ..schemas.duplicates import Dismissal, Dismissals, DismissedItem, DismissedPair, Duplicates
from ..schemas.jobs import Accepted, Jobs
from ..urls import collection_url, item_urls
from .jobs import accepted, job_schema

router = APIRouter(prefix="/v1/collections/{name}/duplicates", tags=["duplicates"])

FORMATS: dict[str, dict[str, str]] = {"text/html": {}, "text/csv": {}}


@router.post("", status_code=202)
def find(name: str, services: ServicesDependency, response: Response) -> Accepted:
    """Starts looking for duplicates; while such a job waits or runs, that one is named."""
    collection = services.library.open_for(name, services.engine)
    return accepted(collection, enqueue_once(collection, services.worker, DUPLICATES, {}), response)


@router.get("")
def searches(name: str, services: ServicesDependency, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Jobs:
    """The newest searches for duplicates, newest first; one that has succeeded names its report."""
    collection = services.library.open(name)
    return Jobs(data=[job_schema(collection, job) for job in index.list_jobs(collection.catalog, limit, DUPLICATES)])


@router.get("/dismiss")
def dismissed_pairs(name: str, services: ServicesDependency) -> Dismissals:
    """The pairs that were called no duplicates, the newest first."""
    pairs = dismissed_items(services.library.open(name).catalog)
    shown = [[DismissedItem(id=item.id, name=item.name) for item in pair] for pair in pairs]
    return Dismissals(data=[DismissedPair(a=a, b=b) for a, b in shown])


@router.delete("/dismiss", status_code=204)
def undo_dismissal(name: str, a: str, b: str, services: ServicesDependency) -> None:
    """Takes back that two items are no duplicates: the next report may hold the pair again."""
    undo(services.library.open(name).catalog, a, b)


@router.post("/dismiss", status_code=204)
def dismiss_pair(name: str, pair: Dismissal, services: ServicesDependency) -> None:
    """Remembers that two items are no duplicates: later reports leave the pair out."""
    dismiss(services.library.open(name).catalog, pair.a, pair.b)


@router.get("/{job_id}", response_model=Duplicates, responses={200: {"content": FORMATS}})
def report(
    name: str,
    job_id: str,
    services: ServicesDependency,
    format: Annotated[Literal["json", "csv", "html"], Query()] = "json",
) -> Response:
    """What a finished job found. The page plays both sides of a pair locked at their offset."""
    collection = services.library.open(name)
    found = index.result_of(collection.catalog, job_id, DUPLICATES)
    if format == "csv":
        return Response(report_csv(found), media_type="text/csv")
    if format == "html":
        url = collection_url(name)
        page = report_html(found, lambda item: f"{url}/items/{item}/media", f"{url}/duplicates/dismiss")
        return HTMLResponse(page, headers={"content-security-policy": content_security_policy()})
    items = {item_id: {**item, **item_urls(name, item_id)} for item_id, item in found["items"].items()}
    return JSONResponse({**found, "items": items})
