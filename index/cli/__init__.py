"""The verbs of the command line that concern collections, one file a verb. Words and exit codes only."""

import typer

from . import calibrate, collections, duplicates, explain, index, reembed, search, snapshot


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command("index")(index.index)
    app.command("search")(search.search)
    app.command("explain")(explain.explain)
    app.command("duplicates")(duplicates.duplicates)
    app.command("reembed")(reembed.reembed)
    app.command("calibrate")(calibrate.calibrate)
    snapshot.register(app)
    collections.register(app)
