"""What each kind of job does. A handler reports progress as it goes, and ends its run or raises."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ...export.engine import Engine
from ...index.catalog.ledger import read_ledger
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
from ..uploads.files import upload_uri
from .job_run import JobRun
from .kinds import DUPLICATES, INGEST, REEMBED, SCAN

MAX_NAMED_FAILURES = 5  # of the files that a scan could not read


@dataclass(frozen=True)
class JobContext:
    """What handlers work with. frames_per_second and sampling: of videos, where a job does not say."""

    library: Library
    engine: Engine
    limits: MediaLimits
    frames_per_second: float
    decoder: Decoder = HERE
    sampling: Sampling = "rate"
    library_roots: tuple[Path, ...] = ()


def ingest_upload(context: JobContext, run: JobRun) -> None:
    """Makes an item of an uploaded video."""
    payload = run.job.payload
    file = str(payload["file"])
    outcome = ingest_file(
        run.collection,
        context.engine,
        run.collection.uploads / file,
        uri=upload_uri(file),
        name=str(payload["name"]),
        item_id=run.job.item_id,
        metadata=payload["metadata"],
        frames_per_second=context.frames_per_second,
        sampling=payload.get("sampling") or context.sampling,
        limits=context.limits,
        decoder=context.decoder,
        on_progress=lambda done, total: run.report("embed", done, total),
    )
    if outcome.state == "failed":
        run.fail(outcome.reason or "The video cannot be read.", outcome.stage)
    else:
        run.succeed(outcome.frames, outcome.frames)


def search_duplicates(context: JobContext, run: JobRun) -> None:
    """Looks for duplicates in the whole collection; the result is their report."""
    found = find_duplicates(run.collection, context.limits, context.decoder, run.report)
    run.succeed(found.compared, found.compared, report_dict(run.collection, found))


def reembed_collection(context: JobContext, run: JobRun) -> None:
    """Embeds another collection anew into the job's own, and switches the alias when all is there."""
    target, alias = run.collection, run.job.payload["alias"]
    source = context.library.open(str(run.job.payload["source"]))
    with closing(reembed(source, target, context.engine, context.limits, context.decoder)) as steps:
        for tally in steps:
            run.report("embed", tally.seen, tally.total)
    run.advance("switch", tally.seen, tally.total)
    if alias is not None:
        switch(context.library, target, str(alias), tally)
    result = {"source": source.name, "into": target.name, "alias": alias, **tally.to_dict()}
    run.succeed(tally.seen, tally.total, result)


def scan_folder(context: JobContext, run: JobRun) -> None:
    """Ingests what is new or changed below a path; the note names files that could not be read."""
    found = walk([Path(str(run.job.payload["path"]))])
    files = [file for file in found.files if is_inside(context.library_roots, file.path)]
    ledger, retry = read_ledger(run.collection.catalog), bool(run.job.payload["retry"])
    planned = plan(files, ledger, context.frames_per_second, (), retry, context.sampling)
    failed = [f"{each}: {why}" for each, why in found.unseen]
    failed += [f"{uri_path(row.uri).name}: {row.reason}" for row in planned.failed]
    todo = [file.path for file in planned.todo]
    outcomes = ingest_many(
        run.collection,
        context.engine,
        todo,
        frames_per_second=context.frames_per_second,
        sampling=context.sampling,
        limits=context.limits,
        decoder=context.decoder,
    )
    with closing(outcomes):
        for done, outcome in enumerate(outcomes, 1):
            if outcome.state == "failed":
                failed.append(f"{outcome.path.name}: {outcome.reason}")
            run.report("read", done, len(todo))
    run.succeed(len(todo), len(todo), note=_failures(failed, len(files)))


def _failures(failed: list[str], files: int) -> str | None:
    """A sentence on the files that could not be read; None when there are none."""
    if not failed:
        return None
    more = f" … and {len(failed) - MAX_NAMED_FAILURES} more." if len(failed) > MAX_NAMED_FAILURES else ""
    return f"{len(failed)} of {files} could not be read. {' '.join(failed[:MAX_NAMED_FAILURES])}{more}"


HANDLERS: Mapping[str, Callable[[JobContext, JobRun], None]] = {
    INGEST: ingest_upload,
    DUPLICATES: search_duplicates,
    REEMBED: reembed_collection,
    SCAN: scan_folder,
}
