"""The verb `vicmae reembed`. Words and exit codes only."""

from contextlib import closing
from typing import Annotated

import typer

from ...settings import load_settings
from ...terminal import OK, PARTLY, BundleOption, CollectionOption, DataOption, JsonOption, print_json, progress, say
from .common import ingest_options, sandbox_of


def reembed(
    into: Annotated[str, typer.Option("--into", help="The new collection.")],
    collection: CollectionOption = "default",
    alias: Annotated[
        str | None, typer.Option("--alias", help="The name that shall mean the new collection when it is complete.")
    ] = None,
    from_files: Annotated[
        bool, typer.Option("--from-files", help="Read the original files also where pictures are stored.")
    ] = False,
    data: DataOption = None,
    bundle: BundleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed the items of a collection anew, by another model, into a new collection beside it.

    Kill it whenever you like: the same command goes on. Exit 0: all are in. 3: some are gone or cannot be read.
    """
    from ...export.engine import open_engine
    from ..ingest import open_both, switch
    from ..ingest import reembed as embed_anew
    from ..library import Library

    settings = load_settings(data=data, bundle=bundle)
    with (
        open_engine(settings.bundle, **settings.engine_options) as engine,
        Library(settings.data) as library,
        sandbox_of(settings) as decoder,
        progress("items") as bar,
    ):
        source, target = open_both(library, collection, into, engine, alias)
        task = bar.add_task("", total=None, rate="")
        with closing(embed_anew(source, target, engine, ingest_options(settings, decoder), from_files)) as run:
            for tally in run:
                bar.update(task, completed=tally.seen, total=tally.total)
        if alias is not None:
            switch(library, target, alias, tally)
    if as_json:
        print_json({"source": source.name, "into": target.name, "alias": alias, **tally.to_dict()})
    else:
        typer.echo("\n".join(tally.lines()))
    if alias is not None:
        say(f"{alias} names {into} now. A server of another model refuses it: start it with this bundle.")
    raise typer.Exit(PARTLY if tally.gone or tally.failed else OK)
