"""Which scope a request needs: a table, so that a route that nobody thought of is for admins only. Knows no routes."""

import re
from typing import Literal

from .keys import Scope

RequiredScope = Scope | Literal["any"] | None  # any: whatever key; None: no key at all

_READING = ("GET", "HEAD", "OPTIONS")
_PLACE = "/v1/collections/[^/]+"
_OPEN = re.compile(r"/|/page/.*|/docs(/.*)?|/openapi\.json|/livez|/readyz|/favicon\.ico")
_RULES: tuple[tuple[re.Pattern[str], bool, RequiredScope], ...] = (  # path, only to read, what is needed
    (re.compile(r"/metrics|/v1/models"), True, "any"),
    (re.compile(r"/v1/embeddings(/.*)?"), False, "embed"),
    (re.compile(r"/v1/snapshots(/.*)?|/v1/collections/[^/]+/(snapshots|verify|export|import)(/.*)?"), False, "admin"),
    (re.compile(rf"{_PLACE}/(search|align|explain)"), False, "search"),
    (re.compile(r"/v1/.*"), True, "search"),
    (re.compile(rf"{_PLACE}/(items|duplicates|scan|fill-pictures)(/.*)?|/v1/jobs/.*"), False, "index"),
)


def required_scope(method: str, path: str) -> RequiredScope:
    """What a request needs: the first rule that fits, else admin."""
    reads = method in _READING
    if reads and _OPEN.fullmatch(path):
        return None
    for pattern, only_reading, scope in _RULES:
        if pattern.fullmatch(path) and (reads or not only_reading):
            return scope
    return "admin"
