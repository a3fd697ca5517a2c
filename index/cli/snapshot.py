"""The verbs `vicmae snapshot create|verify|restore` and `vicmae verify`. Words and exit codes only."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...settings import load_settings
from ...terminal import FAILED, CollectionOption, DataOption, JsonOption, print_json, say

if TYPE_CHECKING:
    from ..backup import Verdict

SnapshotArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The snapshot.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs of this file."""
    app.command("verify")(verify)
    snapshot = typer.Typer(help="Back a collection up in one file, prove it, put it back.", no_args_is_help=True)
    snapshot.command("create")(create_snapshot)
    snapshot.command("verify")(verify_snapshot)
    snapshot.command("restore")(restore_snapshot)
    app.add_typer(snapshot, name="snapshot")


def verify(collection: CollectionOption = "default", data: DataOption = None, as_json: JsonOption = False) -> None:
    """Prove that a collection's catalog, ledger, uploads and index agree. Changes nothing; exit 1 when they do not."""
    from ..backup import verify as judge
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        _tell(judge(library.open(collection)), as_json)


def create_snapshot(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, such as photos.tar.")],
    collection: CollectionOption = "default",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a collection to one file, with its uploads; a server may go on using it meanwhile."""
    from ..backup import create
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        manifest = create(library.open(collection), out)
    if as_json:
        print_json(asdict(manifest))
    else:
        typer.echo(f"{out}: {manifest.items:,} items, {manifest.frames:,} frames")


def verify_snapshot(file: SnapshotArgument, as_json: JsonOption = False) -> None:
    """Restore a snapshot beside itself and compare checksums, counts and the canaries' answers; then delete that."""
    from ..backup import verify_snapshot as judge

    _tell(judge(file)[1], as_json)


def restore_snapshot(
    file: SnapshotArgument,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Restore under this name \\[default: its own].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a collection of that name.")] = False,
    data: DataOption = None,
) -> None:
    """Put a collection back, after proving the file. The one in its place goes only by --force, and in one step."""
    from ..backup import restore
    from ..library import Library

    with Library(load_settings(data=data).data) as library:
        restored = restore(library, file, collection, force)
        say(f"{restored.name} is back, with {restored.count():,} items.")


def _tell(verdict: "Verdict", as_json: bool) -> None:
    """The verdict on stdout, and exit 1 when something is wrong."""
    if as_json:
        print_json(verdict.to_dict())
    else:
        for fault in verdict.faults:
            typer.echo(f"✗ {fault}")
        for note in verdict.notes:
            typer.echo(f"- {note}")
        if verdict.is_well:
            counted = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in verdict.counts.items())
            typer.echo(f"✓ all agree: {counted}")
    if not verdict.is_well:
        raise typer.Exit(FAILED)
