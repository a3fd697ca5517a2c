"""What each kind of job does. A handler reports progress as it goes, and ends its run or raises."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ...export.engine import Engine
from ...index.duplicates import find_duplicates, report_dict
from ...index.ingest import (
    IngestOptions,
    Task,
    fill_pictures,
    index_folder,
    ingest_file,
    passed_over,
    reembed,
    switch,
    walk,
)
from ...index.library import Library
from ...index.paths import printable
from ...index.search import Tools
from ..media_input.library_roots import is_inside
from ..uploads.files import upload_uri
from .job_run import JobRun
from .kinds import DUPLICATES, FILL_PICTURES, INGEST, REEMBED, SCAN

MAX_NAMED = 5  # of the files that a scan could not read, or not as a whole


@dataclass(frozen=True)
class JobContext:
    """What handlers work with. options: how files are read, where a job does not say."""

    library: Library
    engine: Engine
    options: IngestOptions
    library_roots: tuple[Path, ...] = ()


def ingest_upload(context: JobContext, run: JobRun) -> None:
    """Makes an item of an uploaded video."""
    payload = run.job.payload
    file = str(payload["file"])
    outcome = ingest_file(
        run.collection,
        context.engine,
        Task.of(
            run.collection.uploads / file,
            uri=upload_uri(file),
            name=str(payload["name"]),
            item_id=run.job.item_id,
            metadata=payload["metadata"],
            replaces=payload.get("replaces", True),
        ),
        replace(context.options, sampling=payload.get("sampling") or context.options.sampling),
        on_progress=lambda done, total: run.report("embed", done, total),
    )
    if outcome.state == "failed":
        run.fail(outcome.reason or "The video cannot be read.", outcome.stage)
    else:
        run.succeed(outcome.frames, outcome.frames, note=outcome.note)


def search_duplicates(context: JobContext, run: JobRun) -> None:
    """Looks for duplicates in the whole collection; the result is their report."""
    calibration = context.engine.calibration_of(run.collection.fingerprint)
    tools = Tools(limits=context.options.limits, decoder=context.options.decoder, calibration=calibration)
    found = find_duplicates(run.collection, tools, run.report)
    run.succeed(found.compared, found.compared, report_dict(run.collection.name, found))


def reembed_collection(context: JobContext, run: JobRun) -> None:
    """Embeds another collection anew into the job's own, and switches the alias when all is there."""
    target, alias = run.collection, run.job.payload["alias"]
    source = context.library.open(str(run.job.payload["source"]))
    from_files = bool(run.job.payload.get("from_files"))
    with closing(reembed(source, target, context.engine, context.options, from_files)) as steps:
        for tally in steps:
            run.report("embed", tally.seen, tally.total)
    run.advance("switch", tally.seen, tally.total)
    if alias is not None:
        switch(context.library, target, str(alias), tally)
    result = {"source": source.name, "into": target.name, "alias": alias, **tally.to_dict()}
    run.succeed(tally.seen, tally.total, result)


def scan_folder(context: JobContext, run: JobRun) -> None:
    """Ingests what is new or changed below a path; the note names files not read, or only in part, and what is none."""
    found = walk([Path(str(run.job.payload["path"]))])
    found.files = [file for file in found.files if is_inside(context.library_roots, file.path)]
    retry = bool(run.job.payload["retry"])
    with closing(index_folder(run.collection, context.engine, found, context.options, retry=retry)) as steps:
        for step in steps:
            if step.outcome is not None:
                run.report("read", step.done, step.total)
    failed = [f"{printable(Path(failure.path.name))}: {failure.reason}" for failure in step.report.failed]
    noted = [f"{printable(Path(noted.path.name))}: {noted.note}" for noted in step.report.notes]
    told = [_failures(failed, len(found.files)), _named(noted)]
    if found.passed_over:
        told.append(passed_over(found.passed_over))
    run.succeed(step.total, step.total, note=" ".join(filter(None, told)) or None)


def fill_collection(context: JobContext, run: JobRun) -> None:
    """Makes the pictures of items that have none; the note names files that could not be read."""
    with closing(fill_pictures(run.collection, context.options)) as steps:
        for filled in steps:
            run.report("read", filled.seen, filled.total)
    gone = [f"{printable(Path(path.name))}: The file is no longer there." for path in filled.gone]
    failed = [f"{printable(Path(failure.path.name))}: {failure.reason}" for failure in filled.failed]
    full = "There is no room for more (frame_store, frame_store_max_bytes)." if filled.no_room else None
    note = " ".join(filter(None, (full, _failures(gone + failed, filled.total))))
    run.succeed(filled.seen, filled.total, note=note or None)


def _failures(failed: list[str], files: int) -> str | None:
    """A sentence on the files that could not be read; None when there are none."""
    if not failed:
        return None
    return f"{len(failed)} of {files} could not be read. {_named(failed)}"


def _named(files: list[str]) -> str:
    """The first of the sentences on files, and how many more there are."""
    more = f" … and {len(files) - MAX_NAMED} more." if len(files) > MAX_NAMED else ""
    return " ".join(files[:MAX_NAMED]) + more


HANDLERS: Mapping[str, Callable[[JobContext, JobRun], None]] = {
    INGEST: ingest_upload,
    DUPLICATES: search_duplicates,
    REEMBED: reembed_collection,
    SCAN: scan_folder,
    FILL_PICTURES: fill_collection,
}
