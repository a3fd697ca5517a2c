"""The verbs `vicmae serve` and `vicmae doctor` (and `keys`, in auth/cli.py): flags and words."""

from typing import Annotated

import typer

from ..errors import InvalidRequest
from ..settings import load_settings
from ..terminal import (
    FAILED,
    BundleOption,
    DataOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    SamplingOption,
    print_json,
    say,
)
from .auth import cli as keys_cli


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(doctor)
    keys_cli.register(app)


def serve(
    data: DataOption = None,
    bundle: BundleOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on \\[default: 127.0.0.1, this machine only].")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one \\[default: 8000].")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the model; 0 uses every core \\[default: 0].")
    ] = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    sampling: SamplingOption = None,
    log_format: Annotated[
        str | None, typer.Option(help="text for people, json for machines (with a line a request) \\[default: text].")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser when ready.")] = False,
) -> None:
    """Serve the web page and the HTTP API.

    Prints the address on stdout once it is ready; Ctrl-C or SIGTERM stops it cleanly. Beyond this machine it is
    served to holders of keys only (`vicmae keys`).
    """
    from .app import is_loopback
    from .auth.keys import Keys
    from .run import run

    settings = load_settings(
        data=data,
        bundle=bundle,
        host=host,
        port=port,
        threads=threads,
        device=device,
        engine=engine,
        sampling=sampling,
        log_format=log_format,
    )
    if not (is_loopback(settings.host) or Keys(settings.data.absolute()).list()):
        raise InvalidRequest(
            f"There are no keys in {settings.data}, so the server does not listen on {settings.host}: anybody who "
            "reaches it could read, add and delete. Make one with `vicmae keys create NAME --scope admin`, or leave "
            "--host out and serve this machine only."
        )
    run(settings, open_page)


def doctor(
    data: DataOption = None,
    bundle: BundleOption = None,
    device: DeviceOption = None,
    engine: EngineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check versions, codecs, the model bundle and the data folder; exit 1 when something is broken."""
    from .doctor import examine

    settings = load_settings(data=data, bundle=bundle, device=device, engine=engine)
    report = examine(settings)
    if as_json:
        print_json(report.to_dict())
    else:
        for line in report.lines():
            typer.echo(line)
    if not report.is_well:
        say("Something needed is broken: see the lines marked with ✗.")
        raise typer.Exit(FAILED)
