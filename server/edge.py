"""The outermost rings: request ids, safe headers, faults nobody foresaw, and what is refused unread.

Knows HTTP and its limits; knows no routes, media or collections.
"""

import logging
import re
import uuid
from collections.abc import Callable, Collection
from functools import lru_cache
from time import perf_counter
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Overloaded
from .keys import Keys
from .logs import ACCESS, REQUEST
from .problems import of_status, problem_of, refuse, respond, unexpected
from .tracing import span_of

log = logging.getLogger("vicmae.server")

access = logging.getLogger(ACCESS)

LEFT = 499  # what is counted for a client who left before the answer
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TRIPS = re.compile(r"/v1/embeddings(/upload)?|/v1/collections/[^/]+/(items|search|explain)")
HEADERS = (  # given to every answer that does not say otherwise
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


class Edge:
    """Gives each request its ids, each answer the safe headers, and makes unexpected errors a 500 problem.

    tell   is told method, route, status and seconds of each answer
    """

    def __init__(self, app: ASGIApp, tell: Callable[[str, str, int, float], None]) -> None:
        self.app = app
        self.tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id, began, status = uuid.uuid4().hex, perf_counter(), 0
        span = span_of(Headers(scope=scope).get("traceparent"))
        scope.setdefault("state", {})["request_id"] = request_id
        token = REQUEST.set({"request_id": request_id, "trace_id": span.trace_id})

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name for name, _ in message["headers"]}
                ids = ((b"x-request-id", request_id.encode()), (b"traceparent", span.traceparent.encode()))
                safe = (pair for pair in HEADERS if pair[0] not in there)
                told = scope["state"].get("headers", ())  # by a ring further in
                message["headers"] = [*message["headers"], *ids, *told, *safe]
            await send(message)

        try:
            await self.app(scope, receive, send_safely)
        except ClientDisconnect:
            log.info("%s %s: the client left (request %s)", scope["method"], scope["path"], request_id)
        except Exception:
            # Broad on purpose: what nobody foresaw is logged whole, and told without leaking.
            log.exception("%s %s failed (request %s)", scope["method"], scope["path"], request_id)
            if status:
                raise
            await respond(unexpected(request_id), scope)(scope, receive, send_safely)
        finally:
            self._tell(scope, status or LEFT, perf_counter() - began)
            REQUEST.reset(token)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.tell(method, route, status, seconds)
        told = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 1)}
        key_id = scope.get("state", {}).get("key_id")
        access.info("%(method)s %(path)s %(status)s", told, extra={**told, **({"key": key_id} if key_id else {})})


def route_of(scope: Scope) -> str:
    """The pattern that a request's path fits, for counting: never the path itself."""
    template = scope.get("path_template") or getattr(scope.get("route"), "path", None)
    return str(template) if template else "other"


class SameOrigin:
    """Refuses what a foreign web page could make a visitor's browser send.

    hosts   names this server answers to while it asks for no keys (DNS rebinding sends others); None: every name.
            Where keys are needed another name opens nothing, and a proxy in front may use its own.
    A changing request that carries an Origin must come from this very server.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, keys: Keys) -> None:
        self.app = app
        self.hosts = hosts
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)):
            await refuse(of_status(403, refusal), scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.hosts is not None and _hostname(host) not in self.hosts and not self.keys.are_needed:
            return f"This server answers to {', '.join(sorted(self.hosts))}, not to {host!r}."
        origin = headers.get("origin")
        if scope["method"] not in SAFE_METHODS and origin is not None and urlsplit(origin).netloc != host:
            return f"A page of {origin} may not change anything on this server."
        return None


@lru_cache(256)
def _hostname(host: str) -> str:
    """The Host header without its port; IPv6 without brackets; "" for nonsense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Room:
    """Refuses what would need a trip while there is no room for one: before its body is read, at the price of a line.

    full   says whether there is no room now, as the error to answer with; None while there is, or before the start
    """

    def __init__(self, app: ASGIApp, full: Callable[[], Overloaded | None]) -> None:
        self.app = app
        self.full = full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and TRIPS.fullmatch(scope["path"]):
            if (refusal := self.full()) is not None:
                await refuse(problem_of(refusal), scope, receive, send)
                return
        await self.app(scope, receive, send)


class _TooMuch(HTTPException):
    """A body over its limit; `limit` is the setting."""

    def __init__(self, status_code: int, detail: str, limit: str) -> None:
        super().__init__(status_code, detail)
        self.limit = limit


class BodyLimit:
    """Refuses a body over its limit: at once when Content-Length tells, else while it streams in.

    Multipart bodies may be as large as an upload, all others only as large as JSON should be.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int, max_json_bytes: int) -> None:
        self.app = app
        self.max_upload_bytes = max_upload_bytes
        self.max_json_bytes = min(max_json_bytes, max_upload_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").lower().startswith("multipart/")
        limit = self.max_upload_bytes if multipart else self.max_json_bytes
        setting = "max_upload_bytes" if multipart else "max_json_bytes"
        detail = f"The body is larger than {limit} bytes, the limit set by {setting}."
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            await refuse(of_status(413, detail, limit=setting), scope, receive, send)
            return
        taken = 0

        async def receive_counting() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _TooMuch(413, detail, limit=setting)
            return message

        await self.app(scope, receive_counting, send)
