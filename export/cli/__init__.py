"""The verbs that make and run bundles, one file a verb. Words and exit codes only."""

import typer

from . import bench, embed, export


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command("export")(export.export)
    app.command("embed")(embed.embed)
    bench.register(app)
