"""Multipart bodies: however they are cut into pieces, files arrive as sent, and none stays behind."""

from hashlib import sha256
from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from vicmae.errors import InvalidRequest
from vicmae.server.media_input.multipart import client_name, read_form


def request_of(body: bytes, content_type: str, cuts: list[int], leaves: bool = False) -> Request:
    """A request whose body comes in pieces; the client may leave before the end."""
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""})
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    return Request({"type": "http", "headers": [(b"content-type", content_type.encode())]}, receive)


def form_body(files: list[tuple[str, bytes]], fields: dict[str, str]) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x", files=[("file", file) for file in files], data=fields)
    return request.read(), request.headers["content-type"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(st.binary(max_size=300), min_size=1, max_size=3),
    field=st.text(max_size=30).filter(lambda text: "\ud800" > text or text > "\udfff"),
    cuts=st.lists(st.integers(min_value=0, max_value=2000), max_size=6),
)
def test_files_arrive_as_they_were_sent(tmp_path: Path, contents: list[bytes], field: str, cuts: list[int]) -> None:
    body, content_type = form_body([(f"{i}.bin", data) for i, data in enumerate(contents)], {"note": field})

    async def receive() -> None:
        async with read_form(request_of(body, content_type, cuts), tmp_path, max_files=3) as form:
            assert form.fields == {"note": field}
            assert [upload.path.read_bytes() for upload in form.files] == contents
            assert [upload.sha256 for upload in form.files] == [sha256(data).hexdigest() for data in contents]
            assert [upload.size_bytes for upload in form.files] == [len(data) for data in contents]

    anyio.run(receive)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "on_disk"), [(10, False), (300_000, False), (2_000_000, True)])
def test_files_that_nobody_keeps_need_no_disk_while_they_are_small(tmp_path: Path, size: int, on_disk: bool) -> None:
    data = bytes(range(250)) * (size // 250) + b"end"
    body, content_type = form_body([("a.bin", data), ("b.bin", b"")], {"note": "n"})

    async def receive() -> None:
        cuts = list(range(0, len(body), 60_000))
        async with read_form(request_of(body, content_type, cuts), tmp_path, 2, keeps=False) as form:
            assert bool(list(tmp_path.iterdir())) == on_disk and form.fields == {"note": "n"}
            for upload, content in zip(form.files, (data, b""), strict=True):
                held = upload.source if isinstance(upload.source, bytes) else upload.source.read_bytes()
                assert held == content and upload.size_bytes == len(content)
                assert upload.sha256 == sha256(content).hexdigest()

    anyio.run(receive)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_body_that_ends_early_leaves_nothing(tmp_path: Path, share: float) -> None:
    body, content_type = form_body([("a.bin", bytes(5000))], {})
    cut = body[: int(len(body) * share)]

    async def receive(leaves: bool) -> None:
        async with read_form(request_of(cut, content_type, [100, 900], leaves), tmp_path):
            raise AssertionError("half a body was taken for a whole one")

    with pytest.raises(InvalidRequest):
        anyio.run(receive, False)
    with pytest.raises(ClientDisconnect):
        anyio.run(receive, True)
    assert not list(tmp_path.iterdir())


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    body, content_type = form_body([("a", b"1"), ("b", b"2")], {})

    async def receive() -> None:
        async with read_form(request_of(body, content_type, []), tmp_path, max_files=1):
            raise AssertionError("two files were taken for one")

    with pytest.raises(InvalidRequest, match="More files"):
        anyio.run(receive)
    assert not list(tmp_path.iterdir())


@given(raw=st.text())
def test_a_shown_name_is_one_short_printable_line(raw: str) -> None:
    name = client_name(raw)
    assert 0 < len(name) <= 255 and "/" not in name and "\\" not in name
    assert name not in (".", "..") and not any(ord(letter) < 32 for letter in name)
    name.encode()
