"""Middleware against requests that a foreign web page makes a visitor's browser send (DNS rebinding, CSRF)."""

from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth.keys import Keys
from ..problems import of_status, refuse

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


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
