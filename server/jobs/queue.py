"""Adding jobs to a collection's queue, each at most once."""

from collections.abc import Callable, Iterator
from typing import Any

from ...index.catalog import jobs
from ...index.collection import Collection
from .worker import Worker

NEWEST = 1000  # jobs of a collection that are looked at


def active_jobs(collection: Collection) -> Iterator[jobs.Job]:
    """Those that wait or run, newest first."""
    return (job for job in jobs.list_jobs(collection.catalog, NEWEST) if job.state in ("queued", "running"))


def enqueue_once(
    collection: Collection,
    worker: Worker,
    kind: str,
    payload: dict[str, Any],
    is_same: Callable[[jobs.Job], bool] = lambda job: True,
) -> jobs.Job:
    """The active job of this kind that `is_same` accepts, else a new one."""
    active = (job for job in active_jobs(collection) if job.kind == kind and is_same(job))
    job = next(active, None)
    if job is None:
        job = jobs.add_job(collection.catalog, kind, None, payload)
        worker.wake()
    return job
