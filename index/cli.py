"""The verbs of this room: `vicmae index`, `search` and `collections`, and beside it `explain`, `duplicates`, `reembed`,
`snapshot` and `verify`.

Words and exit codes only.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ..errors import NotFound
from ..settings import load_settings
from ..terminal import (
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
from . import cli_snapshot
from .cli_common import limits_of, sandbox_of
from .cli_duplicates import duplicates
from .cli_explain import explain
from .cli_reembed import reembed

if TYPE_CHECKING:  # FAISS, PyAV and ONNX Runtime load only when a verb runs, so that --help is quick
    from .collection import Collection
    from .ingest import FileProgress, Outcome
    from .report import Report
    from .scan import Walk


NAME_WIDTH = 32  # of a file name beside the progress bar


def register(app: typer.Typer) -> None:
    """Adds the verbs of this room."""
    app.command("index")(index)
    app.command("search")(search)
    app.command("explain")(explain)
    app.command("duplicates")(duplicates)
    app.command("reembed")(reembed)
    cli_snapshot.register(app)
    collections = typer.Typer(
        help="List the collections, give them other names, or drop one.", invoke_without_command=True
    )
    collections.callback()(list_collections)
    collections.command("drop")(drop_collection)
    collections.command("alias")(set_alias)
    collections.command("unalias")(drop_alias)
    collections.command("export")(export_collection)
    collections.command("import")(import_collection)
    app.add_typer(collections, name="collections")


def index(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files and folders; - reads a list on stdin.")],
    collection: CollectionOption = "default",
    fps: Annotated[float | None, typer.Option(help="Frames embedded per second of video \\[default: 2].")] = None,
    sampling: SamplingOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try files again that failed before.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove items whose files are gone from PATH.")] = False,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take pictures and videos into a collection. Only new and changed files are read.

    Exit 0: every file is in. 3: some could not be read, each with its reason. 1: none could or was there.
    """
    from ..export.choice import open_engine
    from .ingest import ingest_many
    from .ledger import read_ledger
    from .library import Library
    from .plan import IndexOptions
    from .report import Report
    from .scan import plan, walk

    settings = load_settings(data=data, bundle=bundle, frames_per_second=fps, sampling=sampling)
    found = walk(_listed(paths))
    if not found.files and not (found.roots and prune):
        raise NotFound(_nothing_in(found))
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data, IndexOptions(**settings.index_options)) as library,
        sandbox_of(settings) as decoder,
    ):
        opened = library.open_for(collection, engine, create=bool(found.files))
        rate = settings.frames_per_second
        planned = plan(found.files, read_ledger(opened.catalog), rate, found.roots, retry, settings.sampling)
        report = Report.of(found, planned)
        todo = [file.path for file in planned.todo]
        try:
            if prune:
                report.removed = _prune(opened, planned.gone)
            with _bar(len(todo)) as (on_outcome, on_progress):
                run = ingest_many(
                    opened,
                    engine,
                    todo,
                    frames_per_second=rate,
                    sampling=settings.sampling,
                    limits=limits_of(settings),
                    decoder=decoder,
                    on_progress=on_progress,
                )
                with closing(run):
                    for outcome in run:
                        report.count(outcome)
                        on_outcome(outcome)
            if todo:
                opened.index.seal()
        except KeyboardInterrupt:
            say("Stopped; what is counted below is safe. Run the same command again to go on.")
            _print_report(report, as_json)
            raise
    _print_report(report, as_json)
    if report.gone > report.removed:
        say(f"{report.gone - report.removed} files are gone since the last run; --prune removes their items.")
    raise typer.Exit(_exit_code(report))


def search(
    file: Annotated[Path, typer.Argument(help="A picture or a clip: where was it seen?")],
    collection: CollectionOption = "default",
    top: Annotated[int, typer.Option("--top", min=1, help="How many hits.")] = 10,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--frame", help="Look for a whole clip, or for one picture \\[default: by the file]."),
    ] = None,
    start: Annotated[float | None, typer.Option(min=0, help="Seconds at which the part to look for begins.")] = None,
    end: Annotated[float | None, typer.Option(min=0, help="Seconds at which it ends.")] = None,
    refined: Annotated[bool, typer.Option("--refine/--no-refine", help="Compare the pixels of the best hits.")] = True,
    only: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help="Only items that it lets through (docs/collections.md)."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every vector, however many there are.")] = False,
    min_recall: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the nearest vectors that must be found \\[default: 0.99]."),
    ] = None,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find where a picture or a clip was seen: best first, with the seconds at which it is shown."""
    from ..export.choice import open_engine
    from .answers import search_answer
    from .filters import read_filter
    from .library import Library
    from .plan import Effort, IndexOptions
    from .query import embed_query
    from .refine import CANDIDATES, refine
    from .refine_clip import refine_clip
    from .scope import Scope
    from .search import search_clip, search_frame
    from .tables import HIT_COLUMNS, hit_rows, table

    settings = load_settings(data=data, bundle=bundle, min_recall=min_recall)
    effort = Effort(exact)
    scope = Scope(None if only is None else read_filter(only))
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data, IndexOptions(**settings.index_options)) as library,
        sandbox_of(settings) as decoder,
    ):
        opened = library.open_for(collection, engine)
        query = embed_query(
            engine,
            file,
            target=None if clip is None else "clip" if clip else "frame",
            start_seconds=start,
            end_seconds=end,
            frames_per_second=settings.frames_per_second,
            max_query_seconds=settings.max_query_seconds,
            limits=limits_of(settings),
            decoder=decoder,
        )
        timing = {**query.timing, "queue_ms": 0.0}
        wanted = max(top, CANDIDATES) if refined else top
        with _timed(timing, "index_ms"):
            if query.target == "clip":
                hits = search_clip(
                    opened,
                    query.vectors,
                    query.seconds,
                    wanted,
                    query.informative,
                    query.mirrored,
                    query.end_seconds,
                    scope,
                    effort,
                    query.inset,
                )
            else:
                hits = search_frame(opened, query.vectors[0], wanted, scope, effort)
        with _timed(timing, "refine_ms"):
            if refined and query.target == "clip":
                hits = refine_clip(hits, file, limits_of(settings), decoder)
            elif refined and query.picture is not None:
                hits = refine(opened, hits, query.vectors[0], query.picture, limits_of(settings), decoder)
        hits = hits[:top]
        if as_json:
            print_json(search_answer(opened, hits, query.target, len(query.vectors), timing, effort=effort))
            return
    if query.target == "clip" and clip is None:
        say("Looking for the clip as it runs; --frame looks for one picture of it.")
    if hits:
        typer.echo(table([HIT_COLUMNS, *hit_rows(hits)]))
    elif only is not None:
        say("No item passes the filter.")
    else:
        say(f"The collection {collection!r} is empty: `vicmae index PATH…` fills it.")


@contextmanager
def _timed(timing: dict[str, float], station: str) -> Iterator[None]:
    """Notes the milliseconds of what runs inside."""
    began = perf_counter()
    yield
    timing[station] = round(1000 * (perf_counter() - began), 3)


def list_collections(context: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the collections."""
    from dataclasses import asdict

    from .library import Library
    from .tables import table

    if context.invoked_subcommand is not None:
        return
    with Library(load_settings(data=data).data) as library:
        known = library.list()
    if as_json:
        print_json({"data": [asdict(summary) for summary in known]})
        return
    rows = [(c.name, f"{c.items:,}", c.model, c.created_at[:10], ", ".join(c.aliases)) for c in known]
    if rows:
        aliased = any(c.aliases for c in known)
        head = ("name", "items", "model", "created", "aliases" if aliased else "")
        typer.echo(table([head, *rows]))
    else:
        say(f"There is no collection in {library.data_dir} yet: `vicmae index PATH…` makes one.")


def drop_collection(
    name: Annotated[str, typer.Argument(help="The collection to remove.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: DataOption = None,
) -> None:
    """Remove a collection, its vectors and uploads. Files indexed from folders stay where they are."""
    from .library import Library

    with Library(load_settings(data=data).data) as library:
        items = library.open(name).count()
        if not yes:
            typer.confirm(f"Remove the collection {name} with {items:,} items?", abort=True, err=True)
        library.drop(name)
    say(f"Removed {name}.")


def set_alias(
    alias: Annotated[str, typer.Argument(help="The other name.")],
    name: Annotated[str, typer.Argument(help="The collection that it shall name from now on.")],
    data: DataOption = None,
) -> None:
    """Give a collection another name, or point that name at another collection in one step."""
    from .library import Library

    with Library(load_settings(data=data).data) as library:
        library.set_alias(alias, name)
    say(f"{alias} names {name} now.")


def drop_alias(
    alias: Annotated[str, typer.Argument(help="The name to remove; its collection stays.")],
    data: DataOption = None,
) -> None:
    """Remove another name of a collection; the collection stays."""
    from .library import Library

    with Library(load_settings(data=data).data) as library:
        library.drop_alias(alias)
    say(f"{alias} names nothing any more.")


def export_collection(
    name: Annotated[str, typer.Argument(help="The collection.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.parquet or FILE.npz.")],
    data: DataOption = None,
) -> None:
    """Write a collection's vectors for other tools: a row a stored frame, with uri, seconds and metadata."""
    from .exchange import export_vectors
    from .library import Library

    with Library(load_settings(data=data).data) as library:
        items, frames = export_vectors(library.open(name), out)
    typer.echo(f"{out}: {frames:,} vectors of {items:,} items")


def import_collection(
    file: Annotated[Path, typer.Argument(help="A .parquet or .npz that `vicmae collections export` wrote.")],
    name: Annotated[str, typer.Argument(help="The new collection; it is bound to the model that the file names.")],
    data: DataOption = None,
) -> None:
    """Take exported vectors in as a new collection. Files indexed from folders are shown where they still lie."""
    from .exchange import import_vectors
    from .library import Library

    with Library(load_settings(data=data).data) as library:
        items = import_vectors(library, file, name).count()
    say(f"{name} holds {items:,} items now.")


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
    from .ledger import forget
    from .scan import is_gone, uri_path

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
