"""Corners of the HTTP surface: rows for bulk readers, requests sent twice, events of a job, docs without a network."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
from made_media import write_image, write_video
from served import ITEMS, problem, send, served

from vicmae.errors import Conflict
from vicmae.server.embedding_formats import ARROW, NDJSON
from vicmae.server.uploads.idempotency import IdempotencyStore, StoredResponse

UPLOAD = "/v1/embeddings/upload"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, tuple[str, bytes]]]:
    folder = tmp_path_factory.mktemp("files")
    paths = [write_image(folder / "a.png", 1), write_video(folder / "v.mp4", seconds=2)]
    return [("file", (path.name, path.read_bytes())) for path in paths]


def test_rows_say_what_json_says(client: httpx.Client, files: list[tuple[str, tuple[str, bytes]]]) -> None:
    plain = client.post(UPLOAD, files=files).json()["data"]
    lines = client.post(UPLOAD, files=files, headers={"accept": NDJSON})
    assert lines.headers["content-type"].startswith(NDJSON)
    assert [json.loads(line)["embedding"] for line in lines.text.splitlines()] == [row["embedding"] for row in plain]
    for encoding in ("float", "base64"):
        answer = client.post(
            f"{UPLOAD}?frames=true",
            files=files,
            data={"encoding_format": encoding},
            headers={"accept": f"{ARROW}, */*"},
        )
        table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
        assert table.column("index").to_pylist()[:2] == [0, 0] and set(table.column("kind").to_pylist()) == {
            "image",
            "video",
        }
        whole = [row for row in table.to_pylist() if row["start_seconds"] is None]
        np.testing.assert_allclose([row["embedding"] for row in whole], [row["embedding"] for row in plain], atol=1e-6)
        assert len(table) == 2 + 1 + 4


def test_base64_is_what_openai_clients_decode(client: httpx.Client, files: list[tuple[str, tuple[str, bytes]]]) -> None:
    plain = client.post(UPLOAD, files=files).json()["data"]
    packed = client.post(UPLOAD, files=files, data={"encoding_format": "base64"}).json()["data"]
    for one, other in zip(plain, packed, strict=True):
        np.testing.assert_allclose(
            np.frombuffer(base64.b64decode(other["embedding"]), "<f4"), one["embedding"], atol=1e-7
        )


def test_a_request_sent_twice_has_one_answer(client: httpx.Client, tmp_path: Path) -> None:
    picture, key = write_image(tmp_path / "a.png", 71), {"idempotency-key": "one"}

    def add(path: Path, headers: dict[str, str], **fields: str) -> httpx.Response:
        return client.post(ITEMS, files={"file": (path.name, path.read_bytes())}, data=fields, headers=headers)

    first = add(picture, key)
    again = add(picture, key)
    assert (first.status_code, again.status_code) == (201, 201), "without a key the second is 200"
    assert first.json() == again.json() and first.headers["location"] == again.headers["location"]
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert add(picture, {"idempotency-key": "two"}).status_code == 200
    problem(add(write_image(tmp_path / "b.png", 72), key), 409)
    problem(add(picture, key, id="mine"), 409)
    problem(add(picture, {"idempotency-key": "x" * 300}), 422)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    retry = {"idempotency-key": "three"}
    assert add(tmp_path / "bad.png", retry).status_code == 415
    assert add(write_image(tmp_path / "good.png", 73), retry).status_code == 201, "a failure holds no key"


def test_answers_outlive_the_server_and_two_at_once_are_refused(tmp_path: Path) -> None:
    IdempotencyStore(tmp_path).keep("k", "request", StoredResponse(201, "/there", "{}"))
    once = IdempotencyStore(tmp_path)
    assert once.find("k", "request") == StoredResponse(201, "/there", "{}") and once.find("other", "request") is None
    with once.running("k"), pytest.raises(Conflict, match="under way"), once.running("k"):
        pass
    with once.running("k"):
        pass


def test_a_job_tells_its_changes_until_it_ends(client: httpx.Client, tmp_path: Path) -> None:
    location = send(client, write_video(tmp_path / "v.mp4", seed=5, seconds=6)).headers["location"]
    with client.stream("GET", f"{location}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = list(answer.iter_lines())
    jobs = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert jobs[-1]["state"] == "succeeded" and len({json.dumps(job) for job in jobs}) == len(jobs)
    assert {line for line in lines if line.startswith("event")} == {"event: job"}
    problem(client.get("/v1/jobs/none/events"), 404)


def test_the_docs_need_no_network(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy and "http" not in policy
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) >= 4
    for address in addresses:
        assert address.startswith("/") and not address.startswith("//")
        assert client.get(address).status_code == 200, address
