"""The application around the routes: health, headers, the description of the API, our own faults."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from served import problem, served

from vicmae.errors import Conflict, EngineError
from vicmae.export.engine import FakeEngine
from vicmae.server.app import create_app, is_loopback, server_names
from vicmae.server.services import open_services
from vicmae.settings import load_settings


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("data")) as client:
        yield client


def test_it_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_it_is_not_ready_before_and_after(tmp_path: Path) -> None:
    app = create_app(load_settings(data=tmp_path), engine=FakeEngine())
    client = TestClient(app, base_url="http://localhost")
    problem(client.get("/readyz"), 503)
    with client:
        assert client.get("/readyz").status_code == 200
    problem(client.get("/readyz"), 503)


def test_the_page_may_only_load_what_is_its_own(client: httpx.Client) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
    for address in re.findall(r'(?:src|href)="(/page/[^"]+)"', page.text):
        assert client.get(address).status_code == 200, address
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)
    assert "style=" not in page.text and "onclick" not in page.text


def test_every_answer_has_an_id_and_safe_headers(client: httpx.Client) -> None:
    answers = [client.get(path) for path in ("/", "/page/app.js", "/v1/models", "/nothing")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert answers[-1].json()["request_id"] == answers[-1].headers["x-request-id"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_api_describes_itself(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    for reference in references(schema):
        assert reference.removeprefix("#/components/schemas/") in schema["components"]["schemas"], reference
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} has no words"
            assert "application/problem+json" in operation["responses"]["403"]["content"]
    search = schema["paths"]["/v1/collections/{name}/search"]["post"]["requestBody"]["content"]
    assert set(search) == {"application/json", "multipart/form-data"}
    assert client.get("/docs").status_code == 200


class Broken(FakeEngine):
    """Works when it is warmed up, and never again."""

    calls = 0

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return super()._run(pixels)


PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="


def test_a_fault_of_ours_is_logged_and_leaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with served(tmp_path, Broken(RuntimeError("the secret is 42"))) as client, caplog.at_level(logging.ERROR):
        answer = client.post("/v1/embeddings", json={"input": PIXEL})
    told = problem(answer, 500)
    assert "secret" not in answer.text and told["request_id"] in told["detail"]
    assert told["error"]["type"] == "server_error"
    assert "the secret is 42" in caplog.text and told["request_id"] in caplog.text


def test_an_engine_that_fails_says_so(tmp_path: Path) -> None:
    with served(tmp_path, Broken(EngineError("The device was lost."))) as client:
        assert problem(client.post("/v1/embeddings", json={"input": PIXEL}), 500)["detail"] == "The device was lost."


def test_an_engine_that_never_works_stops_the_start(tmp_path: Path) -> None:
    broken = Broken(EngineError("No such device."))
    broken.calls = 1
    with (
        pytest.raises(EngineError, match="No such device"),
        open_services(load_settings(data=tmp_path), broken),
    ):
        pass


def test_one_server_a_data_folder(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path)
    with open_services(settings, FakeEngine()):
        with pytest.raises(Conflict, match="Another vicmae server"), open_services(settings, FakeEngine()):
            pass
    with open_services(settings, FakeEngine()):
        pass


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("LOCALHOST", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_loopback(host: str, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours
    assert (server_names(host) is not None) is is_ours
