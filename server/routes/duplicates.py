"""Duplicates of a collection: start the job, read its report (JSON, CSV, a page), say and take back what is none."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, JSONResponse, Response

from ...index.catalog import jobs as index
from ...index.catalog.dismissals import dismiss, dismissed_items, undo
from ...index.duplicates import content_security_policy, report_csv, report_html
from ..dependencies import ServicesDependency
from ..jobs.kinds import DUPLICATES
from ..schemas.duplicates import Dismissal, Dismissals, DismissedItem, DismissedPair, Duplicates
from ..schemas.jobs import Accepted, Jobs
from ..urls import item_urls
from .jobs import job_schema

router = APIRouter(prefix="/v1/collections/{name}/duplicates", tags=["duplicates"])

FORMATS: dict[str, dict[str, str]] = {"text/html": {}, "text/csv": {}}


@router.post("", status_code=202)
def find(name: str, here: ServicesDependency, response: Response) -> Accepted:
    """Starts looking for duplicates; while such a job waits or runs, that one is named."""
    collection = here.library.open_for(name, here.engine)
    known = index.list_jobs(collection.catalog, kind=DUPLICATES)
    job = next((job for job in known if job.state in ("queued", "running")), None)
    if job is None:
        job = index.add_job(collection.catalog, DUPLICATES, None, {})
        here.worker.wake()
    response.headers["location"] = f"/v1/jobs/{job.id}"
    return Accepted(job=job_schema(collection, job))


@router.get("")
def searches(name: str, here: ServicesDependency, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Jobs:
    """The newest searches for duplicates, newest first; one that has succeeded names its report."""
    collection = here.library.open(name)
    return Jobs(data=[job_schema(collection, job) for job in index.list_jobs(collection.catalog, limit, DUPLICATES)])


@router.get("/dismiss")
def dismissed_pairs(name: str, here: ServicesDependency) -> Dismissals:
    """The pairs that were called no duplicates, the newest first."""
    pairs = dismissed_items(here.library.open(name).catalog)
    shown = [[DismissedItem(id=item.id, name=item.name) for item in pair] for pair in pairs]
    return Dismissals(data=[DismissedPair(a=a, b=b) for a, b in shown])


@router.delete("/dismiss", status_code=204)
def undo_dismissal(name: str, a: str, b: str, here: ServicesDependency) -> None:
    """Takes back that two items are no duplicates: the next report may hold the pair again."""
    undo(here.library.open(name).catalog, a, b)


@router.post("/dismiss", status_code=204)
def dismiss_pair(name: str, pair: Dismissal, here: ServicesDependency) -> None:
    """Remembers that two items are no duplicates: later reports leave the pair out."""
    dismiss(here.library.open(name).catalog, pair.a, pair.b)


@router.get("/{job_id}", response_model=Duplicates, responses={200: {"content": FORMATS}})
def report(
    name: str,
    job_id: str,
    here: ServicesDependency,
    format: Annotated[Literal["json", "csv", "html"], Query()] = "json",
) -> Response:
    """What a finished job found. The page plays both sides of a pair locked at their offset."""
    collection = here.library.open(name)
    found = index.result_of(collection.catalog, job_id, DUPLICATES)
    if format == "csv":
        return Response(report_csv(found), media_type="text/csv")
    if format == "html":
        here_is = f"/v1/collections/{name}"
        page = report_html(found, lambda item: f"{here_is}/items/{item}/media", f"{here_is}/duplicates/dismiss")
        return HTMLResponse(page, headers={"content-security-policy": content_security_policy()})
    items = {item_id: {**item, **item_urls(name, item_id)} for item_id, item in found["items"].items()}
    return JSONResponse({**found, "items": items})
