"""Whatever is sent: a wrong request gets a problem of the 400s that says what is wrong, never a 500."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_media import (
    write_empty,
    write_gif_bomb,
    write_image,
    write_sound,
    write_text,
    write_truncated,
    write_video,
)
from served import ITEMS, SEARCH, added, finished_job, problem, send, served

from vicmae import errors
from vicmae.server.problems import KINDS, problem_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[httpx.Client]:
    with served(data, max_upload_bytes=200_000, max_query_seconds=5.0, max_batch_inputs=4, max_limit=50) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad files."""
    folder = tmp_path_factory.mktemp("files")
    write_image(folder / "good.jpg", 1)
    write_video(folder / "good.mp4", seconds=6)
    write_empty(folder / "empty.jpg")
    write_text(folder / "text.jpg")
    write_gif_bomb(folder / "bomb.gif")
    write_sound(folder / "sound.wav")
    write_truncated(folder / "cut.jpg", folder / "good.jpg")
    write_truncated(folder / "cut.mp4", folder / "good.mp4", 0.1)
    (folder / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(300_000))
    return folder


@pytest.fixture(scope="module")
def item(client: httpx.Client, folder: Path) -> str:
    item_id: str = added(client, folder / "good.jpg")
    return item_id


def test_every_error_of_ours_has_a_kind() -> None:
    def below(kind: type[errors.VicmaeError]) -> Iterator[type[errors.VicmaeError]]:
        for inner in kind.__subclasses__():
            yield inner
            yield from below(inner)

    for kind in below(errors.VicmaeError):
        found = problem_of(kind("words")).kind
        assert 400 <= found.status < 600
    assert len({kind.slug for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/collections/", 404),
        ("GET", "/page/../settings.py", 404),
        ("GET", "/page/%2e%2e/app.py", 404),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/embeddings", 405),
        ("GET", "/v1/collections/nope", 404),
        ("GET", "/v1/collections/NOT-A-NAME", 400),
        ("PUT", "/v1/collections/..", 404),
        ("PUT", "/v1/collections/a%00b", 400),
        ("PUT", "/v1/collections/" + "x" * 64, 400),
        ("DELETE", "/v1/collections/nope", 404),
        ("GET", ITEMS + "/nope", 404),
        ("GET", ITEMS + "/a%00b", 404),
        ("GET", ITEMS + "/nope/thumbnail", 404),
        ("GET", ITEMS + "/nope/media", 404),
        ("DELETE", ITEMS + "/nope", 404),
        ("GET", ITEMS + "?limit=0", 422),
        ("GET", ITEMS + "?limit=-3", 422),
        ("GET", ITEMS + "?limit=51", 400),
        ("GET", ITEMS + "?limit=many", 422),
        ("GET", ITEMS + "?cursor=nonsense", 400),
        ("GET", ITEMS + "?cursor=", 400),
        ("GET", ITEMS + "?cursor=" + base64.urlsafe_b64encode(rb'["\ud800", "x"]').decode(), 400),
        ("GET", ITEMS + "?cursor=" + base64.urlsafe_b64encode(b"[" * 9000).decode(), 422),
        ("GET", "/v1/jobs/nope", 404),
        ("DELETE", "/v1/jobs/nope", 404),
        ("GET", "/v1/jobs?limit=0", 422),
    ],
)
def test_wrong_addresses(client: httpx.Client, method: str, path: str, status: int) -> None:
    problem(client.request(method, path), status)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("empty.jpg", 422),
        ("text.jpg", 415),
        ("bomb.gif", 413),
        ("sound.wav", 415),
        ("cut.jpg", 422),
        ("cut.mp4", 422),
        ("large.jpg", 413),
    ],
)
def test_bad_files_are_refused_at_once_everywhere(
    client: httpx.Client, data: Path, folder: Path, name: str, status: int
) -> None:
    before = client.get("/v1/collections/default").json()["items"]
    for url in (ITEMS, SEARCH, "/v1/embeddings/upload"):
        problem(send(client, folder / name, url), status)
    assert client.get("/v1/collections/default").json()["items"] == before
    assert not list((data / "incoming").iterdir())


def test_too_large_counts_also_without_a_length(client: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        for _ in range(40):
            yield bytes(10_000)

    multipart = {"content-type": "multipart/form-data; boundary=x"}
    assert "max_upload_bytes" in problem(client.post(ITEMS, content=body(), headers=multipart), 413)["detail"]
    as_json = {"content-type": "application/json"}
    for url in (SEARCH, "/v1/embeddings"):
        problem(client.post(url, content=body(), headers=as_json), 413)


def test_a_client_that_leaves_leaves_nothing_behind(client: httpx.Client, data: Path) -> None:
    address = urlsplit(str(client.base_url))
    head = (
        f"POST {ITEMS} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-length: 150000\r\n"
        "content-type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + bytes(90_000))
    for _ in range(200):
        client.get("/livez")
        if not list((data / "incoming").iterdir()):
            break
    assert not list((data / "incoming").iterdir())


MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
PART = 'content-disposition: form-data; name="{}"'


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{}", {"content-type": "application/json"}, 400),
        (b"", MULTIPART, 400),
        (b"no boundary anywhere", MULTIPART, 400),
        (b"--x--\r\n", MULTIPART, 400),
        (b"--x\r\n\r\nno name\r\n--x--\r\n", MULTIPART, 400),
        (b"--x\r\n" + PART.format("file").encode() + b"\r\n\r\nno file name\r\n--x--\r\n", MULTIPART, 400),
        (b"--x\r\n" + PART.format("id").encode() + b"\r\n\r\n\xff\xfe\r\n--x--\r\n", MULTIPART, 400),
        (
            b"--x\r\n" + PART.format("wrong").encode() + b'; filename="a"\r\n\r\nx\r\n--x--\r\n',
            MULTIPART,
            400,
        ),
        (b"--x--\r\n", {"content-type": "multipart/form-data"}, 400),
        (b"--x--\r\n", {"content-type": "multipart/form-data; boundary=" + "y" * 400}, 400),
        (b"--x--\r\n", {"content-type": "multipart/mixed; boundary=x"}, 400),
    ],
)
def test_broken_forms(client: httpx.Client, content: bytes, headers: dict[str, str], status: int) -> None:
    problem(client.post(ITEMS, content=content, headers=headers), status)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"id": "a/b"}, 400),
        ({"id": "a\x00b"}, 400),
        ({"id": "x" * 129}, 400),
        ({"metadata": "{"}, 400),
        ({"metadata": "[1]"}, 400),
        ({"metadata": '{"a": NaN}'}, 400),
        ({"metadata": '{"a": "\\ud800"}'}, 400),
        ({"metadata": '{"a":' * 40 + "1" + "}" * 40}, 400),
        ({"metadata": "[" * 50_000}, 400),
        ({"metadata": json.dumps({"a": "x" * 70_000})}, 400),
        ({"idd": "x"}, 400),
    ],
)
def test_wrong_form_fields(client: httpx.Client, folder: Path, fields: dict[str, str], status: int) -> None:
    problem(send(client, folder / "good.jpg", **fields), status)


def test_odd_file_names_are_shown_safely(client: httpx.Client, folder: Path) -> None:
    content = write_image(folder / "odd.png", 77).read_bytes()
    for name in (
        "../../etc/passwd",
        "a\x00b.png",
        '"quoted".png',
        "zeilen\numbruch.png",
        "C:\\x\\y.png",
        "ünï.png",
    ):
        item = client.post(ITEMS, files={"file": (name, content)}).json()
        assert "/" not in item["name"] and "\x00" not in item["name"] and "\n" not in item["name"]
        answer = client.get(item["media_url"])
        assert answer.content == content and answer.headers["content-type"] == "image/png"
        assert client.delete(f"{ITEMS}/{item['id']}").status_code == 204


DATA_URL = "data:image/png;base64,"
NESTED: Any = [[[[[1]]]]]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("", 422),
        ("[]", 422),
        ("null", 422),
        ("NaN", 422),
        ('"text"', 422),
        ("[" * 100_000, 400),
        ({}, 422),
        ({"input": "hello"}, 400),
        ({"input": []}, 400),
        ({"input": ""}, 400),
        ({"input": None}, 400),
        ({"input": 3}, 400),
        ({"input": {"a": 1}}, 400),
        ({"input": [1, 2, 3]}, 400),
        ({"input": NESTED}, 400),
        ({"input": [DATA_URL] * 5}, 400),
        ({"input": DATA_URL}, 422),
        ({"input": DATA_URL + "!!!"}, 400),
        ({"input": "data:no-comma"}, 400),
        ({"input": "data:text/plain,hello%20there"}, 415),
        ({"input": "\ud800"}, 400),
        ({"input": "http://127.0.0.1/x.png"}, 403),
        ({"input": "file:///etc/passwd"}, 400),
        ({"input": [{"url": "http://127.0.0.1/x.png"}]}, 403),
        ({"input": DATA_URL, "model": "gpt-4"}, 404),
        ({"input": DATA_URL, "dimensions": 3}, 400),
        ({"input": DATA_URL, "encoding_format": "xml"}, 422),
        ({"input": DATA_URL, "unknown": 1}, 422),
    ],
)
def test_wrong_embeddings_requests(client: httpx.Client, body: Any, status: int) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/v1/embeddings", content=text, headers={"content-type": "application/json"})
    told = problem(answer, status)
    assert told["error"]["message"] == told["detail"] and told["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("", 400),
        ("[]", 422),
        ('{"embedding": [NaN, 1]}', 422),
        ('{"embedding": [1e999]}', 422),
        ({}, 400),
        ({"embedding": []}, 400),
        ({"embedding": [1.0, 2.0]}, 400),
        ({"embedding": [0.0] * 192}, 400),
        ({"embedding": [1e300] * 192}, 400),
        ({"embedding": ["a"] * 192}, 422),
        ({"embedding": [1.0] * 192, "target": "clip"}, 400),
        ({"embedding": [1.0] * 192, "item": "x"}, 400),
        ({"embedding": [1.0] * 192, "limit": 51}, 400),
        ({"embedding": [1.0] * 192, "limit": 10**30}, 400),
        ({"embedding": [1.0] * 192, "limit": 0}, 422),
        ({"embedding": [1.0] * 192, "limit": -1}, 422),
        ({"embedding": [1.0] * 192, "limit": "x"}, 422),
        ({"item": "nope"}, 404),
        ({"item": 3}, 422),
        ({"item": "nope", "start_seconds": -1}, 422),
        ({"item": "nope", "start_seconds": 3, "end_seconds": 2}, 400),
        ({"item": "\ud800"}, 400),
        ({"image": "http://example.com/a.png"}, 403),
        ({"image": DATA_URL}, 422),
        ({"image": {"url": "x"}}, 400),
        ({"query": {"item": "nope"}}, 404),
        ({"query": {"item": "nope"}, "item": "x"}, 400),
        ({"query": {"query": {}}}, 400),
        ({"query": {"nonsense": 1}}, 422),
        ({"query": 3}, 422),
        ({"target": "moon", "item": "x"}, 422),
    ],
)
def test_wrong_searches(client: httpx.Client, body: Any, status: int) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    problem(client.post(SEARCH, content=text, headers={"content-type": "application/json"}), status)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"limit": "0"}, 422),
        ({"limit": "ten"}, 422),
        ({"limit": "51"}, 400),
        ({"target": "moon"}, 422),
        ({"start_seconds": "nan"}, 422),
        ({"start_seconds": "-1"}, 422),
        ({"start_seconds": "1e9"}, 400),
        ({"start_seconds": "3", "end_seconds": "3"}, 400),
        ({"item": "x"}, 400),
        ({}, 413),
    ],
)
def test_wrong_searches_by_file(client: httpx.Client, folder: Path, fields: dict[str, str], status: int) -> None:
    problem(send(client, folder / "good.mp4", SEARCH, **fields), status)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"metadata": 1}, 422),
        ({"metadata": {"a": "\ud800"}}, 422),
        ({"metadata": {"a": "x" * 70_000}}, 422),
        ({"name": "x"}, 422),
    ],
)
def test_wrong_changes(client: httpx.Client, item: str, body: Any, status: int) -> None:
    problem(
        client.patch(f"{ITEMS}/{item}", content=json.dumps(body), headers={"content-type": "application/json"}),
        status,
    )


@pytest.mark.parametrize(
    "query", ["seconds=-1", "seconds=nan", "seconds=inf", "seconds=x", "size=0", "size=1000000", "size=x"]
)
def test_wrong_thumbnails(client: httpx.Client, item: str, query: str) -> None:
    problem(client.get(f"{ITEMS}/{item}/thumbnail?{query}"), 422)


def test_a_vanished_file_is_gone_but_its_item_stays(client: httpx.Client, data: Path, folder: Path) -> None:
    item_id = added(client, write_image(folder / "vanishes.png", 55))
    uploads = data / "collections" / "default" / "uploads"
    for path in uploads.iterdir():
        if path.read_bytes() == (folder / "vanishes.png").read_bytes():
            path.unlink()
    problem(client.get(f"{ITEMS}/{item_id}/media"), 410)
    assert client.get(f"{ITEMS}/{item_id}/thumbnail?size=2000").headers["content-type"] == "image/jpeg"
    assert client.get(f"{ITEMS}/{item_id}").status_code == 200
    assert client.delete(f"{ITEMS}/{item_id}").status_code == 204


def test_an_id_names_one_file_only(client: httpx.Client, folder: Path) -> None:
    first, second = write_image(folder / "one.png", 61), write_image(folder / "two.png", 62)
    assert send(client, first, id="mine").status_code == 201
    assert send(client, first, id="mine").status_code == 200
    problem(send(client, second, id="mine"), 409)
    client.delete(f"{ITEMS}/mine")


def test_a_job_that_ended_cannot_be_cancelled(client: httpx.Client, folder: Path) -> None:
    location = send(client, folder / "good.mp4").headers["location"]
    finished_job(client, location)
    problem(client.delete(location), 409)


def test_foreign_pages_are_kept_out(client: httpx.Client, item: str) -> None:
    rebound = {"host": "evil.example"}
    problem(client.get("/v1/collections", headers=rebound), 403)
    foreign = {"origin": "https://evil.example"}
    problem(client.delete(f"{ITEMS}/{item}", headers=foreign), 403)
    problem(client.post(SEARCH, json={"item": item}, headers={"origin": "null"}), 403)
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.post(SEARCH, json={"item": item}, headers=own).status_code == 200


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from("input model item embedding image query limit target start_seconds metadata".split())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=VALUES | st.dictionaries(NAMES, VALUES, max_size=4))
def test_no_json_whatsoever_breaks_the_server(client: httpx.Client, item: str, body: Any) -> None:
    text = json.dumps(body)
    for method, url in (("POST", "/v1/embeddings"), ("POST", SEARCH), ("PATCH", f"{ITEMS}/{item}")):
        answer = client.request(method, url, content=text, headers={"content-type": "application/json"})
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            problem(answer, answer.status_code)


@pytest.mark.parametrize(
    ("limit", "file", "setting"),
    [
        ("max_upload_bytes", "good.jpg", 500),
        ("max_pixels", "good.jpg", 100),
        ("max_frames", "good.mp4", 3),
        ("max_duration_seconds", "good.mp4", 2.0),
        ("max_query_seconds", "good.mp4", 2.0),
    ],
)
def test_each_limit_of_media_is_told_by_its_setting(
    tmp_path: Path, folder: Path, limit: str, file: str, setting: Any
) -> None:
    with served(tmp_path, None, **{limit: setting}) as client:
        told = problem(send(client, folder / file, "/v1/embeddings/upload"), 413)
        assert told["limit"] == limit and limit in told["detail"]
        assert "limit" not in problem(client.get("/v1/collections/none"), 404)
