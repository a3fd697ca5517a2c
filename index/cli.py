"""The verbs of this room: `vicmae index`, `search`, `duplicates` and `collections`. Words and exit codes only."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ..errors import InvalidRequest, NotFound
from ..settings import Settings, load_settings
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

if TYPE_CHECKING:  # FAISS, PyAV and ONNX Runtime load only when a verb runs, so that --help is quick
    from ..media.limits import MediaLimits
    from ..media.sandbox import Sandbox
    from .collection import Collection
    from .ingest import FileProgress, Outcome
    from .report import Report
    from .scan import Walk


class ReportFormat(StrEnum):
    html = "html"
    json = "json"
    csv = "csv"


NAME_WIDTH = 32  # of a file name beside the progress bar


def register(app: typer.Typer) -> None:
    """Adds the verbs of this room."""
    app.command("index")(index)
    app.command("search")(search)
    app.command("explain")(explain)
    app.command("duplicates")(duplicates)
    collections = typer.Typer(help="List the collections, or drop one.", invoke_without_command=True)
    collections.callback()(list_collections)
    collections.command("drop")(drop_collection)
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
    from .report import Report
    from .scan import plan, walk

    settings = load_settings(data=data, bundle=bundle, frames_per_second=fps, sampling=sampling)
    found = walk(_listed(paths))
    if not found.files and not (found.roots and prune):
        raise NotFound(_nothing_in(found))
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data) as library,
        _sandbox(settings) as decoder,
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
                    limits=_limits(settings),
                    decoder=decoder,
                    on_progress=on_progress,
                )
                with closing(run):
                    for outcome in run:
                        report.count(outcome)
                        on_outcome(outcome)
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
    refined: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Compare pixels around the best hits of a picture.")
    ] = True,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find where a picture or a clip was seen: best first, with the seconds at which it is shown."""
    from ..export.choice import open_engine
    from .answers import search_answer
    from .library import Library
    from .query import embed_query
    from .refine import CANDIDATES, refine
    from .search import search_clip, search_frame
    from .tables import HIT_COLUMNS, hit_rows, table

    settings = load_settings(data=data, bundle=bundle)
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data) as library,
        _sandbox(settings) as decoder,
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
            limits=_limits(settings),
            decoder=decoder,
        )
        timing = {**query.timing, "queue_ms": 0.0}
        pixels = query.picture if refined and query.target == "frame" else None
        with _timed(timing, "index_ms"):
            if query.target == "clip":
                hits = search_clip(
                    opened, query.vectors, query.seconds, top, query.informative, query.mirrored, query.end_seconds
                )
            else:
                hits = search_frame(opened, query.vectors[0], top if pixels is None else max(top, CANDIDATES))
        with _timed(timing, "refine_ms"):
            if pixels is not None:
                hits = refine(opened, hits, query.vectors[0], pixels, _limits(settings), decoder)[:top]
        if as_json:
            print_json(search_answer(opened, hits, query.target, len(query.vectors), timing))
            return
    if query.target == "clip" and clip is None:
        say("Looking for the clip as it runs; --frame looks for one picture of it.")
    if hits:
        typer.echo(table([HIT_COLUMNS, *hit_rows(hits)]))
    else:
        say(f"The collection {collection!r} is empty: `vicmae index PATH…` fills it.")


def explain(
    query: Annotated[Path, typer.Argument(help="The picture or video that was looked for.")],
    hit: Annotated[Path, typer.Argument(help="The picture or video that was found.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write, such as why.png.")],
    at: Annotated[float, typer.Option(min=0, help="Second of the query, for a video.")] = 0.0,
    hit_at: Annotated[float, typer.Option(min=0, help="Second of the hit, for a video.")] = 0.0,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw why two pictures are alike: each beside itself under a heat map of what the other one holds too."""
    from PIL import Image

    from ..export.choice import open_engine
    from .explain import SHOWN_SIDE, side_by_side
    from .explain import explain as explained

    settings = load_settings(data=data, bundle=bundle)
    if out.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp"} or not out.parent.is_dir():
        raise InvalidRequest(f"-o {out}: expected a file .png, .jpg or .webp in a folder that exists.")
    with open_engine(settings.bundle, **settings.engine_options) as engine, _sandbox(settings) as decoder:
        frames = [
            decoder.frame_at(path, seconds, _limits(settings), max(SHOWN_SIDE, 2 * engine.spec.size))
            for path, seconds in ((query, at), (hit, hit_at))
        ]
        why = explained(engine, *frames)
    try:
        Image.fromarray(side_by_side(why)).save(out)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror or error}.") from error
    if as_json:
        grids = {"query": why.query.grid.tolist(), "hit": why.hit.grid.tolist()}
        print_json({"score": why.score, **grids, "out": str(out)})
    else:
        typer.echo(f"cosine {why.score:.3f}; {out} shows where the two agree")


def duplicates(
    collection: CollectionOption = "default",
    report: Annotated[
        ReportFormat | None, typer.Option("--report", help="html (players side by side), json or csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the report to this file, not stdout.")] = None,
    dismiss: Annotated[
        tuple[str, str] | None,
        typer.Option("--dismiss", metavar="A B", help="Two files or item ids that are no duplicates; remembered."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find copies: same bytes, re-encoded, cropped, mirrored, framed by bars, or a clip that lies within a film.

    A shared intro or shared credits are told apart from duplicates. No file is changed or deleted.
    """
    from .collection import printable
    from .dismissals import dismiss as remember
    from .duplicates import find_duplicates
    from .duplicates_report import report_csv, report_dict, report_html, report_lines
    from .library import Library

    settings = load_settings(data=data)
    with Library(settings.data) as library, _sandbox(settings) as decoder:
        opened = library.open(collection)
        if dismiss is not None:
            remember(opened, *(_item_id(opened, named) for named in dismiss))
            say("Remembered: these two are no duplicates.")
            return
        with _stages() as on_progress:
            found = find_duplicates(opened, _limits(settings), decoder, on_progress)
        told = report_dict(opened, found)
    form = report or (ReportFormat.json if as_json else None)
    if form is ReportFormat.html:
        text = report_html(told, lambda item_id: found.items[item_id].path.as_uri())
    elif form is ReportFormat.csv:
        text = report_csv(told)
    elif form is ReportFormat.json:
        text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    else:
        lines = report_lines(found)
        text = "\n".join(lines) + "\n" if lines else ""
        say(f"{len(found.groups)} groups of duplicates, {len(found.shared)} pairs that share something.")
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidRequest(f"{printable(out)} cannot be written: {error.strerror}.") from error


def _item_id(collection: "Collection", named: str) -> str:
    """The id of an item, or of the item of a file."""
    from .scan import file_uri

    item = collection.find_by_uri(file_uri(Path(named))) if Path(named).exists() else None
    return named if item is None else item.id


@contextmanager
def _stages() -> "Iterator[Callable[[str, int, int], None]]":
    """A progress bar over what is being done."""
    with progress("") as bar:
        task = bar.add_task("", total=None, rate="")
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


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
    rows = [(c.name, f"{c.items:,}", c.model, c.created_at[:10]) for c in known]
    if rows:
        typer.echo(table([("name", "items", "model", "created"), *rows]))
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


def _limits(settings: Settings) -> "MediaLimits":
    from ..media.limits import MediaLimits

    return MediaLimits(
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_pixels,
        max_frames=settings.max_frames,
        max_duration_seconds=settings.max_duration_seconds,
    )


def _sandbox(settings: Settings) -> "Sandbox":
    from ..media.sandbox import Sandbox

    return Sandbox(
        settings.decode_workers,
        settings.decode_memory_bytes,
        settings.decode_timeout_seconds,
        settings.hardware_decoding == "auto",
    )
