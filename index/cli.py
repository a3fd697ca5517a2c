"""The verbs of this room, each from its file cli_*.py beside."""

import typer

from . import cli_collections, cli_snapshot
from .cli_duplicates import duplicates
from .cli_explain import explain
from .cli_index import index
from .cli_reembed import reembed
from .cli_search import search


def register(app: typer.Typer) -> None:
    """Adds the verbs of this room."""
    app.command("index")(index)
    app.command("search")(search)
    app.command("explain")(explain)
    app.command("duplicates")(duplicates)
    app.command("reembed")(reembed)
    cli_snapshot.register(app)
    cli_collections.register(app)
