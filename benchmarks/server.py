"""How much of decode + engine is left over HTTP, against plain FastAPI + PyTorch, and how does it bear a crowd?

    python benchmarks/server.py [--seconds 4] [--rounds 3] [--connections 16]

Made JPEGs of 640 x 480 go to `vicmae serve` over kept-alive connections, to the same decoder and engine in this
process (once with decoding in child processes as the server does it, once without that protection), and to a server as
one writes it in an afternoon: FastAPI, Pillow, a timm network of the very same size in PyTorch eager. The ways take
turns, round by round; the client shares the cores with them. Then: searches at half the rate they can be answered at,
latency in the median and the worst hundredth; and four times as many callers as the server takes in. Writes
benchmarks/results/server.json.
"""

import argparse
import asyncio
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from time import monotonic, perf_counter, sleep

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from vicmae.export.choice import open_engine
from vicmae.export.engine import Engine
from vicmae.index.query import Decoded, decode
from vicmae.media.decoding import HERE, Decoder
from vicmae.media.limits import MediaLimits
from vicmae.media.sandbox import Sandbox
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SIZE = (640, 480)
UPLOAD = "/v1/embeddings/upload"
SEARCH = "/v1/collections/default/search"
MAX_QUEUE = 64
INDEXED = 64
ENGINE = "onnxruntime-fp32"


def pictures(count: int = 32) -> list[bytes]:
    """JPEGs as large as a photo of their size: soft blobs and some grain."""
    dice, made = np.random.default_rng(7), []
    for _ in range(count):
        blobs = Image.fromarray(dice.integers(0, 256, (12, 16, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        grain = np.asarray(blobs, np.int16) + dice.normal(0, 6, (SIZE[1], SIZE[0], 1)).astype(np.int16)
        file = io.BytesIO()
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


def request(path: str, jpeg: bytes, **fields: str) -> bytes:
    """One POST of a form, as bytes on the wire."""
    form = "".join(f'--x\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    form += '--x\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = form.encode() + jpeg + b"\r\n--x--\r\n"
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=x\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Caller:
    """A kept-alive connection that costs the client little."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, wire: bytes) -> int:
        """Sends a request -> the status of its answer. A connection that was closed while idle is opened anew."""
        if self.reader is None or self.writer is None or self.reader.at_eof():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        self.writer.write(wire)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        await self.reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


async def crowd(port: int, wires: list[bytes], callers: int, seconds: float) -> tuple[float, Counter[int]]:
    """Callers who ask again as soon as they are answered -> good answers a second, and all statuses."""
    until, told = monotonic() + seconds, Counter[int]()

    async def one(number: int) -> None:
        caller = Caller(port)
        for wire in cycle(wires[number % len(wires) :] + wires[: number % len(wires)]):
            if monotonic() >= until:
                break
            status = await caller.ask(wire)
            told[status] += 1
            if status == 503:
                await asyncio.sleep(0.2)  # a fifth of what Retry-After asks for: an impatient crowd
        caller.close()

    began = perf_counter()
    await asyncio.gather(*(one(number) for number in range(callers)))
    return told[200] / (perf_counter() - began), told


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
        caller.close()
    return took


def in_process(engine: Engine, decoder: Decoder, jpegs: list[bytes], seconds: float) -> float:
    """Decoders on every core, full batches for the engine, nothing in between -> pictures a second."""
    limits, done, began = MediaLimits(), 0, perf_counter()
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:

        def batch() -> list[Future[Decoded]]:
            some = jpegs[: engine.max_batch]
            return [pool.submit(decode, jpeg, engine.spec, limits=limits, decoder=decoder) for jpeg in some]

        ahead = [batch(), batch()]
        while perf_counter() - began < seconds:
            now = ahead.pop(0)
            ahead.append(batch())
            engine.embed(np.concatenate([task.result().pixels for task in now]))
            done += len(now)
        speed = done / (perf_counter() - began)
        for tasks in ahead:
            for task in tasks:
                task.cancel()
    return speed


def serve_rival(port: int) -> None:
    """The other server, as one writes it in an afternoon. Runs in a process of its own."""
    import timm
    import torch
    import uvicorn
    from fastapi import FastAPI, UploadFile
    from torchvision.transforms import functional

    shape = json.loads((SHIPPED_BUNDLE / "manifest.json").read_text())
    arch, spec = shape["architecture"], shape["spec"]
    model = timm.models.VisionTransformer(
        img_size=spec["size"], patch_size=arch["patch"], embed_dim=arch["dim"], depth=arch["depth"],
        num_heads=arch["heads"], num_classes=0, global_pool="avg",
    ).eval()  # fmt: skip
    app = FastAPI()

    @app.post(UPLOAD)
    def embed(file: UploadFile) -> dict[str, list[float]]:
        picture = Image.open(file.file).convert("RGB").resize((spec["size"],) * 2, Image.Resampling.BICUBIC)
        pixels = functional.normalize(functional.to_tensor(picture), spec["mean"], spec["std"])
        with torch.inference_mode():
            vector = torch.nn.functional.normalize(model(pixels[None]))[0]
        return {"embedding": vector.tolist()}

    @app.get("/livez")
    def livez() -> None:
        return None

    uvicorn.run(app, port=port, log_level="error")


@contextmanager
def running(*words: str, port: int) -> Iterator[int]:
    """A process that answers on the port, until the end."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/livez", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the server ended"
                sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def throughput(ours: int, rival: int, jpegs: list[bytes], args: argparse.Namespace) -> dict[str, list[float]]:
    """Pictures a second of each way, a number a round."""
    wires = [request(UPLOAD, jpeg) for jpeg in jpegs]
    speeds: dict[str, list[float]] = {
        "http": [],
        "in process, sandboxed": [],
        "in process": [],
        "fastapi + pytorch": [],
    }
    with open_engine(SHIPPED_BUNDLE, engine=ENGINE, device="cpu") as engine, Sandbox(4) as sandbox:
        for number in range(args.rounds + 1):
            found = {
                "http": asyncio.run(crowd(ours, wires, args.connections, args.seconds))[0],
                "in process, sandboxed": in_process(engine, sandbox, jpegs, args.seconds),
                "in process": in_process(engine, HERE, jpegs, args.seconds),
                "fastapi + pytorch": asyncio.run(crowd(rival, wires, args.connections, args.seconds))[0],
            }
            for way, speed in found.items():
                if number:  # the first round warms everybody up
                    speeds.setdefault(way, []).append(speed)
    return speeds


def latency(port: int, jpegs: list[bytes], args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of searches at half the rate that a crowd gets."""
    for number, jpeg in enumerate((jpegs * INDEXED)[:INDEXED]):
        asyncio.run(Caller(port).ask(request("/v1/collections/default/items", jpeg, id=f"i{number}")))
    wires = [request(SEARCH, jpeg, refine="false") for jpeg in jpegs]
    asyncio.run(crowd(port, wires, args.connections, 1))
    most, _ = asyncio.run(crowd(port, wires, args.connections, args.seconds))
    took = asyncio.run(steady(port, wires, most / 2, args.rounds * args.seconds))
    cuts = statistics.quantiles(took, n=100)
    return {"at_most_per_second": most, "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


def overload(port: int, jpegs: list[bytes], args: argparse.Namespace) -> dict[str, float]:
    """Good answers a second before, during and right after a crowd four times as large as fits."""
    wires = [request(UPLOAD, jpeg) for jpeg in jpegs]
    before, _ = asyncio.run(crowd(port, wires, args.connections, args.seconds))
    during, told = asyncio.run(crowd(port, wires, 4 * MAX_QUEUE, 2 * args.seconds))
    after, _ = asyncio.run(crowd(port, wires, args.connections, 2.0))
    assert set(told) <= {200, 503}, told
    return {"before": before, "during": during, "in the 2 s after": after, "refused": told[503], "answered": told[200]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rival-port", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rival_port:
        serve_rival(args.rival_port)
        return
    jpegs = pictures()
    port, rival_port = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as data,
        running("-m", "vicmae", "serve", "--data", data, "--port", str(port), "--engine", ENGINE, port=port),
    ):
        with running(__file__, "--rival-port", str(rival_port), port=rival_port):
            speeds = throughput(port, rival_port, jpegs, args)
        searches, crowded = latency(port, jpegs, args), overload(port, jpegs, args)
        found: dict[str, Mapping[str, object]] = {"throughput": speeds, "search": searches, "overload": crowded}
    show(speeds, found)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "server.json").write_text(json.dumps(found, indent=2))


def show(speeds: dict[str, list[float]], found: Mapping[str, Mapping[str, object]]) -> None:
    table = Table("way", "pictures/s", "http is so many times that")
    for way, rounds in speeds.items():
        ratio = statistics.median(ours / other for ours, other in zip(speeds["http"], rounds, strict=True))
        table.add_row(way, f"{statistics.median(rounds):.0f}", f"{ratio:.2f}")
    console = Console()
    console.print(table)
    console.print({part: values for part, values in found.items() if part != "throughput"})


if __name__ == "__main__":
    main()
