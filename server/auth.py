"""Who may ask for what, and how often: the ring that looks at keys before anything of a body is read.

Which scope a request needs is a table here, so that a route nobody thought of is for admins only. Knows no routes.
"""

import re
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from math import ceil, floor
from time import monotonic
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import errors
from . import keys as known
from .keys import Key, Keys
from .problems import problem_of, refuse

# A browser cannot send a header with a picture, a film or an event stream: the page lays its key into this cookie.
COOKIE = "vicmae_key"
BURST_SECONDS = 4.0  # of a key's rate that it may use at once

Needed = known.Scope | Literal["any"] | None  # any: whatever key; None: no key at all

_READING = ("GET", "HEAD", "OPTIONS")
_PLACE = "/v1/collections/[^/]+"
_OPEN = re.compile(r"/|/page/.*|/docs(/.*)?|/openapi\.json|/livez|/readyz|/favicon\.ico")
_RULES: tuple[tuple[re.Pattern[str], bool, Needed], ...] = (  # path, only to read, what is needed
    (re.compile(r"/metrics|/v1/models"), True, "any"),
    (re.compile(r"/v1/embeddings(/.*)?"), False, "embed"),
    (re.compile(r"/v1/snapshots(/.*)?|/v1/collections/[^/]+/(snapshots|verify|export|import)(/.*)?"), False, "admin"),
    (re.compile(rf"{_PLACE}/(search|align|explain)"), False, "search"),
    (re.compile(r"/v1/.*"), True, "search"),
    (re.compile(rf"{_PLACE}/(items|duplicates|scan)(/.*)?|/v1/jobs/.*"), False, "index"),
)


def needed_for(method: str, path: str) -> Needed:
    """What a request needs: the first rule that fits, else admin."""
    reads = method in _READING
    if reads and _OPEN.fullmatch(path):
        return None
    for pattern, only_reading, scope in _RULES:
        if pattern.fullmatch(path) and (reads or not only_reading):
            return scope
    return "admin"


class Rates:
    """A bucket a key that fills with its rate: -> the seconds to wait, 0 for go on. One event loop, no locks."""

    def __init__(self, requests_per_second: float, clock: Callable[[], float] = monotonic) -> None:
        self._default = requests_per_second
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # requests left, and when that was so

    def wait_seconds(self, key: Key) -> float:
        rate, full = self._rate(key)
        now = self._clock()
        left, then = self._left.get(key.id, (full, now))
        left = min(full, left + (now - then) * rate)
        if left < 1:
            self._left[key.id] = left, now
            return (1 - left) / rate
        self._left[key.id] = left - 1, now
        return 0.0

    def told(self, key: Key) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer tells of the key's bucket after its request: headers of draft-ietf-httpapi-ratelimit-headers.

        q requests in w seconds may come at once; r are left, and after t seconds without any it is full again.
        """
        rate, full = self._rate(key)
        left, _ = self._left[key.id]
        policy = f'"key";q={floor(full)};w={ceil(full / rate)}'
        standing = f'"key";r={floor(left)};t={ceil((full - left) / rate)}'
        return (b"ratelimit-policy", policy.encode()), (b"ratelimit", standing.encode())

    def _rate(self, key: Key) -> tuple[float, float]:
        """Requests a second, and the most that may come at once."""
        rate = key.requests_per_second or self._default
        return rate, max(1.0, rate * BURST_SECONDS)


class Guard:
    """Lets through what a key allows, and everything where no key is needed.

    keys      those of the data folder, looked at for every request: a revoked key is dead at once
    open_to_all  False where others than this machine can reach the port: then keys are needed in any case
    """

    def __init__(self, app: ASGIApp, keys: Keys, rates: Rates, open_to_all: bool) -> None:
        self.app = app
        self.keys = keys
        self.rates = rates
        self.open_to_all = open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except errors.VicmaeError as refusal:
                await refuse(problem_of(refusal), scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        needed = needed_for(scope["method"], scope["path"])
        if needed is None or (self.open_to_all and not self.keys.are_needed):
            return
        text = key_text(Headers(scope=scope))
        if text is None:
            raise errors.Unauthorized(
                "This server asks for a key. Send it as 'Authorization: Bearer vicmae_…'; "
                "`vicmae keys create` on the server's machine makes one."
            )
        key = self.keys.find(text)
        if key is None:
            raise errors.Unauthorized(
                "This key is not known here: it was revoked, or is misspelt, or of another server."
            )
        scope.setdefault("state", {})["key_id"] = key.id
        if needed != "any" and not key.may(needed):
            raise errors.MissingScope(
                f"The key {key.name!r} may {', '.join(key.scopes)}, and this asks for {needed}. "
                f"Make one with `vicmae keys create NAME --scope {needed}`."
            )
        wait_seconds = self.rates.wait_seconds(key)
        scope["state"]["headers"] = self.rates.told(key)
        if wait_seconds:
            raise errors.TooManyRequests(
                f"The key {key.name!r} asks more often than it may (key_requests_per_second, or its own rate).",
                retry_after_seconds=wait_seconds,
            )


def key_text(headers: Headers) -> str | None:
    """The key that came with a request: as Bearer, else in the page's cookie. None without either."""
    kind, _, text = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and text.strip():
        return text.strip()
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None
