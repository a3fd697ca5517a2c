"""Middleware that checks API keys, their scope and their rate before anything of a body is read. Knows no routes."""

from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ... import errors
from ..auth.keys import Keys
from ..auth.rate_limit import RateLimiter
from ..auth.scopes import required_scope
from ..problems import problem_of, refuse

# A browser cannot send a header with a picture, a film or an event stream: the page stores its key in this cookie.
COOKIE = "vicmae_key"


class ApiKeyAuthentication:
    """Lets through what a key allows, and everything where no key is needed.

    keys      those of the data folder, looked at for every request: a revoked key is dead at once
    open_to_all  False where others than this machine can reach the port: then keys are needed in any case
    """

    def __init__(self, app: ASGIApp, keys: Keys, rates: RateLimiter, open_to_all: bool) -> None:
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
        needed = required_scope(scope["method"], scope["path"])
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
