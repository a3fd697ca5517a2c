"""Middleware that refuses request bodies over their limit."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..problems import of_status, refuse


class _BodyTooLarge(HTTPException):
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
        received = 0

        async def receive_counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _BodyTooLarge(413, detail, limit=setting)
            return message

        await self.app(scope, receive_counting, send)
