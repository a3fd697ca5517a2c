"""A real server for tests: uvicorn on a free port in a thread, and an httpx client that talks to it.

Every answer that the client gets is held to /openapi.json: its status stands there, and the type of its problem too.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray

from vicmae.export.engine import Engine, FakeEngine
from vicmae.server.app import create_app
from vicmae.settings import load_settings

ITEMS = "/v1/collections/default/items"
SEARCH = "/v1/collections/default/search"


@contextmanager
def served(data: Path, engine: Engine | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a server over `data`; the server is stopped at the end. Settings by keyword."""
    app = create_app(load_settings(data=data, **settings), engine=engine or FakeEngine())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        hooks = {"response": [held_to(app.openapi())]}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, event_hooks=hooks) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


class Gated(FakeEngine):
    """Works when it is warmed up, and then only while the gate is open."""

    def __init__(self, fingerprint: str = "fake-1") -> None:
        super().__init__(fingerprint=fingerprint)
        self.gate, self.busy = threading.Event(), threading.Event()
        self.gate.set()

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.busy.set()
        assert self.gate.wait(20)
        return super()._run(pixels)


@contextmanager
def halted(
    data: Path, roots: Path | str = "", engine: Gated | None = None, **settings: Any
) -> Iterator[tuple[httpx.Client, Gated]]:
    """A server whose engine stops at the next picture."""
    engine = engine or Gated()
    with served(data, engine, library_roots=str(roots), **settings) as client:
        engine.busy.clear()
        engine.gate.clear()
        try:
            yield client, engine
        finally:
            engine.gate.set()


def held_to(document: dict[str, Any]) -> Callable[[httpx.Response], None]:
    """A check that an answer's status is one that the document names for its operation, and its problem's type too."""
    # The plainer path first: /duplicates/dismiss is not the job of that name.
    paths = sorted(document["paths"], key=lambda path: path.count("{"))
    patterns = [(re.compile(re.sub(r"{[^}]+}", "[^/]+", path)), path) for path in paths]

    def check(answer: httpx.Response) -> None:
        found = [path for pattern, path in patterns if pattern.fullmatch(answer.request.url.path)]
        operation = document["paths"][found[0]].get(answer.request.method.lower()) if found else None
        if operation is None:
            return
        told = operation["responses"].get(str(answer.status_code))
        where = f"{answer.request.method} {found[0]}"
        assert told is not None, f"{where} answers {answer.status_code}, which /openapi.json does not name"
        if answer.headers.get("content-type") == "application/problem+json":
            answer.read()
            kinds = told["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["type"]["enum"]
            assert answer.json()["type"] in kinds, f"{where} answers {answer.json()['type']}, documented: {kinds}"

    return check


def send(client: httpx.Client, path: Path, url: str = ITEMS, **fields: str) -> httpx.Response:
    """The file as multipart field `file`, with other form fields."""
    with path.open("rb") as file:
        return client.post(url, files={"file": (path.name, file)}, data=fields)


def finished_job(client: httpx.Client, location: str, seconds: float = 30) -> dict[str, Any]:
    """The job when it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(location).json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.02)
    raise AssertionError(f"the job did not end: {job}")


def added(client: httpx.Client, path: Path, url: str = ITEMS, **fields: str) -> str:
    """Uploads a file, waits until it can be found, gives the item's id."""
    answer = send(client, path, url, **fields)
    if answer.status_code == 202:
        job = finished_job(client, answer.headers["location"])
        assert job["state"] == "succeeded", job
        return str(job["item_id"])
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The body of a client's answer, checked to be a problem of this status that leaks nothing.

    `answer` is httpx's, or that of the library which Starlette's TestClient uses today.
    """
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status and body["type"] and body["title"] and body["detail"]
    assert "Traceback" not in answer.text
    return body
