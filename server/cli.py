"""The verbs `vicmae serve` and `vicmae doctor`: flags and words. The work is in run.py and doctor.py."""

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


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(doctor)


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
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser when ready.")] = False,
    allow_unauthenticated: Annotated[
        bool,
        typer.Option(
            "--allow-unauthenticated",
            help="Listen beyond this machine although whoever reaches the port can read, add and delete.",
        ),
    ] = False,
) -> None:
    """Serve the web page and the HTTP API.

    Prints the address on stdout once it is ready; Ctrl-C or SIGTERM stops it cleanly.
    """
    from .app import is_loopback
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
    )
    if not (is_loopback(settings.host) or allow_unauthenticated):
        raise InvalidRequest(
            f"The server has no keys, so it does not listen on {settings.host}: anybody who reaches it could "
            "read, add and delete. Leave --host out, put a proxy that checks its users in front, or say "
            "--allow-unauthenticated."
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
