"""vicmae.server.events: an error after the first event comes as an event, and what was needed is closed at the end."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.testclient import TestClient

from vicmae.errors import NotFound
from vicmae.server import problems
from vicmae.server.events import Send, stream

closed: list[str] = []


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI()
    problems.install(app)

    @app.get("/{when}")
    async def answer(when: str, request: Request) -> Response:
        needed = AsyncExitStack()
        needed.callback(closed.append, when)

        async def work(send: Send) -> tuple[str, str]:
            if when == "before":
                raise NotFound("There is no such item.")
            send("first", "1")
            if when == "after":
                raise NotFound("There is no such item.")
            if when == "unforeseen":
                raise RuntimeError("a secret")
            return "last", "2"

        return await stream(request, work, needed)

    closed.clear()
    yield TestClient(app, raise_server_exceptions=False)


def test_events_come_in_their_order(client: TestClient) -> None:
    answer = client.get("/well")
    assert answer.text == "event: first\ndata: 1\n\nevent: last\ndata: 2\n\n" and closed == ["well"]


def test_an_error_before_any_event_is_a_plain_problem(client: TestClient) -> None:
    answer = client.get("/before")
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
    assert closed == ["before"]


@pytest.mark.parametrize(("when", "status"), [("after", 404), ("unforeseen", 500)])
def test_an_error_after_one_is_an_event(client: TestClient, when: str, status: int) -> None:
    answer = client.get(f"/{when}")
    name, data = answer.text.strip().split("\n\n")[1].splitlines()
    assert answer.status_code == 200 and name == "event: error" and closed == [when]
    assert json.loads(data.removeprefix("data: "))["status"] == status and "secret" not in data
