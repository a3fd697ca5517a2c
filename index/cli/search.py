"""The verb `vicmae search`. Words and exit codes only."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from ...errors import NotFound
from ...settings import load_settings
from ...terminal import BundleOption, CollectionOption, DataOption, JsonOption, print_json, say
from .common import limits_of, sandbox_of


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
    cursor: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Go on after that page: next_cursor of the same search in --json."),
    ] = None,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find where a picture or a clip was seen: best first, with the seconds at which it is shown."""
    from ...export.choice import open_engine
    from ..catalog.filters import read_filter
    from ..library import Library
    from ..search.answers import search_answer
    from ..search.cursor import Scope, question, read_cursor, view_now, write_cursor
    from ..search.query import embed_query
    from ..search.rerank import CANDIDATES, refine
    from ..search.rerank_clip import refine_clip
    from ..search.search import search_clip, search_frame
    from ..vectors.plan import Effort, IndexOptions
    from .tables import HIT_COLUMNS, hit_rows, table

    settings = load_settings(data=data, bundle=bundle, min_recall=min_recall)
    effort = Effort(exact)
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data, IndexOptions(**settings.index_options)) as library,
        sandbox_of(settings) as decoder,
    ):
        opened = library.open_for(collection, engine)
        with file.open("rb") as held:
            digest = hashlib.file_digest(held, "sha256").hexdigest()
        asked = question(digest, clip, start, end, refined, only, exact, min_recall)
        view = view_now(opened) if cursor is None else read_cursor(opened, cursor, asked)
        scope = Scope(None if only is None else read_filter(only), None if cursor is None else view)
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
        wanted = top + 1  # one more tells whether there is another page
        looked = max(wanted, CANDIDATES) if refined else wanted
        with _timed(timing, "index_ms"):
            if query.target == "clip":
                hits = search_clip(
                    opened,
                    query.vectors,
                    query.seconds,
                    looked,
                    query.informative,
                    query.mirrored,
                    query.end_seconds,
                    scope,
                    effort,
                    query.inset,
                )
            else:
                hits = search_frame(opened, query.vectors[0], looked, scope, effort)
        with _timed(timing, "refine_ms"):
            if refined and query.target == "clip":
                hits = refine_clip(hits, file, limits_of(settings), decoder)
            elif refined and query.picture is not None:
                hits = refine(opened, hits, query.vectors[0], query.picture, limits_of(settings), decoder)
        page, rest = hits[:top], hits[top:]
        following = write_cursor(opened, view, [hit.item.id for hit in page], asked) if rest else None
        if as_json:
            print_json(search_answer(opened, page, query.target, len(query.vectors), timing, following, effort))
            return
    if query.target == "clip" and clip is None:
        say("Looking for the clip as it runs; --frame looks for one picture of it.")
    if page:
        typer.echo(table([HIT_COLUMNS, *hit_rows(page)]))
    elif cursor is not None:
        say("There is nothing more.")
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
