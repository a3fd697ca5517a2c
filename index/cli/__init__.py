"""The verbs of the command line that concern collections, one file a verb. Words and exit codes only."""

import typer

from ...terminal import evaluate_group
from . import calibrate, collections, duplicates, evaluate_answers, explain, index, reembed, search, snapshot


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command("index")(index.index)
    app.command("search")(search.search)
    app.command("explain")(explain.explain)
    app.command("duplicates")(duplicates.duplicates)
    app.command("reembed")(reembed.reembed)
    app.command("calibrate")(calibrate.calibrate)
    evaluate_group(app).command("answers")(evaluate_answers.answers)
    snapshot.register(app)
    collections.register(app)
