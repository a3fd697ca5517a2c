"""The verbs `vicmae collections …`. Words and exit codes only."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import StorageError
from ...settings import load_settings
from ...terminal import OK, PARTLY, DataOption, JsonOption, print_json, progress, say
from .common import ingest_options, sandbox_of

if TYPE_CHECKING:
    from ..collection import Collection
    from ..library import Library


def register(app: typer.Typer) -> None:
    """Adds the verbs of this file."""
    collections = typer.Typer(
        help="List the collections, give them other names, or drop one.", invoke_without_command=True
    )
    collections.callback()(list_collections)
    collections.command("drop")(drop_collection)
    collections.command("alias")(set_alias)
    collections.command("unalias")(drop_alias)
    collections.command("fill-pictures")(fill_pictures)
    collections.command("export")(export_collection)
    collections.command("import")(import_collection)
    app.add_typer(collections, name="collections")


def list_collections(context: typer.Context, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the collections."""
    from ..library import Library
    from .tables import table

    if context.invoked_subcommand is not None:
        return
    with Library(load_settings(data=data).data) as library:
        opened, damaged = library.survey()
        known = []
        for each in opened:
            try:
                known.append(_summary(library, each))
            except StorageError as error:
                damaged[each.name] = str(error)
    if as_json:
        told = [{"name": name, "reason": reason} for name, reason in damaged.items()]
        print_json({"data": known, "damaged": told})
        return
    rows = [(c["name"], f"{c['items']:,}", c["model"], c["created_at"][:10], ", ".join(c["aliases"])) for c in known]
    if rows:
        aliased = any(c["aliases"] for c in known)
        head = ("name", "items", "model", "created", "aliases" if aliased else "")
        typer.echo(table([head, *rows]))
    elif not damaged:
        say(f"There is no collection in {library.data_dir} yet: `vicmae index PATH…` makes one.")

    for name, reason in damaged.items():
        say(f"{name} cannot be opened: {reason}")


def _summary(library: "Library", collection: "Collection") -> dict[str, Any]:
    """One line of the list."""
    stats = collection.stats()
    return {
        "name": collection.name,
        "model": collection.model,
        "fingerprint": collection.fingerprint,
        **{name: stats[name] for name in ("items", "picture_bytes", "without_pictures")},
        "created_at": collection.created_at,
        "aliases": library.aliases.of(collection.name),
    }


def drop_collection(
    name: Annotated[str, typer.Argument(help="The collection to remove.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: DataOption = None,
) -> None:
    """Remove a collection, its vectors and uploads. Files indexed from folders stay where they are."""
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        try:
            held = f"with {library.open(name).count():,} items"
        except StorageError as error:
            held = f"that cannot be opened ({error})"
        if not yes:
            typer.confirm(f"Remove the collection {name} {held}?", abort=True, err=True)
        library.drop(name)
    say(f"Removed {name}.")


def set_alias(
    alias: Annotated[str, typer.Argument(help="The other name.")],
    name: Annotated[str, typer.Argument(help="The collection that it shall name from now on.")],
    data: DataOption = None,
) -> None:
    """Give a collection another name, or point that name at another collection in one step."""
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        library.set_alias(alias, name)
    say(f"{alias} names {name} now.")


def drop_alias(
    alias: Annotated[str, typer.Argument(help="The name to remove; its collection stays.")],
    data: DataOption = None,
) -> None:
    """Remove another name of a collection; the collection stays."""
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        library.aliases.remove(alias)
    say(f"{alias} names nothing any more.")


def fill_pictures(
    name: Annotated[str, typer.Argument(help="The collection.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the stored pictures of items that have none, from their files: those of collections made earlier.

    Kill it whenever you like: the same command goes on. Exit 0: all have theirs. 3: some are gone, cannot be read, or
    found no room.
    """
    from ..ingest import fill_pictures as fill
    from ..library import Library

    settings = load_settings(data=data)
    with Library(settings.data) as library, sandbox_of(settings) as decoder, progress("items") as bar:
        task = bar.add_task("", total=None, rate="")
        with closing(fill(library.open(name), ingest_options(settings, decoder))) as run:
            for filled in run:
                bar.update(task, completed=filled.seen, total=filled.total)
    if as_json:
        print_json(filled.to_dict())
    else:
        typer.echo("\n".join(filled.lines()))
    raise typer.Exit(PARTLY if filled.seen > filled.done or filled.no_room else OK)


def export_collection(
    name: Annotated[str, typer.Argument(help="The collection.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.parquet or FILE.npz.")],
    data: DataOption = None,
) -> None:
    """Write a collection's vectors for other tools: a row a stored frame, with uri, seconds and metadata."""
    from ..backup import export_vectors
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        items, frames = export_vectors(library.open(name), out)
    typer.echo(f"{out}: {frames:,} vectors of {items:,} items")


def import_collection(
    file: Annotated[Path, typer.Argument(help="A .parquet or .npz that `vicmae collections export` wrote.")],
    name: Annotated[str, typer.Argument(help="The new collection; it is bound to the model that the file names.")],
    data: DataOption = None,
) -> None:
    """Take exported vectors in as a new collection. Files indexed from folders are shown where they still lie."""
    from ..backup import import_vectors
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        items = import_vectors(library, file, name).count()
    say(f"{name} holds {items:,} items now.")
