"""The HTTP application: its rings, its routes, what it opens while it runs. Knows no request in detail."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from ipaddress import ip_address

from anyio import to_thread
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from ..errors import Overloaded
from ..export.engine import Engine
from ..settings import Settings
from . import problems
from .auth import Guard, Rates
from .edge import BodyLimit, Edge, Room, SameOrigin
from .keys import Keys
from .metrics import Metrics
from .openapi import DescribedApp
from .routes import (
    aliases,
    align,
    collections,
    duplicates,
    embeddings,
    exchange,
    explain,
    items,
    jobs,
    reembed,
    scan,
    search,
    snapshots,
    system,
)
from .services import open_services


def create_app(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """The application over settings.data. The engine is opened from settings.bundle unless one is given.

    What cannot be opened (bundle, data folder) raises from the lifespan, before the first request.
    """

    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = open_services(settings, engine, metrics)
        app.state.services = await to_thread.run_sync(opened.__enter__)
        app.state.ready = True
        try:
            yield
        finally:
            app.state.ready = False
            await to_thread.run_sync(opened.__exit__, None, None, None)

    app = DescribedApp(
        title="vicmae",
        version=version("vicmae"),
        summary="Vectors for images and clips, and the index that finds where they were seen.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # Spans, metrics and errors go where OTEL_EXPORTER_OTLP_ENDPOINT says, when they are wanted.
        telemetry={"auto_configure": settings.open_telemetry, "operation_spans": False},
    )
    app.state.ready = False
    problems.install(app)
    app.router.routes.append(embeddings.SHORT_WAY)
    for resource in (
        system,
        embeddings,
        collections,
        aliases,
        items,
        scan,
        search,
        explain,
        align,
        duplicates,
        reembed,
        snapshots,
        exchange,
        jobs,
    ):
        app.include_router(resource.router)
    app.mount("/docs/static", StaticFiles(directory=system.DOCS), name="docs")
    app.mount("/page", StaticFiles(directory=system.PAGE), name="page")
    # Rings from the inside out: the last one added sees a request first.
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes, max_json_bytes=settings.max_json_bytes)

    def full() -> Overloaded | None:
        pipeline = app.state.services.pipeline if app.state.ready else None
        return pipeline.refusal() if pipeline is not None and pipeline.is_full else None

    app.add_middleware(Room, full=full)
    keys = Keys(settings.data.absolute())
    app.add_middleware(
        Guard,
        keys=keys,
        rates=Rates(settings.key_requests_per_second),
        open_to_all=is_loopback(settings.host),
    )
    app.add_middleware(SameOrigin, hosts=host_names(settings.host), keys=keys)
    app.add_middleware(Edge, tell=metrics.tell_request)
    return app


def host_names(host: str) -> frozenset[str] | None:
    """The names a server on this address answers to: its own on loopback, any (None) elsewhere."""
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()}) if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
