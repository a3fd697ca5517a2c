"""The background worker: one thread that runs the jobs of every collection, oldest first.

A job is in its collection's catalog before the request that made it is answered; after a kill the next server finds it
and runs it again. One that the disk refuses is tried again until there is room. Knows no HTTP.
"""

import logging
import threading
from collections.abc import Sequence
from types import TracebackType

from ...errors import Overloaded, StorageError, VicmaeError
from ...index.catalog import jobs
from ...index.collection import Collection
from ..uploads.files import forget_upload, sweep_uploads
from .handlers import HANDLERS, JobContext
from .job_run import JobCancelled, JobRun, ServerStopping
from .kinds import FILL_PICTURES, INGEST, REEMBED, SCAN

log = logging.getLogger("vicmae.server")

LONG_JOBS = (SCAN, REEMBED, FILL_PICTURES)  # between whose steps waiting uploads are run; long jobs wait for each other
IDLE_SECONDS = 5.0  # how often an idle worker looks by itself; whoever adds a job wakes it at once
STOP_SECONDS = 10.0


class Worker:
    """Runs queued jobs, from `with` to the end of it."""

    def __init__(self, context: JobContext) -> None:
        self.context = context
        self._woken = threading.Event()
        self._stopping = False
        self._refused: list[tuple[Collection, str]] = []  # by the disk; still "running" in the catalog
        self._thread = threading.Thread(target=self._run, name="vicmae-jobs", daemon=True)

    def __enter__(self) -> "Worker":
        for collection in self._collections():
            try:
                jobs.requeue(collection.catalog)
                sweep_uploads(collection)
            except StorageError as error:
                log.error("the jobs of %r wait for the next start: %s", collection.name, error)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self.wake()
        self._thread.join(STOP_SECONDS)

    def wake(self) -> None:
        """Says that there is a new job."""
        self._woken.set()

    def is_working(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    def _run(self) -> None:
        self._sweep_pictures()
        while not self._stopping:
            try:
                self._requeue_refused()
                worked = any([self._run_next(collection) for collection in self._collections()])
            except Exception:
                # The thread must outlive whatever one job or one broken collection raises.
                log.exception("the job worker failed and goes on")
                worked = False
            if not worked:
                self._woken.wait(IDLE_SECONDS)
                self._woken.clear()

    def _collections(self) -> list[Collection]:
        """Those whose model runs. Jobs of others wait for their model."""
        known, _ = self.context.library.survey()
        return [each for each in known if each.fingerprint == self.context.engine.fingerprint]

    def _run_next(self, collection: Collection, kinds: Sequence[str] | None = None) -> bool:
        """Runs the collection's oldest waiting job (of those kinds); False when there is none, or no room for it."""
        if self._stopping:
            return False
        try:
            job = jobs.claim_job(collection.catalog, kinds)
        except StorageError as error:
            log.error("no job of %r can be started now: %s", collection.name, error)
            return False
        if job is None:
            return False
        try:
            self._handle(collection, job)
        except StorageError as error:
            # It was accepted, so it is kept: a full disk has room again some day.
            log.error("job %s waits for the disk: %s", job.id, error)
            self._refused.append((collection, job.id))
            return False
        return True

    def _handle(self, collection: Collection, job: jobs.Job) -> None:
        """Runs one job to its end, whatever the end is. Raises StorageError only."""
        take_uploads = self._run_uploads if job.kind in LONG_JOBS else lambda: None
        run = JobRun(collection, job, lambda: self._stopping, take_uploads)
        try:
            HANDLERS[job.kind](self.context, run)
        except ServerStopping:
            jobs.requeue(collection.catalog)
        except JobCancelled:
            forget_upload(collection, job)
        except Overloaded:
            # Decoder or batcher were closed under it: it stays "running" in the catalog, and the next start runs it.
            log.info("job %s waits for the next start", job.id)
        except StorageError:
            raise
        except VicmaeError as error:
            log.error("job %s failed: %s", job.id, error)
            run.fail(str(error))
        except Exception:
            # Nobody is waiting to be told: the log has the traceback, the job a sentence.
            log.exception("job %s failed", job.id)
            run.fail("Something went wrong in the server; its log tells more.")

    def _run_uploads(self) -> None:
        """Runs an upload of each collection, while a long job runs."""
        for collection in self._collections():
            self._run_next(collection, (INGEST,))

    def _sweep_pictures(self) -> None:
        """Removes the pictures that a killed process was writing."""
        for collection in self.context.library.survey()[0]:
            try:
                collection.pictures.sweep()
            except VicmaeError as error:
                log.warning("pictures of %r that no item has stay for now: %s", collection.name, error)

    def _requeue_refused(self) -> None:
        """Puts jobs that the disk refused back into the queue."""
        refused, self._refused = self._refused, []
        for collection, job_id in refused:
            try:
                jobs.requeue(collection.catalog, job_id)
            except StorageError:
                self._refused.append((collection, job_id))
