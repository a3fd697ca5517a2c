"""One table turns every error into an RFC 9457 problem; nothing else in the server picks an error's status.

Knows no routes. Answers under /v1/embeddings also carry OpenAI's `error` member, for its clients.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .. import errors

log = logging.getLogger("vicmae.server")

TYPE_PREFIX = "urn:vicmae:problem:"
MAX_NAMED_FAULTS = 20
LINGER_SECONDS = 2.0
LINGER_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Kind:
    """What all problems of one kind share."""

    status: int
    slug: str
    title: str


KINDS: dict[type[BaseException], Kind] = {
    errors.UnsupportedMedia: Kind(415, "unsupported-media", "Not a picture or video we can read"),
    errors.CorruptMedia: Kind(422, "corrupt-media", "The picture or video is damaged"),
    errors.MediaTooLarge: Kind(413, "media-too-large", "The file is over a limit"),
    errors.MediaError: Kind(422, "unreadable-media", "The file cannot be read"),
    errors.FetchError: Kind(422, "address-not-fetched", "The address could not be fetched"),
    errors.InvalidRequest: Kind(400, "invalid-request", "The request makes no sense as it stands"),
    errors.Unauthorized: Kind(401, "unauthorized", "A key is needed"),
    errors.MissingScope: Kind(403, "missing-scope", "The key is not made for this"),
    errors.Forbidden: Kind(403, "forbidden", "This is switched off"),
    errors.FileGone: Kind(410, "file-gone", "The original file is gone"),
    errors.NotFound: Kind(404, "not-found", "There is no such thing"),
    errors.ModelMismatch: Kind(409, "model-mismatch", "The collection belongs to another model"),
    errors.Conflict: Kind(409, "conflict", "The wish contradicts what is stored"),
    errors.TooManyRequests: Kind(429, "too-many-requests", "The key asks too often"),
    errors.Overloaded: Kind(503, "overloaded", "No room now"),
    errors.StorageError: Kind(507, "storage", "The disk or the database refuses"),
    errors.EngineError: Kind(500, "engine", "The model failed"),
    errors.BundleError: Kind(500, "bundle", "The model's files are not in order"),
    errors.VicmaeError: Kind(500, "failed", "It failed"),
}


INTERNAL = Kind(500, "internal", "A fault of the server")
MALFORMED_RANGE = Kind(400, "malformed-range", "The Range header makes no sense")
UNSATISFIED_RANGE = Kind(416, "unsatisfied-range", "The file does not hold that range")
INVALID_JSON = Kind(400, "invalid-json", "The body is not JSON")
INVALID_SHAPE = Kind(422, "invalid-shape", "The request has the wrong shape")
# Python's own phrases differ from version to version; a problem's type must not.
_PHRASES = {413: "Content Too Large"}


@dataclass(frozen=True)
class Problem:
    """One problem on its way out. `faults` point into the request, `headers` go onto the answer."""

    kind: Kind
    detail: str
    faults: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    parameter: str | None = None
    limit: str | None = None  # the setting whose limit was met


def problem_of(error: errors.VicmaeError) -> Problem:
    """The problem an error means: the nearest of its classes in KINDS."""
    kind = next(KINDS[base] for base in type(error).__mro__ if base in KINDS)
    headers = {}
    if isinstance(error, errors.Overloaded):
        headers["retry-after"] = str(max(1, ceil(error.retry_after_seconds)))
    if isinstance(error, errors.Unauthorized):
        headers["www-authenticate"] = 'Bearer realm="vicmae"'
    return Problem(kind, str(error), headers=headers, parameter=error.parameter, limit=limit_of(error))


def unexpected(request_id: str) -> Problem:
    """A fault of ours. It says where to look and leaks nothing."""
    return Problem(INTERNAL, f"Something went wrong in the server. Its log tells more about request {request_id}.")


def limit_of(error: Exception) -> str | None:
    """The setting whose limit was met, of errors that name one."""
    return getattr(error, "limit", None) or None


def of_status(status: int, detail: str, headers: Mapping[str, str] | None = None, limit: str | None = None) -> Problem:
    """A problem that is only its HTTP status: a wrong path, a wrong method, a body over the limit."""
    return Problem(kind_of_status(status), detail, headers=headers or {}, limit=limit)


def kind_of_status(status: int) -> Kind:
    """The kind of a problem that is only its HTTP status."""
    title = _PHRASES.get(status) or HTTPStatus(status).phrase
    return Kind(status, title.lower().replace(" ", "-"), title)


def of_validation(error: RequestValidationError) -> Problem:
    """A request that does not have the shape the route asks for."""
    raw = error.errors()
    if any(fault["type"] == "json_invalid" for fault in raw):
        told = raw[0].get("ctx", {}).get("error", raw[0]["msg"])
        return Problem(INVALID_JSON, f"The body is not valid JSON: {told}.")
    faults = [_fault(fault) for fault in raw[:MAX_NAMED_FAULTS]]
    told = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in faults[:3])
    return Problem(INVALID_SHAPE, f"{told}." if told else "The request has the wrong shape.", faults)


def _fault(fault: Mapping[str, Any]) -> dict[str, str]:
    """One pydantic fault as a place and a sentence. The input itself is never echoed."""
    where, *steps = [str(step) for step in fault["loc"]] or ["body"]
    if where == "body":
        pointer = "#/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps)
    else:
        pointer = f"{where} {'.'.join(steps)}"
    return {"pointer": pointer, "detail": str(fault["msg"]).removeprefix("Value error, ")}


def respond(problem: Problem, scope: Scope) -> Response:
    """problem -> application/problem+json. Pure ASCII on the wire, so that no odd string can break it."""
    kind = problem.kind
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + kind.slug,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "instance": quote(scope.get("path", "/"), errors="replace"),
        "request_id": scope.get("state", {}).get("request_id"),
    }
    if problem.limit:
        body["limit"] = problem.limit
    if problem.faults:
        body["errors"] = list(problem.faults)
    if scope.get("path", "").startswith("/v1/embeddings"):
        body["error"] = {
            "message": problem.detail,
            "type": "invalid_request_error" if kind.status < 500 else "server_error",
            "param": problem.parameter,
            "code": kind.slug.replace("-", "_"),
        }
    return Response(
        json.dumps(body, allow_nan=False),
        kind.status,
        headers=dict(problem.headers),
        media_type="application/problem+json",
    )


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a request whose body nobody has read: at once, and then reads on for a moment.

    Who still sends when the connection closes gets a reset in place of the answer; a proxy then tells of a bad gateway.
    """
    headers = Headers(scope=scope)
    answer = respond(problem, scope)
    if not {"content-length", "transfer-encoding"} & set(headers) or "expect" in headers:  # nothing comes unasked
        await answer(scope, receive, send)
        return

    async def send_but_stay(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await answer(scope, receive, send_but_stay)
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await _pass_by(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pass_by(receive: Receive) -> None:
    """Reads and forgets at most LINGER_BYTES of a body."""
    passed = 0
    while passed < LINGER_BYTES:
        message = await receive()
        if not message.get("more_body"):
            return
        passed += len(message["body"])


def install(app: FastAPI) -> None:
    """Turns every foreseen error of the routes into a problem; unexpected ones are RequestLifecycle's."""

    async def foreseen(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.VicmaeError)
        problem = problem_of(error)
        if problem.kind.status >= 500 and not isinstance(error, errors.Overloaded):
            log.error("%s %s: %s", request.method, request.url.path, error)
        return respond(problem, request.scope)

    async def misshapen(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(of_validation(error), request.scope)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = error.detail
        if error.status_code == 404:
            detail = f"Nothing lives at {request.url.path}. The list of paths is at /docs."
        elif error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"{request.method} is not possible at {request.url.path}; possible: {allowed}."
        elif error.status_code == 400:  # FastAPI's word for a body that is no text
            return respond(Problem(INVALID_JSON, "The body is not JSON in UTF-8."), request.scope)
        return respond(of_status(error.status_code, detail, error.headers, limit_of(error)), request.scope)

    app.add_exception_handler(errors.VicmaeError, foreseen)
    app.add_exception_handler(RequestValidationError, misshapen)
    app.add_exception_handler(HTTPException, http)
