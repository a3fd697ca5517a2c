"""What the routes work with, opened and closed together: the engine, the collections, the job worker.

Knows no HTTP. One server a data folder: a lock file sees to it, since two would run the same jobs twice.
"""

import fcntl
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import numpy as np
from anyio import CapacityLimiter
from fastapi import Depends, Request
from opentelemetry import trace
from starlette.requests import ClientDisconnect

from ..errors import Conflict, ModelMismatch, StorageError
from ..export.bundle import load_canary
from ..export.choice import open_engine
from ..export.engine import Engine
from ..index.catalog.jobs import JobState, list_jobs
from ..index.library import Library
from ..index.vectors.card import open_card
from ..index.vectors.plan import IndexOptions
from ..media.decoding import Decoder
from ..media.limits import MediaLimits
from ..media.sandbox import Sandbox
from ..settings import Settings
from .inference.batcher import Batcher
from .inference.canary import Canary
from .inference.pipeline import Pipeline
from .inference.request_context import ClientDisconnected, RequestContext
from .jobs.worker import Worker
from .media_input.fetch import Fetcher, FetchLimits, hosts_of
from .media_input.library_roots import parse_library_roots
from .observability.metrics import LibraryCounts, Metrics
from .thumbnail_cache import ThumbnailCache
from .uploads.idempotency import IdempotencyStore

log = logging.getLogger("vicmae.server")

DEFAULT_COLLECTION = "default"
COUNTED = ("items", "images", "videos", "frames", "video_seconds", "size_bytes", "failed_files")


@dataclass(frozen=True)
class Services:
    """One running server's parts. `incoming` is where uploads land before they are kept or deleted."""

    settings: Settings
    engine: Engine
    library: Library
    limits: MediaLimits
    decoder: Decoder
    pipeline: Pipeline
    fetcher: Fetcher
    worker: Worker
    thumbnails: ThumbnailCache
    thumbnail_threads: CapacityLimiter
    incoming: Path
    idempotency: IdempotencyStore
    metrics: Metrics
    canary: Canary | None  # None for an engine given by the caller, which has no bundle

    def is_working(self) -> bool:
        """Whether jobs are being worked on by an engine that gives the trained model's vectors."""
        return self.worker.is_working() and (self.canary is None or self.canary.is_well)

    def model_fits(self, fingerprint: str) -> bool:
        """Whether the running engine's vectors can be compared with those of this fingerprint."""
        return fingerprint == self.engine.fingerprint


@contextmanager
def open_services(
    settings: Settings, engine: Engine | None = None, metrics: Metrics | None = None
) -> Iterator[Services]:
    """Everything ready to serve: the engine warm, `default` there, unfinished jobs running again.

    An engine given by the caller stays the caller's to close.
    """
    with ExitStack() as stack:
        data = settings.data.absolute()
        stack.enter_context(_data_folder_lock(data))
        incoming = _empty_folder(data / "incoming")
        metrics = metrics or Metrics()
        canary = None
        if engine is None:
            engine = stack.enter_context(open_engine(settings.bundle, **settings.engine_options))
            seconds, publish = settings.canary_seconds, metrics.engine_drift.set
            canary = stack.enter_context(Canary(engine, *load_canary(settings.bundle), seconds, publish))
            canary.check()
        metrics.record_engine(engine.name, engine.runtime, engine.device, engine.precision, engine.fingerprint)
        warm_up(engine)
        card = open_card(settings.index_device, settings.index_device_kind, settings.index_device_bytes)
        if card is not None:
            stack.callback(card.close)
        library = Library(data, IndexOptions(**settings.index_options, background=True), card)
        stack.callback(library.close)
        try:
            library.open_for(DEFAULT_COLLECTION, engine, create=True)
        except (ModelMismatch, StorageError) as error:  # the others can be served, and this one repaired
            log.warning("%s", error)
        limits = MediaLimits(
            max_bytes=settings.max_upload_bytes,
            max_pixels=settings.max_pixels,
            max_frames=settings.max_frames,
            max_duration_seconds=settings.max_duration_seconds,
        )
        decoder = stack.enter_context(
            Sandbox(
                settings.decode_workers,
                settings.decode_memory_bytes,
                settings.decode_timeout_seconds,
                settings.hardware_decoding == "auto",
            )
        )
        decoder.warm_up()
        batcher = stack.enter_context(Batcher(engine, settings.batch_wait_seconds, metrics.record_batch))
        pipeline = Pipeline(
            batcher,
            limits,
            frames_per_second=settings.frames_per_second,
            max_query_seconds=settings.max_query_seconds,
            max_requests=settings.max_queue,
            decoder=decoder,
            on_done=lambda context: told(metrics, context),
        )
        stack.callback(pipeline.close)
        metrics.watch("vicmae_trips_under_way", "Requests decoding or waiting", lambda: pipeline.active)
        metrics.watch("vicmae_trips_limit", "As many as may be under way (max_queue)", lambda: pipeline.max_requests)
        metrics.watch("vicmae_engine_line", "Requests that wait for the engine", lambda: batcher.waiting)
        metrics.watch_library(lambda: library_counts(library))
        worker = stack.enter_context(
            Worker(
                library,
                engine,
                limits,
                settings.frames_per_second,
                decoder,
                settings.sampling,
                parse_library_roots(settings.library_roots),
            )
        )
        yield Services(
            settings,
            engine,
            library,
            limits,
            decoder,
            pipeline,
            Fetcher(fetch_limits(settings)),
            worker,
            ThumbnailCache(),
            CapacityLimiter(2),
            incoming,
            IdempotencyStore(data),
            metrics,
            canary,
        )


def fetch_limits(settings: Settings) -> FetchLimits:
    return FetchLimits(
        hosts_of(settings.fetch_hosts),
        hosts_of(settings.fetch_private_hosts),
        settings.max_fetch_bytes,
        settings.max_fetch_seconds,
    )


def told(metrics: Metrics, context: RequestContext) -> None:
    """A trip that ended, for Prometheus and for whoever traces."""
    metrics.record_stages(context.timing)
    trace.get_current_span().set_attributes({f"vicmae.{station}": spent for station, spent in context.timing.items()})


def library_counts(library: Library) -> LibraryCounts:
    """The collections and jobs as they are now."""
    opened = [library.open(known.name) for known in library.list()]
    collections: dict[str, dict[str, float]] = {}
    states: Counter[JobState] = Counter()
    for each in opened:
        try:
            stats = each.stats()
            states.update(job.state for job in list_jobs(each, 10_000))
        except StorageError as error:
            log.warning("the collection %r is not counted: %s", each.name, error)
            continue
        asked = each.index.asked()
        collections[each.name] = {name: float(number) for name, number in stats.items() if name in COUNTED}
        collections[each.name]["queries_compared"] = asked.compared
        if asked.recall is not None:
            collections[each.name]["queries_recall"] = asked.recall
    return LibraryCounts(collections, {state: states[state] for state in get_args(JobState)})


def warm_up(engine: Engine) -> None:
    """One blank picture through the engine: a broken engine shows here, not at the first request."""
    size = engine.spec.size
    engine.embed(np.zeros((1, size, size, 3), np.uint8))


@contextmanager
def _data_folder_lock(data: Path) -> Iterator[None]:
    """Holds DATA/server.lock; Conflict while another server holds it. A kill frees it at once."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = os.open(data / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageError(
            f"The data folder {data} cannot be used: {error.strerror}. Choose another --data."
        ) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"Another vicmae server already serves {data}. Stop it, or choose another --data folder."
            ) from error
        yield
    finally:
        os.close(file)


def _empty_folder(folder: Path) -> Path:
    """`folder`, there and empty: whatever a killed server left in it was never acknowledged."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    return folder


async def services_of(request: Request) -> Services:
    """Asynchronous, since FastAPI would send a plain function to a thread for every request."""
    return opened(request)


def opened(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Here = Annotated[Services, Depends(services_of)]


T = TypeVar("T")


async def run_in_pipeline(here: Services, request: Request, work: Callable[[RequestContext], T]) -> T:
    """work as a trip of the pipeline that ends early when the client goes. Its body must have been read."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        return await here.pipeline.run(work, disconnected)
    except ClientDisconnected as gone:
        raise ClientDisconnect from gone
