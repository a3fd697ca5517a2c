"""Too much at once: refused early and told when to come back, nothing lost, and all well again afterwards."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from made_media import write_image
from numpy.typing import NDArray
from served import problem, send, served

from vicmae.export.engine import FakeEngine

UPLOAD = "/v1/embeddings/upload"
ROOM = 4


class Gated(FakeEngine):
    """Works when it is warmed up, and then only while the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.busy = threading.Event(), threading.Event()
        self.pictures = 0
        self.gate.set()

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.busy.set()
        assert self.gate.wait(20)
        self.pictures += len(pixels)
        return super()._run(pixels)


@contextmanager
def stuck(tmp_path: Path) -> Iterator[tuple[httpx.Client, Gated, Path, list[Future[httpx.Response]]]]:
    """A server whose ROOM places are taken by requests that wait for the engine; they end when the gate opens."""
    engine, picture = Gated(), write_image(tmp_path / "a.png", 1)
    with served(tmp_path / "data", engine, max_queue=ROOM) as client, ThreadPoolExecutor(ROOM) as callers:
        assert send(client, picture, UPLOAD).status_code == 200
        engine.gate.clear()
        calls = [callers.submit(send, client, picture, UPLOAD) for _ in range(ROOM)]
        # A refused one tells that all places are taken, and costs nothing.
        while send_nothing(client).status_code != 503:
            pass
        try:
            yield client, engine, picture, calls
        finally:
            engine.gate.set()


def send_nothing(client: httpx.Client) -> httpx.Response:
    return client.post(UPLOAD, content=b"", headers={"content-type": "multipart/form-data; boundary=x"})


def test_what_has_no_room_is_refused_before_its_body_and_told_when_to_come_back(tmp_path: Path) -> None:
    with stuck(tmp_path) as (client, _, _, calls):
        address = urlsplit(str(client.base_url))
        head = (
            f"POST {UPLOAD} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-length: 1000000\r\n"
            "content-type: multipart/form-data; boundary=x\r\n\r\n"
        )
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            connection.sendall(head.encode())  # not one byte of the million
            assert connection.recv(4096).startswith(b"HTTP/1.1 503")
        answer = send_nothing(client)
        assert problem(answer, 503)["type"].endswith("overloaded") and int(answer.headers["retry-after"]) >= 1
        assert client.get("/readyz").status_code == 200, "an overload is no illness"
        assert client.get("/v1/collections").status_code == 200
    assert [call.result().status_code for call in calls] == [200] * ROOM, "what was taken in is finished"


def test_who_still_sends_gets_the_refusal_and_no_reset(tmp_path: Path) -> None:
    with served(tmp_path / "data", max_upload_bytes=2**20) as client:
        address = urlsplit(str(client.base_url))
        head = f"POST {UPLOAD} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: multipart/form-data; boundary=x\r\n"
        head += "connection: close\r\n"  # as proxies ask; the server may not do so while they send
        body = bytes(8 * 2**20)
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_after_an_overload_everything_is_as_before(tmp_path: Path) -> None:
    with stuck(tmp_path) as (client, engine, picture, calls):
        with ThreadPoolExecutor(16) as crowd:
            refused = Counter(crowd.map(lambda _: send(client, picture, UPLOAD).status_code, range(16)))
        assert refused == {503: 16}
        before = engine.pictures
        engine.gate.set()
        assert [call.result().status_code for call in calls] == [200] * ROOM
        with ThreadPoolExecutor(ROOM) as callers:
            after = [callers.submit(send, client, picture, UPLOAD) for _ in range(ROOM)]
        assert [call.result().status_code for call in after] == [200] * ROOM, "all places are free again"
        assert engine.pictures == before + 2 * ROOM, "those who were refused cost the engine nothing"


def test_those_who_leave_free_their_places_and_the_engine(tmp_path: Path) -> None:
    with stuck(tmp_path) as (client, engine, picture, calls):
        engine.gate.set()
        for call in calls:
            call.result()
        engine.gate.clear()
        engine.busy.clear()
        with ThreadPoolExecutor(1) as callers:
            stays = callers.submit(send, client, picture, UPLOAD)
            assert engine.busy.wait(10)
            before = engine.pictures
            for _ in range(ROOM - 1):
                try:
                    with picture.open("rb") as file:
                        client.post(UPLOAD, files={"file": file}, timeout=httpx.Timeout(10, read=0.3))
                except httpx.ReadTimeout:
                    pass
            for _ in range(10):  # until the server has noticed the last one too
                client.get("/livez")
            engine.gate.set()
            assert stays.result().status_code == 200
        assert send(client, picture, UPLOAD).status_code == 200
        assert engine.pictures == before + 2, "pictures of those who left were computed"
