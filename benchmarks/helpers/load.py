"""What loads a server and watches it: made pictures, requests as bytes, callers, servers as processes, processor time.

Used by the benchmarks of the server. Callers are wrk where it is installed (a tenth of a millisecond a request) and
plain sockets elsewhere; both tell the processor time they took, since they share the cores with what they measure.
"""

import asyncio
import io
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from time import monotonic, perf_counter, sleep

import httpx
import numpy as np
from PIL import Image

SIZE = (640, 480)
IDLE_SECONDS = 4.0  # between two requests of a connection at most: the server closes those that were idle for 5
_TICKS = os.sysconf("SC_CLK_TCK")
# Gives wrk the prepared requests of a folder, one after the other.
_SCRIPT = """
local wires, next = {}, 0
function init(given)
  for number = 1, tonumber(given[2]) do
    local file = io.open(given[1] .. "/" .. number, "rb")
    wires[number] = file:read("*a")
    file:close()
  end
end
function request()
  next = next % #wires + 1
  return wires[next]
end
"""
# The same at a pace of its own, counting the answers by status.
_FLOOD = """
local threads = {}
told = {}
function setup(thread) table.insert(threads, thread) end
function delay() return math.random(0, math.min(2 * PAUSE_MS, MOST_MS)) end
function response(status) told[tostring(status)] = (told[tostring(status)] or 0) + 1 end
function done()
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("told")) do print("told " .. status .. " " .. count) end
  end
end
"""


def pictures(count: int = 32, seed: int = 7) -> list[bytes]:
    """JPEGs as large as a photo of their size: soft blobs and some grain."""
    dice, made = np.random.default_rng(seed), []
    for _ in range(count):
        blobs = Image.fromarray(dice.integers(0, 256, (12, 16, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        grain = np.asarray(blobs, np.int16) + dice.normal(0, 6, (SIZE[1], SIZE[0], 1)).astype(np.int16)
        file = io.BytesIO()
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


def form(path: str, jpeg: bytes, **fields: str) -> bytes:
    """One POST of a form with a file, as bytes on the wire."""
    text = "".join(f'--x\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    text += '--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    return wire("POST", path, "multipart/form-data; boundary=x", text.encode() + jpeg + b"\r\n--x--\r\n")


def posted(path: str, body: Mapping[str, object]) -> bytes:
    """One POST of JSON."""
    return wire("POST", path, "application/json", json.dumps(body).encode())


def wire(method: str, path: str, kind: str = "text/plain", body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Caller:
    """A kept-alive connection that costs the client little."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, wire: bytes) -> int:
        """Sends a request -> the status of its answer. One that the server closed while idle is opened anew."""
        if self.open is not None and self.open[0].at_eof():
            await self.hang_up()
        if self.open is None:
            self.open = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        reader, writer = self.open
        writer.write(wire)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length:" in head:
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return int(head.split(b" ", 2)[1])

    async def close(self) -> None:
        """Nothing may have come that was not asked for."""
        if self.open is None:
            return
        reader, writer = self.open
        try:
            if not reader.at_eof():
                writer.write_eof()
                assert await reader.read() == b"", "an answer that nobody had asked for"
        finally:
            await self.hang_up()

    async def hang_up(self) -> None:
        """Without a look at what came."""
        if self.open is not None:
            self.open[1].close()
            with suppress(ConnectionError):
                await self.open[1].wait_closed()
            self.open = None


@dataclass
class Crowd:
    """What callers met who ask again as soon as they are answered."""

    asked: int = 0
    told: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    took: list[float] = field(default_factory=list)  # seconds each good answer took

    @property
    def per_second(self) -> float:
        """Good answers."""
        return self.told[200] / self.seconds

    def quantile_ms(self, share: float) -> float:
        return float(np.quantile(self.took, share)) * 1000


async def crowd(port: int, wires: list[bytes], callers: int, seconds: float, pause_seconds: float = 0.5) -> Crowd:
    """That many callers over sockets for that long; every request must be answered, and once.

    pause_seconds: after which one who was refused asks again; Retry-After says 1.
    """
    met = Crowd()
    until = monotonic() + seconds

    async def one(number: int) -> None:
        caller = Caller(port)
        for each in cycle(wires[number % len(wires) :] + wires[: number % len(wires)]):
            if monotonic() >= until:
                break
            met.asked += 1
            began = perf_counter()
            status = await caller.ask(each)
            met.told[status] += 1
            if status == 200:
                met.took.append(perf_counter() - began)
            if status == 503:
                await asyncio.sleep(pause_seconds)
        await caller.close()

    began = perf_counter()
    await asyncio.gather(*(one(number) for number in range(callers)))
    met.seconds = perf_counter() - began
    assert met.told.total() == met.asked, "a request without an answer"
    return met


async def steady(port: int, wires: list[bytes], per_second: float, seconds: float) -> list[float]:
    """Requests at a fixed rate, whatever becomes of those before -> seconds each took."""
    free: list[Caller] = []
    took: list[float] = []

    async def one(wire: bytes) -> None:
        began = perf_counter()
        caller = free.pop() if free else Caller(port)
        assert await caller.ask(wire) == 200
        took.append(perf_counter() - began)
        free.append(caller)

    began, tasks = perf_counter(), []
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, began + number / per_second - perf_counter()))
        tasks.append(asyncio.create_task(one(wires[number % len(wires)])))
    await asyncio.gather(*tasks)
    for caller in free:
        await caller.close()
    return took


@dataclass(frozen=True)
class Rate:
    """Pictures a second, and processor milliseconds a picture of whoever made them and of who asked."""

    per_second: float
    server_ms: float
    client_ms: float = 0.0


def hammered(port: int, pid: int, wires: list[bytes], callers: int, seconds: float) -> Rate:
    """How much a crowd gets out of the server with that process id. All answers must be good."""
    before = processor_seconds(pid)
    if shutil.which("wrk"):
        answered, per_second, client = _wrk(port, wires, callers, seconds)
    else:
        began = _own(resource.RUSAGE_SELF)
        met = asyncio.run(crowd(port, wires, callers, seconds))
        assert set(met.told) == {200}, met.told
        answered, per_second, client = met.asked, met.per_second, _own(resource.RUSAGE_SELF) - began
    spent = processor_seconds(pid) - before
    return Rate(per_second, spent / answered * 1000, client / answered * 1000)


async def flood(
    port: int, wires: list[bytes], callers: int, others: int, seconds: float, pause_seconds: float
) -> tuple[Crowd, Counter[int]]:
    """A crowd of `callers` whose answers are timed, beside `others` who ask every pause_seconds whatever they are told.

    -> what the crowd met, and the answers of the others by status; these are wrk where it is installed.
    """
    if not shutil.which("wrk"):
        both = crowd(port, wires, callers, seconds, pause_seconds), crowd(port, wires, others, seconds, pause_seconds)
        met, rest = await asyncio.gather(*both)
        return met, rest.told
    script = f"PAUSE_MS = {round(pause_seconds * 1000)}\nMOST_MS = {round(IDLE_SECONDS * 1000)}\n{_FLOOD}"
    answers = asyncio.to_thread(_asked_by_wrk, port, wires, others, seconds, script)
    met, (said, _) = await asyncio.gather(crowd(port, wires, callers, seconds, pause_seconds), answers)
    return met, Counter({int(status): int(count) for status, count in re.findall(r"told (\d+) (\d+)", said)})


def _wrk(port: int, wires: list[bytes], callers: int, seconds: float) -> tuple[int, float, float]:
    """(answers, answers a second, processor seconds that it took)."""
    said, client = _asked_by_wrk(port, wires, callers, seconds)
    assert "Non-2xx" not in said, said
    answered = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert answered and rate, said
    return int(answered[1]), float(rate[1]), client


def _asked_by_wrk(port: int, wires: list[bytes], callers: int, seconds: float, more: str = "") -> tuple[str, float]:
    """(what wrk said, processor seconds that it took). No connection may have broken."""
    with tempfile.TemporaryDirectory() as folder:
        for number, each in enumerate(wires, 1):
            (Path(folder) / str(number)).write_bytes(each)
        script = Path(folder) / "wires.lua"
        script.write_text(_SCRIPT + more)
        address = f"http://127.0.0.1:{port}"
        words = ["wrk", "-t1", f"-c{callers}", f"-d{max(1, round(seconds))}s", "--timeout", "60s", "-s", str(script)]
        began = _own(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*words, address, folder, str(len(wires))], capture_output=True, text=True, check=True)
        client = _own(resource.RUSAGE_CHILDREN) - began
    assert "Socket errors" not in done.stdout, done.stdout
    return done.stdout, client


def _own(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def processor_seconds(pid: int) -> float:
    """What a process and its living children have taken so far."""
    return own_processor_seconds(pid) + sum(map(processor_seconds, children(pid)))


def own_processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(word) for task in tasks for word in task.read_text().split())


@dataclass(frozen=True)
class Running:
    port: int
    pid: int


@contextmanager
def running(*words: str, port: int, ready: str = "/livez", environment: Mapping[str, str] = {}) -> Iterator[Running]:
    """A process that answers on the port, until the end."""
    quiet = subprocess.DEVNULL
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, stdout=quiet, stderr=said, env={**os.environ, **environment})
        try:
            for _ in range(1200):
                try:
                    httpx.get(f"http://127.0.0.1:{port}{ready}", timeout=1).raise_for_status()
                    break
                except httpx.HTTPError:
                    if process.poll() is not None:
                        said.seek(0)
                        raise SystemExit(f"{words[0]} ended: {said.read()[-2000:].decode()}") from None
                    sleep(0.1)
            yield Running(port, process.pid)
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
