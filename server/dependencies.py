"""What FastAPI hands to routes, and running a request's work in the pipeline."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from .inference.request_context import ClientDisconnected, RequestContext
from .services import Services

T = TypeVar("T")


def get_services(request: Request) -> Services:
    """The services of the running application."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    # Asynchronous, since FastAPI would send a plain function to a thread for every request.
    return get_services(request)


ServicesDependency = Annotated[Services, Depends(_services)]


async def run_in_pipeline(services: Services, request: Request, work: Callable[[RequestContext], T]) -> T:
    """Runs work(context) in the pipeline; it ends early when the client disconnects. The body must have been read."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        return await services.pipeline.run(work, disconnected)
    except ClientDisconnected as gone:
        raise ClientDisconnect from gone
