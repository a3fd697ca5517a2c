"""`vicmae index`: files into a collection, once or for as long as they change. Words and exit codes only."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ...errors import NotFound
from ...settings import Settings, load_settings
from ...terminal import (
    FAILED,
    OK,
    PARTLY,
    BundleOption,
    CollectionOption,
    DataOption,
    JsonOption,
    SamplingOption,
    print_json,
    progress,
    say,
)
from .common import limits_of, sandbox_of

if TYPE_CHECKING:  # FAISS, PyAV and ONNX Runtime load only when a verb runs, so that --help is quick
    from ...export.engine import Engine
    from ...media.sandbox import Sandbox
    from ..collection import Collection
    from ..ingest.pipeline import FileProgress, Outcome
    from ..ingest.report import Report
    from ..ingest.scan import Plan, Walk
    from ..ingest.watch import Turns

NAME_WIDTH = 32  # of a file name beside the progress bar


@dataclass(frozen=True)
class Intake:
    """What takes files in, and how."""

    collection: "Collection"
    engine: "Engine"
    decoder: "Sandbox"
    settings: Settings
    prune: bool
    as_json: bool


def index(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders; - reads a list on stdin.")],
    collection: CollectionOption = "default",
    fps: Annotated[float | None, typer.Option(help="Frames embedded per second of video \\[default: 2].")] = None,
    sampling: SamplingOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try files again that failed before.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove items whose files are gone from PATH.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C: take in what is added or changed, when it is.")
    ] = False,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take pictures and videos into a collection. Only new and changed files are read.

    Exit 0: every file is in. 3: some could not be read, each with its reason. 1: none could or was there.
    """
    from ...export.choice import open_engine
    from ..ingest.report import Report
    from ..ingest.scan import walk
    from ..ingest.watch import watched
    from ..library import Library
    from ..vectors.plan import IndexOptions

    settings = load_settings(data=data, bundle=bundle, frames_per_second=fps, sampling=sampling)
    found = walk(_listed(paths))
    if not found.files and not (found.roots and (prune or watch)):
        raise NotFound(_nothing_in(found))
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data, IndexOptions(**settings.index_options)) as library,
        sandbox_of(settings) as decoder,
        watched(found.roots, settings.data) if watch else nullcontext() as turns,
    ):
        opened = library.open_for(collection, engine, create=bool(found.files) or watch)
        intake = Intake(opened, engine, decoder, settings, prune, as_json)
        planned = _planned(intake, found, retry)
        report = Report.of(found, planned)
        _take_in(intake, planned, report)
        if report.gone > report.removed:
            say(f"{report.gone - report.removed} files are gone since the last run; --prune removes their items.")
        failed = turns is not None and _go_on(intake, found.roots, turns)
    if turns is not None:
        raise typer.Exit(PARTLY if failed or report.failed else OK)
    raise typer.Exit(_exit_code(report))


def _planned(intake: Intake, found: "Walk", retry: bool = False) -> "Plan":
    from ..catalog.ledger import read_ledger
    from ..ingest.scan import plan

    ledger, settings = read_ledger(intake.collection.catalog), intake.settings
    return plan(found.files, ledger, settings.frames_per_second, found.roots, retry, settings.sampling)


def _take_in(intake: Intake, planned: "Plan", report: "Report") -> None:
    """Does what is planned, counts it in the report, and prints that, also when it is interrupted."""
    from ..ingest.pipeline import ingest_many

    settings, todo = intake.settings, [file.path for file in planned.todo]
    try:
        if intake.prune:
            report.removed = _prune(intake.collection, planned.gone)
        with _bar(len(todo)) as (on_outcome, on_progress):
            run = ingest_many(
                intake.collection,
                intake.engine,
                todo,
                frames_per_second=settings.frames_per_second,
                sampling=settings.sampling,
                limits=limits_of(settings),
                decoder=intake.decoder,
                on_progress=on_progress,
            )
            with closing(run):
                for outcome in run:
                    report.count(outcome)
                    on_outcome(outcome)
        if todo:
            intake.collection.index.seal()
    except KeyboardInterrupt:
        say("Stopped; what is counted below is safe. Run the same command again to go on.")
        raise
    finally:
        _print_report(report, intake.as_json)


def _go_on(intake: Intake, roots: Sequence[Path], turns: "Turns") -> bool:
    """Takes in what changes below the roots until Ctrl-C. Whether any of it could not be read."""
    from ..ingest.report import Report
    from ..ingest.scan import walk
    from ..ingest.watch import is_being_written

    say("Watching for changes. Ctrl-C ends it.")
    failed, told, soon = False, False, True  # soon: what changed before the watching began is found at the first turn
    try:
        while True:
            turns.wait(soon)
            if turns.untold is not None and not told:
                say(f"Changes are not told here ({turns.untold}); the folders are walked every minute instead.")
                told = True
            planned = _planned(intake, walk(roots))
            whole = [file for file in planned.todo if not is_being_written(file)]
            soon = len(whole) < len(planned.todo)
            if whole or (intake.prune and planned.gone):
                report = Report(unchanged=len(planned.unchanged), gone=len(planned.gone))
                _take_in(intake, replace(planned, todo=whole), report)
                failed = failed or bool(report.failed)
    except KeyboardInterrupt:
        return failed


def _listed(paths: Sequence[Path]) -> list[Path]:
    """The paths, with the list on stdin in the place of -: one a line, or separated by NUL bytes."""
    listed: list[Path] = []
    for path in paths:
        if str(path) != "-":
            listed.append(path)
            continue
        text = sys.stdin.buffer.read()
        lines = text.split(b"\0" if b"\0" in text else b"\n")
        listed += [Path(os.fsdecode(line)) for line in lines if line.strip()]
    return listed


def _nothing_in(found: "Walk") -> str:
    looked = "; ".join([f"{path}: no picture and no video" for path in found.roots])
    missing = "; ".join(f"{path}: {reason.rstrip('.')}" for path, reason in found.unseen)
    told = "; ".join(filter(None, (looked, missing)))
    return f"Nothing to index. {told}." if told else "The list on stdin is empty: expected one path a line."


def _prune(collection: "Collection", uris: list[str]) -> int:
    """Removes what the catalog knows of files that are surely gone; returns how many."""
    from ..catalog.ledger import forget
    from ..ingest.scan import is_gone, uri_path

    gone = [uri for uri in uris if is_gone(uri_path(uri))]
    for uri in gone:
        item = collection.find_by_uri(uri)
        if item is not None:
            collection.delete(item.id)
    forget(collection.catalog, gone)
    return len(gone)


@contextmanager
def _bar(files: int) -> "Iterator[tuple[Callable[[Outcome], None], FileProgress]]":
    """A progress bar over files, with the name of the one at work and how far it is."""
    began = perf_counter()
    done = 0
    with progress("files") as bar:
        task = bar.add_task("", total=files, rate="")

        def on_outcome(outcome: "Outcome") -> None:
            nonlocal done
            done += 1
            rate = done / max(perf_counter() - began, 1e-3)
            bar.update(task, completed=done, description=_shortened(outcome.path), rate=f"{rate:.1f}/s")

        def on_progress(path: Path, frames: int, expected: int) -> None:
            bar.update(task, description=f"{_shortened(path)} {frames / max(expected, 1):4.0%}")

        yield on_outcome, on_progress


def _shortened(path: Path) -> str:
    name = os.fsencode(path.name).decode("utf-8", "replace")
    return escape(name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…")


def _exit_code(report: "Report") -> int:
    if report.good == 0 and report.removed == 0:
        return FAILED
    return PARTLY if report.failed else OK


def _print_report(report: "Report", as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo("\n".join(report.lines()))
