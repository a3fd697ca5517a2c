"""Middleware that refuses work while the pipeline is full, before the request's body is read."""

import re
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import Overloaded
from ..problems import problem_of, refuse

# The requests that run in the pipeline.
ADMITTED_PATHS = re.compile(r"/v1/embeddings(/upload)?|/v1/collections/[^/]+/(items|search|explain)")


class AdmissionControl:
    """Answers 503 at once to a request that the pipeline has no room for.

    overload  gives the error to answer with while there is no room; None while there is, and before the start
    """

    def __init__(self, app: ASGIApp, overload: Callable[[], Overloaded | None]) -> None:
        self.app = app
        self.overload = overload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and ADMITTED_PATHS.fullmatch(scope["path"]):
            if (refusal := self.overload()) is not None:
                await refuse(problem_of(refusal), scope, receive, send)
                return
        await self.app(scope, receive, send)
