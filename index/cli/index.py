"""`vicmae index`: files into a collection, once or for as long as they change. Words and exit codes only."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ...errors import NotFound
from ...settings import load_settings
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
from ..paths import printable
from .common import ingest_options, sandbox_of

if TYPE_CHECKING:  # FAISS, PyAV and ONNX Runtime load only when a verb runs, so that --help is quick
    from ...export.engine import Engine
    from ..collection import Collection
    from ..ingest import Changes, FileProgress, IngestOptions, Report, Step, Walk

NAME_WIDTH = 32  # of a file name beside the progress bar


@dataclass(frozen=True)
class Command:
    """What was asked for, and what carries it out."""

    collection: "Collection"
    engine: "Engine"
    options: "IngestOptions"
    retry: bool
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
    from ...export.engine import open_engine
    from ..ingest import walk, watched
    from ..library import Library
    from ..vectors import IndexOptions

    settings = load_settings(data=data, bundle=bundle, frames_per_second=fps, sampling=sampling)
    found = walk(_listed(paths))
    if not found.files and not (found.roots and (prune or watch)):
        raise NotFound(_nothing_in(found))
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data, IndexOptions(**settings.index_options)) as library,
        sandbox_of(settings) as decoder,
        watched(found.roots, settings.data) if watch else nullcontext() as changes,
    ):
        opened = library.open_for(collection, engine, create=bool(found.files) or watch)
        command = Command(opened, engine, ingest_options(settings, decoder), retry, prune, as_json)
        report = _run(command, found).report
        if report.gone > report.removed:
            say(f"{report.gone - report.removed} files are gone since the last run; --prune removes their items.")
        failed = changes is not None and _watch(command, found.roots, changes)
    if changes is not None:
        raise typer.Exit(PARTLY if failed or report.failed else OK)
    raise typer.Exit(_exit_code(report))


def _run(command: Command, found: "Walk", watching: bool = False) -> "Step":
    """Ingests what is new, and prints the report, also when it is interrupted; the last step of it."""
    from ..ingest import index_folder

    step: Step | None = None
    try:
        with _bar() as (on_step, on_progress):
            steps = index_folder(
                command.collection,
                command.engine,
                found,
                command.options,
                retry=command.retry and not watching,
                prune=command.prune,
                watching=watching,
                on_progress=on_progress,
            )
            with closing(steps):
                for step in steps:
                    on_step(step)
        assert step is not None  # a run has a step before its first file
        if step.total:
            command.collection.index.seal()
        return step
    except KeyboardInterrupt:
        say("Stopped; what is counted below is safe. Run the same command again to go on.")
        raise
    finally:
        if step is not None and (not watching or step.total or step.report.removed):
            if command.as_json:
                print_json(step.report.to_dict())
            else:
                typer.echo("\n".join(step.report.lines()))


def _watch(command: Command, roots: Sequence[Path], changes: "Changes") -> bool:
    """Takes in what changes below the roots until Ctrl-C. Whether any of it could not be read."""
    from ..ingest import walk

    say("Watching for changes. Ctrl-C ends it.")
    failed, told, soon = False, False, True  # soon: what changed before the watching began is found at the first turn
    try:
        while True:
            changes.wait(soon)
            if changes.untold is not None and not told:
                say(f"Changes are not told here ({changes.untold}); the folders are walked every minute instead.")
                told = True
            step = _run(command, walk(roots), watching=True)
            soon = step.waiting > 0
            failed = failed or bool(step.report.failed)
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
    from ..ingest import passed_over

    looked = "; ".join([f"{path}: no picture and no video" for path in found.roots])
    missing = "; ".join(f"{path}: {reason.rstrip('.')}" for path, reason in found.unseen)
    told = "; ".join(filter(None, (looked, missing)))
    if found.passed_over:
        told += f". {passed_over(found.passed_over).rstrip('.')}"
    return f"Nothing to index. {told}." if told else "The list on stdin is empty: expected one path a line."


@contextmanager
def _bar() -> "Iterator[tuple[Callable[[Step], None], FileProgress]]":
    """A progress bar over files, with the name of the one at work and how far it is."""
    began = perf_counter()
    with progress("files") as bar:
        task = bar.add_task("", total=None, rate="", visible=False)

        def on_step(step: "Step") -> None:
            rate = step.done / max(perf_counter() - began, 1e-3)
            name = _shortened(step.outcome.path) if step.outcome else ""
            bar.update(
                task,
                completed=step.done,
                total=step.total,
                description=name,
                rate=f"{rate:.1f}/s",
                visible=step.total > 0,
            )

        def on_progress(path: Path, frames: int, expected: int) -> None:
            bar.update(task, description=f"{_shortened(path)} {frames / max(expected, 1):4.0%}")

        yield on_step, on_progress


def _shortened(path: Path) -> str:
    name = printable(Path(path.name))
    return escape(name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 1] + "…")


def _exit_code(report: "Report") -> int:
    if report.good == 0 and report.removed == 0:
        return FAILED
    return PARTLY if report.failed else OK
