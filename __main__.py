"""The command line `vicmae VERB`. Each package owns its verbs; here they are gathered, and errors become sentences."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from .errors import VicmaeError
from .export import cli as export_verbs
from .index import cli as index_verbs
from .server import cli as server_verbs
from .terminal import FAILED, say
from .training import cli as training_verbs

app = typer.Typer(
    name="vicmae",
    help="Find where a picture or a clip was seen: index folders of photos and videos, search them, serve them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verbs in (server_verbs, index_verbs, export_verbs, training_verbs):
    verbs.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vicmae {version('vicmae')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before the verb."""


def main() -> None:
    """Runs one verb. Exit 0 ok, 1 failed, 2 usage, 3 partly failed; never a traceback for a foreseen error."""
    try:
        app()
    except VicmaeError as error:
        say(f"error: {error}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        say("stopped.")
        sys.exit(130)


if __name__ == "__main__":
    main()
