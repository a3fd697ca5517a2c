"""The verbs `vicmae keys create | list | revoke`: words around keys.py."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ...settings import load_settings
from ...terminal import DataOption, JsonOption, print_json, say, stdout
from .keys import MEANINGS, SCOPES, Key, Keys

SCOPE_HELP = "; ".join(f"{scope}: {meaning}" for scope, meaning in MEANINGS.items())

keys = typer.Typer(
    no_args_is_help=True,
    help="API keys of the server: made, listed, revoked. A running server knows at once.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help=f"May be repeated \\[default: embed and search]. {SCOPE_HELP}."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second \\[default: the setting key_requests_per_second].", min=0.01)
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    From the first key on the server asks everybody for one, on this machine too.
    """
    key, text = _keys_in(data).create(name, scope or ("embed", "search"), rate)
    if as_json:
        print_json({**_shown(key), "key": text})
        return
    say(f"The key {key.id} for {key.name!r} may {', '.join(key.scopes)}. It is shown this once:")
    typer.echo(text)


@keys.command(name="list")
def list_keys(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the keys there are; the keys themselves cannot be shown again."""
    known = _keys_in(data).list()
    if as_json:
        print_json({"data": [_shown(key) for key in known]})
        return
    table = Table("id", "name", "may", "requests/s", "made", box=None)
    for key in known:
        rate = f"{key.requests_per_second:g}" if key.requests_per_second else "default"
        table.add_row(key.id, escape(key.name), ", ".join(key.scopes), rate, key.created_at)
    stdout.print(table)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `vicmae keys list` names it.")],
    data: DataOption = None,
) -> None:
    """Revoke a key: it opens nothing any more."""
    known = _keys_in(data)
    key = known.revoke(key_id)
    say(f"The key {key.id} for {key.name!r} is revoked.")
    if not known.list():
        say(f"No key is left, and keys are still asked for. Delete {known.path} to serve this machine without keys.")


def _keys_in(data: Any) -> Keys:
    return Keys(load_settings(data=data).data.absolute())


def _shown(key: Key) -> dict[str, Any]:
    row = asdict(key)
    del row["secret_sha256"]
    return {**row, "scopes": [scope for scope in SCOPES if scope in key.scopes]}
