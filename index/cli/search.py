"""The verb `vicmae search`. Words and exit codes only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import InvalidRequest, NotFound
from ...settings import load_settings
from ...terminal import BundleOption, CollectionOption, DataOption, JsonOption, print_json, say
from .common import sandbox_of, search_tools

if TYPE_CHECKING:
    from ..search import Region, SearchRequest, SearchResult


def refuse_min_recall(value: float | None) -> None:
    """The option of earlier releases. Raises InvalidRequest where it is still given."""
    if value is not None:
        raise InvalidRequest(
            "--min-recall is no longer a part of a search: how far is searched is chosen when an index is built. "
            "Leave it out, or say --exact to compare every vector."
        )


def region_of(text: str) -> "Region":
    """ "0.5,0,1,1" as a region. Raises InvalidRequest."""
    from ..search import Region

    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError as error:
        raise InvalidRequest(
            f"--region {text}: expected four shares, left,top,right,bottom, such as 0.5,0,1,1 for the right half."
        ) from error
    return Region(left, top, right, bottom)


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
    region: Annotated[
        str | None,
        typer.Option(metavar="LEFT,TOP,RIGHT,BOTTOM", help="Look only for this part of the picture, shares in 0..1."),
    ] = None,
    verified: Annotated[
        bool,
        typer.Option("--verify/--no-verify", "--refine/--no-refine", help="Look at the best hits."),
    ] = True,
    only: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help="Only items that it lets through (docs/collections.md)."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every vector, however many there are.")] = False,
    min_recall: Annotated[
        float | None, typer.Option(hidden=True, callback=refuse_min_recall, help="No longer taken; said in a sentence.")
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
    from ...export.engine import open_engine
    from ..catalog import read_filter
    from ..library import Library
    from ..search import Query, SearchRequest
    from ..search import search as search_collection
    from ..vectors import IndexOptions

    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    query = Query(
        source=file,
        region=None if region is None else region_of(region),
        start_seconds=0.0 if clip is False and start is None else start,
        end_seconds=None if clip is False else end,
        target=None if clip is None else "clip" if clip else "frame",
    )
    request = SearchRequest(query, top, None if only is None else read_filter(only), verified, exact, cursor)
    settings = load_settings(data=data, bundle=bundle)
    timing: dict[str, float] = {"queue_ms": 0.0, "verify_ms": 0.0}
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data, IndexOptions(**settings.index_options)) as library,
        sandbox_of(settings) as decoder,
    ):
        opened = library.open_for(collection, engine)
        found = search_collection(opened, request, search_tools(settings, engine, decoder, timing))
    if "note" in found.plan:
        say(found.plan["note"].replace("BUNDLE", str(settings.bundle)))
    if as_json:
        print_json({**found.to_dict(), "timing": timing})
        return
    if found.target == "clip" and clip is None:
        say("Looking for the clip as it runs; --frame looks for one picture of it.")
    _show(found, request, collection)


def _show(found: "SearchResult", request: "SearchRequest", collection: str) -> None:
    """The hits as a table on stdout, or on stderr why there are none."""
    from .tables import HIT_COLUMNS, hit_rows, table

    if found.found is False:
        say("Not found: nothing that was looked at is the same. These only look alike.")
    if found.hits:
        typer.echo(table([HIT_COLUMNS, *hit_rows(found.hits)]))
    elif request.cursor is not None:
        say("There is nothing more.")
    elif request.filter is not None:
        say("No item passes the filter.")
    else:
        say(f"The collection {collection!r} is empty: `vicmae index PATH…` fills it.")
