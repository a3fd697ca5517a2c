"""The verb `vicmae evaluate answers`: the whole product asked with known truth. Words and exit codes only."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...errors import InvalidRequest
from ...settings import load_settings
from ...terminal import BundleOption, EngineOption, JsonOption, print_json, say
from .common import ingest_options, sandbox_of, search_tools, stages


def answers(
    library: Annotated[Path, typer.Argument(metavar="LIBRARY", help="Folder of photos and clips, of which is asked.")],
    distractors: Annotated[
        list[Path] | None, typer.Option(help="Folder of other pictures, indexed too; may be given again.")
    ] = None,
    queries: Annotated[
        int, typer.Option(min=2, help="Pictures asked for each edit: half of them photos, half frames of clips.")
    ] = 60,
    edits: Annotated[
        list[str] | None, typer.Option("--edit", help="Only this edit; may be given again \\[default: all 30].")
    ] = None,
    clips: Annotated[bool, typer.Option("--clips", help="Ask for parts of clips too.")] = False,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Look for duplicates too: false copies, and made ones found.")
    ] = False,
    half: Annotated[
        Literal["a", "b"] | None,
        typer.Option(help="Ask for this half of the files only: choose on a, report b \\[default: all]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw, and of the edits.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder in which the index is made, and used again \\[default: a temporary one]."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Ask a running server, which serves the --data of an earlier run, over HTTP."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the JSON, every answer in it, here.")] = None,
    bundle: BundleOption = None,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the whole product for edited pictures and clips of a library: right item, right second, how sure, how soon.

    A fifth of the photos is left out of the index: to them the right answer is that nothing is found. pHash and PDQ
    answer the same pictures. Pictures below LIBRARY/lookalikes/GROUP are different ones that look alike.
    """
    from ...export.engine import open_engine
    from ...media.edits import EDITS
    from ..answers import Bench, Wish, evaluate
    from ..library import Library
    from ..vectors import IndexOptions

    if unknown := set(edits or []) - set(EDITS):
        raise InvalidRequest(f"There is no edit {', '.join(sorted(unknown))}. Choose of: {', '.join(EDITS)}.")
    wish = Wish(queries, edits or list(EDITS), clips, duplicates, half, seed, url)
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = load_settings(data=folder, bundle=bundle, engine=engine)
        opened = stack.enter_context(open_engine(settings.bundle, **settings.engine_options))
        store = stack.enter_context(Library(settings.data, IndexOptions(**settings.index_options)))
        decoder = stack.enter_context(sandbox_of(settings))
        on_progress = stack.enter_context(stages())
        tools = search_tools(settings, opened, decoder, {})
        bench = Bench(store, opened, ingest_options(settings, decoder), tools, say, on_progress)
        result = evaluate(library, distractors or [], wish, bench)
    if out is not None:
        _write(out, result)
    del result["answers"]
    if as_json:
        print_json(result)
    else:
        _print(result)


def _write(out: Path, result: dict[str, Any]) -> None:
    from ..paths import printable

    try:
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{printable(out)} cannot be written: {error.strerror}.") from error
    say(f"Every answer is in {printable(out)}.")


def _print(result: dict[str, Any]) -> None:
    from .answer_tables import clip_rows, copy_lines, reliability_rows, still_rows
    from .tables import table

    counts = ", ".join(f"{count} {name}" for name, count in result["library"].items())
    typer.echo(f"{result['model']}, {result['engine']}: {counts}\n")
    typer.echo(table(still_rows(result)))
    if "clips" in result:
        typer.echo(f"\n{table(clip_rows(result['clips']))}")
    typer.echo(f"\n{table(reliability_rows(result['reliability']))}")
    if "duplicates" in result:
        typer.echo("\n" + "\n".join(copy_lines(result["duplicates"])))
