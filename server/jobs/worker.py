"""The background worker: one thread that takes in uploads and folders, looks for duplicates, re-embeds, job by job.

A job is in its collection's catalog before the upload is answered; after a kill the next server finds it and
runs it again. One that the disk refuses is tried again until there is room. Knows no HTTP.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from types import TracebackType

from ...errors import ModelMismatch, NotFound, Overloaded, StorageError, VicmaeError
from ...export.engine import Engine
from ...index.catalog import jobs
from ...index.catalog.ledger import forget, read_ledger
from ...index.collection import Collection
from ...index.duplicates.finder import find_duplicates
from ...index.duplicates.report import report_dict
from ...index.ingest.pipeline import ingest_file, ingest_many
from ...index.ingest.reembed import reembed, switch
from ...index.ingest.scan import plan, uri_path, walk
from ...index.library import Library
from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ...media.sampling import Sampling
from ..media_input.library_roots import is_inside

log = logging.getLogger("vicmae.server")

INGEST = "ingest"
DUPLICATES = "duplicates"
REEMBED = "reembed"
SCAN = "scan"
MAX_NAMED = 5  # files that a scan names of those that could not be read
IDLE_SECONDS = 5.0  # how often an idle worker looks by itself; uploads wake it at once
STOP_SECONDS = 10.0
PROGRESS_SECONDS = 0.5  # between two lines about one job in the catalog


class Stopped(Exception):
    """The server stops while a job runs: the job goes back into the queue."""


class Cancelled(Exception):
    """Somebody cancelled the job that runs: it ends here, and what it has done stays."""


class Worker:
    """Runs queued jobs of every collection, oldest first, until it is closed."""

    def __init__(
        self,
        library: Library,
        engine: Engine,
        limits: MediaLimits,
        frames_per_second: float,
        decoder: Decoder = HERE,
        sampling: Sampling = "rate",
        roots: Sequence[Path] = (),
    ) -> None:
        self.library = library
        self.engine = engine
        self.limits = limits
        self.frames_per_second = frames_per_second
        self.decoder = decoder
        self.sampling = sampling
        self.roots = roots
        self._woken = threading.Event()
        self._stopping = False
        self._stuck: list[tuple[Collection, str]] = []  # jobs that the disk refused, still "running" in the catalog
        self._thread = threading.Thread(target=self._run, name="vicmae-jobs", daemon=True)

    def __enter__(self) -> "Worker":
        for collection in self._collections():
            try:
                jobs.requeue_running(collection)
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
        """There is something to do."""
        self._woken.set()

    def is_working(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._put_back()
                worked = any([self._run_next(collection) for collection in self._collections()])
            except Exception:
                # The thread must outlive whatever one job or one broken collection throws.
                log.exception("the job worker stumbled")
                worked = False
            if not worked:
                self._woken.wait(IDLE_SECONDS)
                self._woken.clear()

    def _collections(self) -> list[Collection]:
        """Those whose model runs. Jobs of others wait for their model."""
        fitting = []
        for known in self.library.survey()[0]:
            try:
                fitting.append(self.library.open_for(known.name, self.engine))
            except (ModelMismatch, NotFound, StorageError):
                continue
        return fitting

    def _run_next(self, collection: Collection, kinds: Sequence[str] | None = None) -> bool:
        """Runs the collection's oldest waiting job (of those kinds); False when there is none."""
        if self._stopping:
            return False
        try:
            job = jobs.claim_job(collection, kinds)
        except StorageError as error:
            log.error("no job of %r can be started now: %s", collection.name, error)
            return False
        if job is None:
            return False
        try:
            if job.kind == DUPLICATES:
                self._find_duplicates(collection, job)
            elif job.kind == REEMBED:
                self._reembed(collection, job)
            elif job.kind == SCAN:
                self._scan(collection, job)
            else:
                self._ingest(collection, job)
        except Stopped:
            jobs.requeue_running(collection)
        except Cancelled:
            forget_upload(collection, job)
        except Overloaded:
            # The decoder was closed under it: the job stays "running" in its catalog, and the next start runs it.
            log.info("job %s waits for the next start", job.id)
        except StorageError as error:
            # It was accepted, so it is kept: a full disk has room again some day.
            log.error("job %s waits for the disk: %s", job.id, error)
            self._stuck.append((collection, job.id))
            return False
        except VicmaeError as error:
            log.error("job %s failed: %s", job.id, error)
            self._fail(collection, job, str(error))
        except Exception:
            # Nobody is waiting to be told: the log has the trace, the job a sentence.
            log.exception("job %s failed", job.id)
            self._fail(collection, job, "Something went wrong in the server; its log tells more.")
        return True

    def _put_back(self) -> None:
        """Jobs that the disk refused wait in the queue again."""
        stuck, self._stuck = self._stuck, []
        for collection, job_id in stuck:
            try:
                jobs.requeue(collection, job_id)
            except StorageError:
                self._stuck.append((collection, job_id))

    def _progress(
        self, collection: Collection, job: jobs.Job, meanwhile: Callable[[], object] | None = None
    ) -> Callable[[str, int, int], None]:
        """What to tell after each step: stage, done, total. Raises Stopped, or Cancelled within PROGRESS_SECONDS.

        meanwhile   is done now and then
        """
        told = 0.0

        def tell(stage: str, done: int, total: int) -> None:
            nonlocal told
            if self._stopping:
                raise Stopped
            if (moment := monotonic()) - told < PROGRESS_SECONDS:
                return
            told = moment
            if not jobs.advance_job(collection, job.id, stage, done, total):
                raise Cancelled
            if meanwhile is not None:
                meanwhile()

        return tell

    def _uploads(self) -> None:
        """Takes in what was uploaded while a long job runs. Long jobs wait for each other."""
        for collection in self._collections():
            self._run_next(collection, (INGEST,))

    def _ingest(self, collection: Collection, job: jobs.Job) -> None:
        tell = self._progress(collection, job)
        file = str(job.payload["file"])
        outcome = ingest_file(
            collection,
            self.engine,
            collection.uploads / file,
            uri=upload_uri(file),
            name=str(job.payload["name"]),
            item_id=job.item_id,
            metadata=job.payload["metadata"],
            frames_per_second=self.frames_per_second,
            sampling=job.payload.get("sampling") or self.sampling,
            limits=self.limits,
            decoder=self.decoder,
            on_progress=lambda done, total: tell("embed", done, total),
        )
        if outcome.state == "failed":
            self._fail(collection, job, outcome.reason or "The video cannot be read.", outcome.stage)
            return
        jobs.advance_job(collection, job.id, "done", outcome.frames, outcome.frames)
        jobs.finish_job(collection, job.id, "succeeded")

    def _find_duplicates(self, collection: Collection, job: jobs.Job) -> None:
        found = find_duplicates(collection, self.limits, self.decoder, self._progress(collection, job))
        jobs.keep_result(collection, job.id, report_dict(collection, found))
        jobs.advance_job(collection, job.id, "done", found.compared, found.compared)
        jobs.finish_job(collection, job.id, "succeeded")

    def _reembed(self, target: Collection, job: jobs.Job) -> None:
        """Embeds a collection anew; uploads are let in between its items."""
        alias = job.payload["alias"]
        source = self.library.open(str(job.payload["source"]))
        tell = self._progress(target, job, self._uploads)
        with closing(reembed(source, target, self.engine, self.limits, self.decoder)) as run:
            for tally in run:
                tell("embed", tally.seen, tally.total)
        if not jobs.advance_job(target, job.id, "switch", tally.seen, tally.total):
            raise Cancelled
        if alias is not None:
            switch(self.library, target, str(alias), tally)
        told_all = {"source": source.name, "into": target.name, "alias": alias, **tally.to_dict()}
        jobs.keep_result(target, job.id, told_all)
        jobs.advance_job(target, job.id, "done", tally.seen, tally.total)
        jobs.finish_job(target, job.id, "succeeded")

    def _scan(self, collection: Collection, job: jobs.Job) -> None:
        """Takes in what is new or changed below a path; uploads are let in between its files."""
        path = Path(str(job.payload["path"]))
        found = walk([path])
        files = [file for file in found.files if is_inside(self.roots, file.path)]
        ledger, retry = read_ledger(collection.catalog), bool(job.payload["retry"])
        planned = plan(files, ledger, self.frames_per_second, (), retry, self.sampling)
        failed = [f"{each}: {why}" for each, why in found.unseen]
        failed += [f"{uri_path(row.uri).name}: {row.reason}" for row in planned.failed]
        todo, tell = [file.path for file in planned.todo], self._progress(collection, job, self._uploads)
        run = ingest_many(
            collection,
            self.engine,
            todo,
            frames_per_second=self.frames_per_second,
            sampling=self.sampling,
            limits=self.limits,
            decoder=self.decoder,
        )
        with closing(run):
            for done, outcome in enumerate(run, 1):
                if outcome.state == "failed":
                    failed.append(f"{outcome.path.name}: {outcome.reason}")
                tell("read", done, len(todo))
        jobs.advance_job(collection, job.id, "done", len(todo), len(todo))
        words = None
        if failed:
            more = f" … and {len(failed) - MAX_NAMED} more." if len(failed) > MAX_NAMED else ""
            words = f"{len(failed)} of {len(files)} could not be read. {' '.join(failed[:MAX_NAMED])}{more}"
        jobs.finish_job(collection, job.id, "succeeded", None, words)

    def _fail(self, collection: Collection, job: jobs.Job, reason: str, stage: str | None = None) -> None:
        try:
            jobs.finish_job(collection, job.id, "failed", stage, reason)
            forget_upload(collection, job)
        except VicmaeError as error:
            log.error("job %s cannot be closed: %s", job.id, error)


def upload_uri(file: str) -> str:
    """The uri of an uploaded file by the name it is kept under."""
    return f"upload:{file}"


def forget_upload(collection: Collection, job: jobs.Job) -> None:
    """Deletes what is left of an upload whose job made no item: its file and its line in the ledger."""
    if job.kind != INGEST:
        return
    file = str(job.payload["file"])
    (collection.uploads / file).unlink(missing_ok=True)
    forget(collection.catalog, [upload_uri(file)])


def sweep_uploads(collection: Collection) -> None:
    """Deletes uploaded files that neither an item nor a job knows: their upload was never acknowledged."""
    if not collection.uploads.is_dir():
        return
    waiting = {job.payload.get("file") for job in jobs.list_jobs(collection, 100_000) if job.state == "queued"}
    for path in collection.uploads.iterdir():
        if path.name not in waiting and collection.find_by_uri(upload_uri(path.name)) is None:
            path.unlink(missing_ok=True)
