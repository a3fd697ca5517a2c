"""Which problems each operation may answer with. /openapi.json says so; the tests hold every answer to it.

A table by path and method, since an operation's problems come from middleware, services and packages far from its
route. Knows no routes by name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import errors
from .auth.scopes import required_scope
from .problems import (
    INTERNAL,
    INVALID_JSON,
    INVALID_SHAPE,
    KINDS,
    MALFORMED_RANGE,
    TYPE_PREFIX,
    UNSATISFIED_RANGE,
    Kind,
    kind_of_status,
)

PROBLEM_REF = "#/components/schemas/Problem"

_DECODING = (
    errors.UnsupportedMedia,
    errors.CorruptMedia,
    errors.MediaError,
    errors.MediaTooLarge,
    errors.Overloaded,
    errors.EngineError,
)
_ADDRESSES = (errors.FetchError, errors.Forbidden)
_PLACE = "/v1/collections/{name}"

Rule = tuple[str, str, Sequence[type[errors.VicmaeError]]]
# Path as the document writes it (a pattern after its braces are escaped), methods, what can go wrong beyond _COMMON.
_RULES: tuple[Rule, ...] = (
    (r"/v1/embeddings", "POST", (*_DECODING, *_ADDRESSES, errors.InvalidRequest, errors.NotFound)),
    (r"/v1/embeddings/upload", "POST", (*_DECODING, errors.InvalidRequest, errors.NotFound)),
    (r"/.*{.*", "GET PUT POST PATCH DELETE", (errors.NotFound, errors.InvalidRequest)),
    (_PLACE, "PUT DELETE", (errors.Conflict, errors.ModelMismatch)),
    (r"/v1/aliases/.*", "PUT DELETE", (errors.Conflict,)),
    (rf"{_PLACE}/items.*", "POST PUT", (*_DECODING, errors.Conflict, errors.ModelMismatch)),
    (rf"{_PLACE}/items/{{item_id}}/thumbnail", "GET", (*_DECODING, errors.FileGone)),
    (rf"{_PLACE}/items/{{item_id}}/media", "GET", (errors.FileGone,)),
    (rf"{_PLACE}/scan", "POST", (errors.Forbidden, errors.ModelMismatch)),
    (rf"{_PLACE}/search", "POST", (*_DECODING, *_ADDRESSES, errors.FileGone, errors.ModelMismatch)),
    (rf"{_PLACE}/explain", "POST", (*_DECODING, *_ADDRESSES, errors.FileGone, errors.ModelMismatch)),
    (rf"{_PLACE}/align", "POST", (*_DECODING, errors.FileGone)),
    (rf"{_PLACE}/duplicates", "POST", (errors.ModelMismatch,)),
    (rf"{_PLACE}/fill-pictures", "POST", (errors.ModelMismatch,)),
    (rf"{_PLACE}/reembed", "POST", (errors.Conflict, errors.ModelMismatch)),
    (rf"{_PLACE}/import", "POST", (errors.Conflict, errors.ModelMismatch)),
    (rf"{_PLACE}/(snapshots|verify)", "POST", (errors.Conflict,)),
    (r"/v1/snapshots/.*", "POST DELETE", (errors.Conflict, errors.InvalidRequest, errors.NotFound)),
    (r"/v1/jobs/{job_id}", "DELETE", (errors.Conflict,)),
)
_READY = kind_of_status(503)
# Answers that are neither a success with a body nor a problem.
_FILES: Mapping[str, Any] = {
    "206": {"description": "the part of the file that Range asks for"},
}


def describe(path: str, method: str, operation: dict[str, Any]) -> None:
    """Writes an operation's problems into its `responses`, in place of FastAPI's own 422."""
    answers = operation["responses"]
    checked = answers.pop("422", None) is not None
    bodies = operation.get("requestBody", {}).get("content", {})
    if _is_file(path, method):
        answers |= _FILES
    by_status: dict[int, list[Kind]] = {}
    for kind in _kinds(path, method, checked, bodies):
        if kind not in (known := by_status.setdefault(kind.status, [])):
            known.append(kind)
    for status, kinds in sorted(by_status.items()):
        answers[str(status)] = _described(kinds)


def _is_file(path: str, method: str) -> bool:
    return path.endswith(("/media", "/snapshots/{snapshot}")) and method == "GET"


def _kinds(path: str, method: str, checked: bool, bodies: Mapping[str, Any]) -> Iterator[Kind]:
    yield kind_of_status(403)  # another host, or a page of another origin
    yield INTERNAL
    if _is_file(path, method):
        yield MALFORMED_RANGE
        yield UNSATISFIED_RANGE
    if path == "/readyz":
        yield _READY
    if required_scope(method, path) is not None:
        for error in (errors.Unauthorized, errors.MissingScope, errors.TooManyRequests, errors.StorageError):
            yield KINDS[error]
    if bodies:
        yield kind_of_status(413)
        yield KINDS[errors.InvalidRequest]
    if "application/json" in bodies:
        yield INVALID_JSON
    if checked or "application/json" in bodies:
        yield INVALID_SHAPE
    for pattern, methods, found in _RULES:
        if method in methods.split() and re.fullmatch(_literal(pattern), path):
            yield from (KINDS[error] for error in found)


def _literal(pattern: str) -> str:
    return pattern.replace("{", r"\{").replace("}", r"\}")


def _described(kinds: Sequence[Kind]) -> dict[str, Any]:
    types = [TYPE_PREFIX + kind.slug for kind in kinds]
    schema = {"allOf": [{"$ref": PROBLEM_REF}, {"properties": {"type": {"enum": types}}}]}
    described: dict[str, Any] = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {"application/problem+json": {"schema": schema}},
    }
    if kinds[0].status in (429, 503):
        described["headers"] = {"retry-after": {"schema": {"type": "integer"}, "description": "seconds to wait"}}
    return described
