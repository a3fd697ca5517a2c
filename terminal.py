"""What all verbs share on a terminal: results on stdout, the rest on stderr, four exit codes.

Knows nothing of what the verbs do.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

OK, FAILED, USAGE, PARTLY = 0, 1, 2, 3

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder in which collections live \\[default: the user's data folder]."),
]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Model bundle to run \\[default: the shipped vicmae-lite].")
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda, cuda:N or tensorrt: where the model runs \\[default: auto]."),
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="auto, fastest, or one that vicmae doctor lists, by name \\[default: auto]."),
]
CollectionOption = Annotated[str, typer.Option("--collection", "-c", help="Name of the collection.")]
SamplingOption = Annotated[
    str | None,
    typer.Option(
        "--sampling",
        help="Frames of a video: rate, auto (rate, and the first of every shot), shots, keyframes \\[default: rate].",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

stderr = Console(stderr=True, highlight=False)
stdout = Console(highlight=False)


def evaluate_group(app: typer.Typer) -> typer.Typer:
    """The verbs `evaluate …` of the app, to which several packages add theirs; whoever asks first makes the group."""
    for group in app.registered_groups:
        if group.name == "evaluate" and group.typer_instance is not None:
            return group.typer_instance
    made = typer.Typer(
        help="Judge a model by what its vectors find, or all of vicmae by its answers.", no_args_is_help=True
    )
    app.add_typer(made, name="evaluate")
    return made


def print_json(value: Any) -> None:
    """value as indented JSON on stdout, never coloured or wrapped."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(message: str) -> None:
    """A line for the person at the terminal, on stderr; markup characters in it stay as they are."""
    stderr.print(message, markup=False, soft_wrap=True)


def progress(unit: str) -> Progress:
    """A progress bar on stderr with count, rate and time left; silent when stderr is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
        transient=False,
    )
