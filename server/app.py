"""The HTTP application: its middleware, its routes, the services it opens while it runs. Knows no request in detail."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from ipaddress import ip_address

from anyio import to_thread
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from ..errors import Overloaded
from ..export.engine import Engine
from ..settings import Settings
from . import problems
from .auth.keys import Keys
from .auth.rate_limit import RateLimiter
from .middleware.admission_control import AdmissionControl
from .middleware.authentication import ApiKeyAuthentication
from .middleware.body_limit import BodyLimit
from .middleware.request_lifecycle import RequestLifecycle
from .middleware.same_origin import SameOrigin
from .observability.metrics import Metrics
from .openapi import DescribedApp
from .routes import (
    aliases,
    align,
    collections,
    duplicates,
    embeddings,
    exchange,
    explain,
    item_files,
    items,
    jobs,
    pictures,
    reembed,
    scan,
    search,
    snapshots,
    system,
)
from .services import open_services

RESOURCES = (
    system,
    embeddings,
    collections,
    aliases,
    items,
    item_files,
    pictures,
    scan,
    search,
    explain,
    align,
    duplicates,
    reembed,
    snapshots,
    exchange,
    jobs,
)


def create_app(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """The application over settings.data. The engine is opened from settings.bundle unless one is given.

    What cannot be opened (bundle, data folder) raises from the lifespan, before the first request.
    """
    metrics = Metrics()
    app = DescribedApp(
        title="vicmae",
        version=version("vicmae"),
        summary="Vectors for images and clips, and the index that finds where they were seen.",
        lifespan=_lifespan(settings, engine, metrics),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # Spans, metrics and errors go where OTEL_EXPORTER_OTLP_ENDPOINT says, when they are wanted.
        telemetry={"auto_configure": settings.open_telemetry, "operation_spans": False},
    )
    app.state.ready = False
    problems.install(app)
    _add_routes(app)
    _add_middleware(app, settings, metrics)
    return app


def _lifespan(
    settings: Settings, engine: Engine | None, metrics: Metrics
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Opens the services before the first request and closes them after the last one."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = open_services(settings, engine, metrics)
        app.state.services = await to_thread.run_sync(services.__enter__)
        app.state.ready = True
        try:
            yield
        finally:
            app.state.ready = False
            await to_thread.run_sync(services.__exit__, None, None, None)

    return lifespan


def _add_routes(app: FastAPI) -> None:
    app.router.routes.append(embeddings.UPLOAD_ROUTE)
    for resource in RESOURCES:
        app.include_router(resource.router)
    app.mount("/docs/static", StaticFiles(directory=system.DOCS), name="docs")
    app.mount("/page", StaticFiles(directory=system.PAGE), name="page")


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """From the inside out: the middleware added last sees a request first."""

    def overload() -> Overloaded | None:
        pipeline = app.state.services.pipeline if app.state.ready else None
        return pipeline.overload() if pipeline is not None and pipeline.is_full else None

    keys = Keys(settings.data.absolute())
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes, max_json_bytes=settings.max_json_bytes)
    app.add_middleware(AdmissionControl, overload=overload)
    app.add_middleware(
        ApiKeyAuthentication,
        keys=keys,
        rates=RateLimiter(settings.key_requests_per_second),
        open_to_all=is_loopback(settings.host),
    )
    app.add_middleware(SameOrigin, hosts=server_names(settings.host), keys=keys)
    app.add_middleware(RequestLifecycle, record=metrics.record_request)


def server_names(host: str) -> frozenset[str] | None:
    """The names a server on this address answers to: its own on loopback, any (None) elsewhere."""
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()}) if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
