"""What the benchmarks of the server measure with: callers who count every answer, processor time, growth of memory."""

import asyncio
import os
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from helpers.load import Caller, crowd, flood, form, own_processor_seconds, pictures, processor_seconds, steady, wire
from helpers.server_soak import Soaked, coming_and_going
from served import ITEMS, SEARCH, served

UPLOAD = "/v1/embeddings/upload"


def test_a_crowd_counts_what_it_asked_and_what_came(tmp_path: Path) -> None:
    jpegs = pictures(2)
    with served(tmp_path / "data") as client:
        port = urlsplit(str(client.base_url)).port or 0
        met = asyncio.run(crowd(port, [form(UPLOAD, jpeg) for jpeg in jpegs], 2, 0.2))
        assert set(met.told) == {200} and met.told[200] == met.asked == len(met.took) >= 2
        assert met.quantile_ms(0.5) <= met.quantile_ms(0.99) and met.per_second > 0
        met, told = asyncio.run(flood(port, [form(UPLOAD, jpeg) for jpeg in jpegs], 1, 2, 1.0, 0.05))
        assert set(met.told) == set(told) == {200}
        assert len(asyncio.run(steady(port, [form(SEARCH, jpegs[0], refine="false")], 20, 0.2))) == 4

        async def come_and_go() -> list[int]:
            caller, asked = Caller(port), coming_and_going(jpegs, 0)
            told = [await caller.ask(next(asked)) for _ in range(4)]
            await caller.close()
            return told

        assert asyncio.run(come_and_go()) == [201, 204, 201, 204]
        assert client.get(ITEMS).json()["data"] == []


def test_an_answer_that_nobody_asked_for_is_noticed() -> None:
    once = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_twice() -> None:
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(once + once)
            connection.close()

        thread = threading.Thread(target=answer_twice)
        thread.start()

        async def ask() -> None:
            caller = Caller(server.getsockname()[1])
            assert await caller.ask(wire("GET", "/")) == 200
            thread.join()
            await caller.close()

        with pytest.raises(AssertionError, match="nobody had asked"):
            asyncio.run(ask())


def test_growth_is_of_the_last_fifth_over_the_first_behind_the_warm_up() -> None:
    seconds = [float(second) for second in range(1200)]
    flat = [50 if second < 100 else 100 for second in seconds]
    assert Soaked(seconds).growth(flat) == 0
    assert Soaked(seconds).growth([100 + int(second / 10) for second in seconds]) > 0.5


def test_processor_time_holds_that_of_the_children() -> None:
    before = own_processor_seconds(os.getpid())  # read first: it grows while the test runs
    assert processor_seconds(os.getpid()) >= before > 0
