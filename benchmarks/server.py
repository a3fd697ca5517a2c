"""How much of decode + engine is left over HTTP, against other servers, and how does it bear a crowd?

    python benchmarks/server.py [--bundle FOLDER] [--engine auto] [--seconds 4] [--rounds 3] [--connections 16]
    python benchmarks/server.py --peer-python VENV/bin/python      `infinity-emb` of that environment takes part
    python benchmarks/server.py --soak-minutes 20                  instead: full load that long, and the memory

Made JPEGs of 640 x 480 go to `vicmae serve` over kept-alive connections, to the same decoder and engine in this
process (once with decoding in child processes as the server does it, once without that protection), and to the servers
of helpers/server_rivals.py, whose networks are of the very same size. The ways take turns, round by round; the client
shares the cores with them. Then: searches at half the rate they can be answered at, latency in the median and the worst
hundredth; and four times as many callers as the server takes in. Writes benchmarks/results/server.json.

`infinity-emb` wants: pip install "infinity-emb[server,torch,vision,einops,logging]" "transformers<4.50" aiohttp
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
from helpers.load import (
    Caller,
    Crowd,
    Rate,
    Running,
    crowd,
    flood,
    form,
    free_port,
    hammered,
    own_processor_seconds,
    pictures,
    running,
    steady,
)
from helpers.server_rivals import UPLOAD, afternoon, asked_of_afternoon, asked_of_infinity, infinity
from helpers.server_soak import soak
from rich.console import Console
from rich.table import Table

from vicmae.export.engine import Engine, open_engine
from vicmae.index.search import Decoded, Tools, decode
from vicmae.media.decoding import HERE, Decoder
from vicmae.media.sandbox import Sandbox
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SEARCH = "/v1/collections/default/search"
MAX_QUEUE = 64
INDEXED = 64


@contextmanager
def ours(bundle: Path, engine: str) -> Iterator[Running]:
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        words = ["serve", "--data", data, "--port", str(port), "--engine", engine, "--bundle", str(bundle)]
        with running(sys.executable, "-m", "vicmae", *words, port=port) as server:
            yield server


def in_process(engine: Engine, decoder: Decoder, jpegs: list[bytes], seconds: float) -> Rate:
    """Decoders on every core, full batches for the engine, nothing in between."""

    def spent() -> float:
        helpers = decoder.process_ids if isinstance(decoder, Sandbox) else []
        return sum(map(own_processor_seconds, [os.getpid(), *helpers]))

    tools, done = Tools(decoder=decoder), 0
    before, began = spent(), perf_counter()
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:

        def batch() -> list[Future[Decoded]]:
            some = jpegs[: engine.max_batch]
            return [pool.submit(decode, jpeg, engine.spec, tools) for jpeg in some]

        ahead = [batch(), batch()]
        while perf_counter() - began < seconds:
            now = ahead.pop(0)
            ahead.append(batch())
            engine.embed(np.concatenate([task.result().pixels for task in now]))
            done += len(now)
        took = perf_counter() - began
        for tasks in ahead:
            for task in tasks:
                task.cancel()
    return Rate(done / took, (spent() - before) / done * 1000)


def throughput(server: Running, jpegs: list[bytes], args: argparse.Namespace) -> dict[str, list[Rate]]:
    """Each way, a rate a round."""
    ways: dict[str, Callable[[], Rate]] = {}

    def over_http(name: str, of: Running, wires: list[bytes]) -> None:
        ways[name] = lambda: hammered(of.port, of.pid, wires, args.connections, args.seconds)

    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(args.bundle, engine=args.engine, device="cpu"))
        sandbox = stack.enter_context(Sandbox(4))
        over_http("http", server, [form(UPLOAD, jpeg) for jpeg in jpegs])
        ways["in process, sandboxed"] = lambda: in_process(engine, sandbox, jpegs, args.seconds)
        ways["in process"] = lambda: in_process(engine, HERE, jpegs, args.seconds)
        over_http("fastapi + pytorch", stack.enter_context(afternoon(args.bundle)), asked_of_afternoon(jpegs))
        if args.peer_python:
            peer = stack.enter_context(infinity(args.bundle, args.peer_python))
            over_http("infinity-emb", peer, asked_of_infinity(jpegs))
        rates: dict[str, list[Rate]] = {way: [] for way in ways}
        for number in range(args.rounds + 1):
            for way, rate in ways.items():
                found = rate()
                if number:  # the first round warms everybody up
                    rates[way].append(found)
    return rates


def latency(port: int, jpegs: list[bytes], args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of searches at half the rate that a crowd gets."""
    for number, jpeg in enumerate((jpegs * INDEXED)[:INDEXED]):
        asyncio.run(Caller(port).ask(form("/v1/collections/default/items", jpeg, id=f"i{number}")))
    wires = [form(SEARCH, jpeg, refine="false") for jpeg in jpegs]
    asyncio.run(crowd(port, wires, args.connections, 1))
    most = asyncio.run(crowd(port, wires, args.connections, args.seconds)).per_second
    took = asyncio.run(steady(port, wires, most / 2, args.rounds * args.seconds))
    cuts = statistics.quantiles(took, n=100)
    return {"at_most_per_second": most, "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


def overload(port: int, jpegs: list[bytes], args: argparse.Namespace) -> dict[str, float]:
    """As many callers as fit, then four times as many, then few: good answers a second, and how long they took.

    Three quarters of the many ask at a pace that makes four times as many requests as can be answered.
    """
    wires = [form(UPLOAD, jpeg) for jpeg in jpegs]
    full = asyncio.run(crowd(port, wires, MAX_QUEUE, 2 * args.seconds))
    pause_seconds = 0.6 * MAX_QUEUE / full.per_second  # an answer takes its time too
    over, told = asyncio.run(flood(port, wires, MAX_QUEUE, 3 * MAX_QUEUE, 2 * args.seconds, pause_seconds))
    told += over.told
    after = asyncio.run(crowd(port, wires, args.connections, 2.0))
    assert set(full.told) == set(after.told) == {200} and set(told) <= {200, 503}, told

    def rates(met: Crowd) -> dict[str, float]:
        return {"per_second": met.per_second, "p50_ms": met.quantile_ms(0.5), "p99_ms": met.quantile_ms(0.99)}

    found = {
        f"{when} {name}": value for when, met in (("full", full), ("over", over)) for name, value in rates(met).items()
    }
    found |= {
        "after per_second": after.per_second,
        "asked / full": told.total() / over.seconds / full.per_second,
        "refused": told[503],
        "over per_second": told[200] / over.seconds,
    }
    return {**found, "answered": told[200], "p99 over / full": over.quantile_ms(0.99) / full.quantile_ms(0.99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bundle", type=Path, default=SHIPPED_BUNDLE)
    parser.add_argument("--engine", default="onnxruntime-fp32", help="auto is what a user gets")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--peer-python", type=Path, help="interpreter of an environment with infinity-emb")
    parser.add_argument("--soak-minutes", type=float)
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    with ours(args.bundle, args.engine) as server:
        if args.soak_minutes:
            soak(server, args.soak_minutes * 60, RESULTS)
            return
        jpegs = pictures()
        rates = throughput(server, jpegs, args)
        found: dict[str, Mapping[str, object]] = {
            "throughput": {way: [asdict(rate) for rate in rounds] for way, rounds in rates.items()},
            "search": latency(server.port, jpegs, args),
            "overload": overload(server.port, jpegs, args),
        }
    show(rates, found)
    (RESULTS / "server.json").write_text(
        json.dumps({"bundle": args.bundle.name, "engine": args.engine, **found}, indent=2)
    )


def show(rates: dict[str, list[Rate]], found: Mapping[str, Mapping[str, object]]) -> None:
    table = Table("way", "pictures/s", "http is so many times that", "processor ms a picture", "of the client")
    for way, rounds in rates.items():
        pairs = zip(rates["http"], rounds, strict=True)
        ratio = statistics.median(mine.per_second / other.per_second for mine, other in pairs)
        speed, spent, client = (
            statistics.median(getattr(rate, name) for rate in rounds)
            for name in ("per_second", "server_ms", "client_ms")
        )
        table.add_row(way, f"{speed:.1f}", f"{ratio:.2f}", f"{spent:.1f}", f"{client:.2f}")
    console = Console()
    console.print(table)
    console.print({part: values for part, values in found.items() if part != "throughput"})


if __name__ == "__main__":
    main()
