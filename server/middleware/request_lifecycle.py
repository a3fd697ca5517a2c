"""The outermost middleware: request ids, safe headers, metrics and access log, and a 500 for unexpected errors.

Knows HTTP; knows no routes, media or collections.
"""

import logging
import uuid
from collections.abc import Callable
from time import perf_counter

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..observability.logs import ACCESS, REQUEST
from ..observability.tracing import span_of
from ..problems import respond, unexpected

log = logging.getLogger("vicmae.server")
access_log = logging.getLogger(ACCESS)

CLIENT_CLOSED_REQUEST = 499  # what is counted for a client who disconnected before the answer
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_HEADERS = (  # given to every answer that does not say otherwise
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


class RequestLifecycle:
    """Gives each request its ids, each answer the safe headers, and makes unexpected errors a 500 problem.

    record  is called with method, route, status and seconds of each answer
    """

    def __init__(self, app: ASGIApp, record: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, began, status = uuid.uuid4().hex, perf_counter(), 0
        span = span_of(Headers(scope=scope).get("traceparent"))
        scope.setdefault("state", {})["request_id"] = request_id
        token = REQUEST.set({"request_id": request_id, "trace_id": span.trace_id})

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                ids = ((b"x-request-id", request_id.encode()), (b"traceparent", span.traceparent.encode()))
                safe = (pair for pair in SAFE_HEADERS if pair[0] not in present)
                inner = scope["state"].get("headers", ())  # by a middleware further in
                message["headers"] = [*message["headers"], *ids, *inner, *safe]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.info("%s %s: the client disconnected (request %s)", scope["method"], scope["path"], request_id)
        except Exception:
            # Broad on purpose: an unexpected error is logged whole, and answered without leaking anything.
            log.exception("%s %s failed (request %s)", scope["method"], scope["path"], request_id)
            if status:
                raise
            await respond(unexpected(request_id), scope)(scope, receive, send_with_headers)
        finally:
            self._record(scope, status or CLIENT_CLOSED_REQUEST, perf_counter() - began)
            REQUEST.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.record(method, route, status, seconds)
        fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 1)}
        key_id = scope.get("state", {}).get("key_id")
        access_log.info(
            "%(method)s %(path)s %(status)s", fields, extra={**fields, **({"key": key_id} if key_id else {})}
        )


def route_of(scope: Scope) -> str:
    """The pattern that a request's path fits, for counting: never the path itself."""
    template = scope.get("path_template") or getattr(scope.get("route"), "path", None)
    return str(template) if template else "other"
