"""Folders into a collection: scan -> read -> embed -> write. The one flow of `vicmae index` and of scan jobs."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

from ...export.engine import Engine
from ..catalog import forget, read_ledger
from ..collection import Collection
from ..paths import is_gone, uri_path
from .options import IngestOptions
from .pipeline import FileProgress, ingest_many
from .report import Report
from .scan import Walk, plan
from .watch import is_being_written
from .write import Outcome


@dataclass(frozen=True)
class Step:
    """How far a run is: `done` of `total` files, the last of which had that outcome (None: before the first).

    report   grows with every step
    waiting  files that are still being written, and are left for the next run
    """

    report: Report
    done: int
    total: int
    waiting: int = 0
    outcome: Outcome | None = None


def index_folder(
    collection: Collection,
    engine: Engine,
    found: Walk,
    options: IngestOptions,
    *,
    retry: bool = False,
    prune: bool = False,
    watching: bool = False,
    on_progress: FileProgress | None = None,
) -> Generator[Step, None, None]:
    """Ingests the new and changed files of a walk; gives a Step before the first of them and after each.

    retry     also files that failed before and have not changed
    prune     items of files that are surely gone below the walk's roots are removed
    watching  a run of many: files still being written wait, and failures of earlier runs are not reported again
    Closing the generator stops the work; what was done is on disk.
    """
    ledger = read_ledger(collection.catalog)
    planned = plan(found.files, ledger, options.frames_per_second, found.roots, retry, options.sampling)
    todo = [file for file in planned.todo if not (watching and is_being_written(file))]
    report = Report(unchanged=len(planned.unchanged), gone=len(planned.gone))
    if not watching:
        collection.pictures.sweep()
        report.add_known_failures(found, planned)
        report.passed_over = dict(found.passed_over)
    if prune:
        report.removed = _prune(collection, planned.gone)
    step = Step(report, 0, len(todo), len(planned.todo) - len(todo))
    yield step
    run = ingest_many(collection, engine, [file.path for file in todo], options, on_progress)
    with closing(run):
        for done, outcome in enumerate(run, 1):
            report.count(outcome)
            yield replace(step, done=done, outcome=outcome)


def _prune(collection: Collection, uris: list[str]) -> int:
    """Removes what the catalog knows of files that are surely gone; returns how many."""
    gone = [uri for uri in uris if is_gone(uri_path(uri))]
    for uri in gone:
        item = collection.find_by_uri(uri)
        if item is not None:
            collection.delete(item.id)
    forget(collection.catalog, gone)
    return len(gone)
