"""Runs the application in uvicorn: a socket of our own, a ready line with the true address, a clean end.

The application's lifespan runs here and not inside uvicorn, so that what cannot be opened is an error with a
sentence before anything listens.
"""

import asyncio
import contextlib
import signal
import socket
import webbrowser
from collections.abc import Iterator

import typer
import uvicorn
from fastapi import FastAPI

from ..errors import InvalidRequest
from ..export.engine import Engine
from ..settings import Settings
from .app import create_app
from .observability.logs import set_up

BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn, whose end is ours to word: a signal stops it, and is not raised again afterwards."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self.app = app

    def end(self, number: int) -> None:
        """No more connections from here on; who watches a job is let go, so that nobody waits for them."""
        self.app.state.ready = False
        self.handle_exit(number, None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.end, number)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def run(settings: Settings, open_page: bool = False, engine: Engine | None = None) -> None:
    """Serves until a signal comes. VicmaeError for a port, data folder or bundle that cannot be used."""
    set_up(settings.log_format)
    app = create_app(settings, engine)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who asks is known by the key, never by the address
        backlog=BACKLOG,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    # uvicorn's own choice of a loop: uvloop, where it is installed.
    with (
        listening_socket(settings.host, settings.port) as listener,
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        address = web_address(settings.host, listener)
        runner.run(_serve(app, _Server(config, app), listener, address, open_page))


async def _serve(app: FastAPI, server: uvicorn.Server, listener: socket.socket, address: str, open_page: bool) -> None:
    async with app.router.lifespan_context(app):
        ready = asyncio.create_task(_announce(server, address, open_page))
        await server.serve(sockets=[listener])
        ready.cancel()


async def _announce(server: uvicorn.Server, address: str, open_page: bool) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    typer.echo(f"vicmae is ready: {address}")
    if open_page:
        await asyncio.to_thread(webbrowser.open, address)


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; InvalidRequest when the address or the port is not to be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidRequest(f"The host {host!r} is no address of this machine: {error.strerror}.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise InvalidRequest(
            f"Port {port} on {host} cannot be used: {error.strerror}. "
            "Stop what uses it, or choose another with --port (0 takes any free one)."
        ) from error
    return listener


def web_address(host: str, listener: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}"
