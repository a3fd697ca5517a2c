"""One request's work answered as server-sent events while it runs. Knows no routes.

What goes wrong before the first event is answered as any other problem; later it comes as the event `error`, whose
data is that problem.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect, Request

from ..errors import VicmaeError
from .problems import of_validation, problem_of, respond, unexpected

log = logging.getLogger("vicmae.server")

EVENTS = "text/event-stream"
Send = Callable[[str, str], None]  # name of the event, data; from any thread


def wants_events(request: Request) -> bool:
    return EVENTS in request.headers.get("accept", "").lower()


async def stream(
    request: Request, work: Callable[[Send], Awaitable[tuple[str, str]]], needed: AsyncExitStack
) -> StreamingResponse:
    """What work(send) sends, and as the last event what it returns. `needed` is closed when all is over."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()

    def send(name: str, data: str) -> None:
        loop.call_soon_threadsafe(events.put_nowait, (name, data))

    async def run() -> tuple[str, str]:
        try:
            return await work(send)
        finally:
            loop.call_soon(events.put_nowait, None)

    task = asyncio.ensure_future(run())
    try:
        first = await events.get()
        if first is None:
            await task  # raises what went wrong, if anything did
    except BaseException:
        task.cancel()
        await needed.aclose()
        raise

    async def body() -> AsyncIterator[bytes]:
        try:
            event = first
            while event is not None:
                yield format_sse_event(event=event[0], data_str=event[1])
                event = await events.get()
            name, data = await _last(task, request)
            yield format_sse_event(event=name, data_str=data)
        finally:
            task.cancel()
            await needed.aclose()

    return StreamingResponse(body(), media_type=EVENTS, headers={"cache-control": "no-store"})


async def _last(task: "asyncio.Future[tuple[str, str]]", request: Request) -> tuple[str, str]:
    try:
        return await task
    except ClientDisconnect:
        raise
    except VicmaeError as error:
        problem = problem_of(error)
    except RequestValidationError as error:
        problem = of_validation(error)
    except Exception:
        request_id = str(request.scope.get("state", {}).get("request_id"))
        log.exception("a search that was answered as events")
        problem = unexpected(request_id)
    return "error", bytes(respond(problem, request.scope).body).decode()
