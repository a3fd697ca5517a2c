"""A file as an answer that takes HTTP Range, and says what is wrong with a Range as every other problem is told.

What is in a range is Starlette's to find; only its two refusals, plain text there, are replaced here.
"""

from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from .problems import MALFORMED_RANGE, UNSATISFIED_RANGE, Problem, respond


class RangeFileResponse(FileResponse):
    """416 for a range beyond the file, with its size in Content-Range; 400 for what is no range."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal: Problem | None = None

        async def send_or_note(message: Message) -> None:
            nonlocal refusal
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                headers = dict(message["headers"])
                refusal = self._refusal(message["status"], headers.get(b"content-range", b"").decode())
            if refusal is None:
                await send(message)

        await super().__call__(scope, receive, send_or_note)
        if refusal is not None:
            await respond(refusal, scope)(scope, receive, send)

    def _refusal(self, status: int, content_range: str) -> Problem:
        if status == 400:
            return Problem(MALFORMED_RANGE, "Range is no list of bytes. Send for example 'Range: bytes=0-999'.")
        size = content_range.rpartition("/")[2]
        return Problem(
            UNSATISFIED_RANGE,
            f"The file has {size} bytes, and Range asks for none of them. Ask for a part below {size}.",
            headers={"content-range": content_range},
        )
