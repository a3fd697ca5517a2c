"""The services that routes work with, opened and closed together: engine, collections, pipeline, job worker.

One server a data folder: a lock file sees to it, since two would run the same jobs twice.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anyio import CapacityLimiter
from opentelemetry import trace

from ..errors import Conflict, ModelMismatch, StorageError
from ..export.bundle import load_canary
from ..export.engine import Engine, open_engine
from ..index.cache import ByteCache
from ..index.ingest import IngestOptions
from ..index.library import Library
from ..index.locks import file_lock
from ..index.vectors import IndexOptions, open_card
from ..media.decoding import Decoder
from ..media.limits import MediaLimits
from ..media.sandbox import Sandbox
from ..settings import Settings
from .inference.batched_engine import BatchedEngine
from .inference.batcher import Batcher
from .inference.canary import Canary
from .inference.pipeline import Pipeline
from .inference.request_context import RequestContext
from .jobs.handlers import JobContext
from .jobs.worker import Worker
from .media_input.fetch import Fetcher, FetchLimits, hosts_of
from .media_input.library_roots import parse_library_roots
from .observability.library_counts import library_counts
from .observability.metrics import Metrics
from .uploads.idempotency import IdempotencyStore

log = logging.getLogger("vicmae.server")

DEFAULT_COLLECTION = "default"
THUMBNAIL_THREADS = 2
THUMBNAIL_BYTES = 64 * 2**20  # of JPEGs kept in memory

ThumbnailKey = tuple[str, float, int, bool]  # sha256 of the file, seconds, longest side, whether exact


@dataclass(frozen=True)
class Services:
    """The parts of one running server.

    engine    behind the batcher: whoever embeds with it takes its turn among the requests
    incoming  where uploads are received before they are kept or deleted
    """

    settings: Settings
    engine: Engine
    library: Library
    limits: MediaLimits
    decoder: Decoder
    ingest_options: IngestOptions
    pipeline: Pipeline
    fetcher: Fetcher
    worker: Worker
    thumbnails: ByteCache[ThumbnailKey, bytes]
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

    An engine given by the caller stays the caller's to close. Raises Conflict while another server has the data folder,
    StorageError, BundleError and EngineError for what cannot be opened.
    """
    data = settings.data.absolute()
    metrics = metrics or Metrics()
    with ExitStack() as stack:
        stack.enter_context(_data_folder_lock(data))
        incoming = _empty_folder(data / "incoming")
        engine, canary = _open_engine(settings, engine, metrics, stack)
        library = _open_library(settings, engine, metrics, stack)
        limits = MediaLimits(**settings.media_limits)
        decoder = stack.enter_context(_open_sandbox(settings))
        batcher = stack.enter_context(Batcher(engine, settings.batch_wait_seconds, metrics.record_batch))
        batched = BatchedEngine(batcher)
        pipeline = _open_pipeline(settings, batcher, limits, decoder, metrics, stack)
        options = IngestOptions(
            settings.frames_per_second, settings.sampling, limits, decoder, **settings.frame_store_options
        )
        jobs = JobContext(library, batched, options, parse_library_roots(settings.library_roots))
        yield Services(
            settings=settings,
            engine=batched,
            library=library,
            limits=limits,
            decoder=decoder,
            ingest_options=options,
            pipeline=pipeline,
            fetcher=Fetcher(fetch_limits(settings)),
            worker=stack.enter_context(Worker(jobs)),
            thumbnails=ByteCache(THUMBNAIL_BYTES, len),
            thumbnail_threads=CapacityLimiter(THUMBNAIL_THREADS),
            incoming=incoming,
            idempotency=IdempotencyStore(data),
            metrics=metrics,
            canary=canary,
        )


def _open_engine(
    settings: Settings, engine: Engine | None, metrics: Metrics, stack: ExitStack
) -> tuple[Engine, Canary | None]:
    """The given engine, or that of settings.bundle with the canary that checks it; either of them warm."""
    canary = None
    if engine is None:
        engine = stack.enter_context(open_engine(settings.bundle, **settings.engine_options))
        seconds, publish = settings.canary_seconds, metrics.engine_drift.set
        canary = stack.enter_context(Canary(engine, *load_canary(settings.bundle), seconds, publish))
        canary.check()
    metrics.record_engine(engine.name, engine.runtime, engine.device, engine.precision, engine.fingerprint)
    warm_up(engine)
    return engine, canary


def _open_library(settings: Settings, engine: Engine, metrics: Metrics, stack: ExitStack) -> Library:
    """The collections of the data folder, the default one among them unless it is damaged or another model's."""
    card = open_card(settings.index_device, settings.index_device_kind, settings.index_device_bytes)
    if card is not None:
        stack.callback(card.close)
    options = IndexOptions(**settings.index_options, background=True)
    library = Library(settings.data.absolute(), options, card)
    stack.callback(library.close)
    try:
        library.open_for(DEFAULT_COLLECTION, engine, create=True)
    except (ModelMismatch, StorageError) as error:  # the others can be served, and this one repaired
        log.warning("%s", error)
    metrics.watch_library(lambda: library_counts(library))
    return library


def _open_sandbox(settings: Settings) -> Sandbox:
    sandbox = Sandbox(**settings.sandbox_options)
    sandbox.warm_up()
    return sandbox


def _open_pipeline(
    settings: Settings, batcher: Batcher, limits: MediaLimits, decoder: Decoder, metrics: Metrics, stack: ExitStack
) -> Pipeline:
    pipeline = Pipeline(
        batcher,
        limits,
        frames_per_second=settings.frames_per_second,
        max_query_seconds=settings.max_query_seconds,
        max_requests=settings.max_queue,
        decoder=decoder,
        verify_budget_seconds=settings.verify_budget_seconds,
        on_done=lambda context: record_context(metrics, context),
    )
    stack.callback(pipeline.close)
    metrics.watch("vicmae_pipeline_requests", "Requests decoding or waiting", lambda: pipeline.active)
    metrics.watch("vicmae_pipeline_requests_limit", "The most at once (max_queue)", lambda: pipeline.max_requests)
    metrics.watch("vicmae_engine_queue_requests", "Requests that wait for the engine", lambda: batcher.waiting)
    return pipeline


def fetch_limits(settings: Settings) -> FetchLimits:
    return FetchLimits(
        hosts_of(settings.fetch_hosts),
        hosts_of(settings.fetch_private_hosts),
        settings.max_fetch_bytes,
        settings.max_fetch_seconds,
    )


def record_context(metrics: Metrics, context: RequestContext) -> None:
    """The stages of a request that ended, as metrics and as attributes of its span."""
    metrics.record_stages(context.timing)
    trace.get_current_span().set_attributes({f"vicmae.{stage}": spent for stage, spent in context.timing.items()})


def warm_up(engine: Engine) -> None:
    """One blank picture through the engine: a broken engine shows here, not at the first request."""
    size = engine.spec.size
    engine.embed(np.zeros((1, size, size, 3), np.uint8))


@contextmanager
def _data_folder_lock(data: Path) -> Iterator[None]:
    """Holds DATA/server.lock; Conflict while another server holds it. A kill frees it at once."""
    with ExitStack() as stack:
        try:
            data.mkdir(parents=True, exist_ok=True)
            is_ours = stack.enter_context(file_lock(data / "server.lock", wait=False))
        except OSError as error:
            raise StorageError(
                f"The data folder {data} cannot be used: {error.strerror}. Choose another --data."
            ) from error
        if not is_ours:
            raise Conflict(f"Another vicmae server already serves {data}. Stop it, or choose another --data folder.")
        yield


def _empty_folder(folder: Path) -> Path:
    """`folder`, there and empty: whatever a killed server left in it was never acknowledged."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be used: {error.strerror}.") from error
    return folder
