"""One job while it runs: how it reports progress, and how it learns that it must end."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from ...errors import VicmaeError
from ...index.catalog import jobs
from ...index.collection import Collection
from ..uploads.files import forget_upload

log = logging.getLogger("vicmae.server")

PROGRESS_SECONDS = 0.5  # between two updates of one job in the catalog


class ServerStopping(Exception):
    """The server stops while a job runs: the job goes back into the queue."""


class JobCancelled(Exception):
    """Somebody cancelled the running job: it ends here, and what it has done stays."""


class JobRun:
    """A running job of a collection.

    is_stopping   whether the server stops
    take_uploads  runs the uploads that wait meanwhile; long jobs call it through `report`
    """

    def __init__(
        self,
        collection: Collection,
        job: jobs.Job,
        is_stopping: Callable[[], bool],
        take_uploads: Callable[[], None] = lambda: None,
    ) -> None:
        self.collection = collection
        self.job = job
        self._is_stopping = is_stopping
        self._take_uploads = take_uploads
        self._reported_at = 0.0

    def report(self, stage: str, done: int, total: int) -> None:
        """Called after each step. Raises ServerStopping at once, JobCancelled within PROGRESS_SECONDS."""
        if self._is_stopping():
            raise ServerStopping
        if (now := monotonic()) - self._reported_at < PROGRESS_SECONDS:
            return
        self._reported_at = now
        self.advance(stage, done, total)
        self._take_uploads()

    def advance(self, stage: str, done: int, total: int) -> None:
        """Writes the progress to the catalog now. Raises JobCancelled."""
        if not jobs.advance_job(self.collection.catalog, self.job.id, stage, done, total):
            raise JobCancelled

    def succeed(self, done: int, total: int, result: dict[str, Any] | None = None, note: str | None = None) -> None:
        """Ends the job well: its result for those who ask for it, a note on what could not be done."""
        if result is not None:
            jobs.keep_result(self.collection.catalog, self.job.id, result)
        jobs.advance_job(self.collection.catalog, self.job.id, "done", done, total)
        jobs.finish_job(self.collection.catalog, self.job.id, "succeeded", None, note)

    def fail(self, reason: str, stage: str | None = None) -> None:
        """Ends the job badly, and deletes the upload that it was to make an item of."""
        try:
            jobs.finish_job(self.collection.catalog, self.job.id, "failed", stage, reason)
            forget_upload(self.collection, self.job)
        except VicmaeError as error:
            log.error("job %s cannot be closed: %s", self.job.id, error)
