"""Full load for a long time: pictures embedded, searches, items added and deleted, and the memory of every process.

Run by benchmarks/server.py --soak-minutes. The load is `CALLERS` of each kind, who ask again as soon as they are
answered. Flat means: no more than MAX_GROWTH from the first to the last fifth of the time behind the warm-up. Writes
benchmarks/results/server-soak.json and, where matplotlib is installed, server-soak.png.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count, cycle
from pathlib import Path
from time import perf_counter

from helpers.load import Caller, Running, children, form, pictures, wire
from rich.console import Console

UPLOAD = "/v1/embeddings/upload"
ITEMS = "/v1/collections/default/items"
SEARCH = "/v1/collections/default/search"
CALLERS = {"embed": 8, "search": 4, "items": 4}
KEPT = 64  # items there all the time
SAMPLE_SECONDS = 1.0
WARM_UP = 0.1  # of the time, a minute at least where there is one
MAX_GROWTH = 0.05


@dataclass
class Soaked:
    """Resident bytes of the server and of its decoders together, at seconds from the start; and what was answered."""

    seconds: list[float] = field(default_factory=list)
    server: list[int] = field(default_factory=list)
    decoders: list[int] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    def growth(self, series: list[int]) -> float:
        """Of the mean of the last fifth over that of the first one behind the warm-up."""
        last = self.seconds[-1]
        warm = min(max(WARM_UP * last, 60.0), last / 2)
        fifth = (last - warm) / 5
        first = [size for moment, size in zip(self.seconds, series, strict=True) if warm <= moment <= warm + fifth]
        end = [size for moment, size in zip(self.seconds, series, strict=True) if moment >= last - fifth]
        return (sum(end) / len(end)) / (sum(first) / len(first)) - 1


def soak(server: Running, seconds: float, results: Path) -> None:
    """Loads the server for so long; AssertionError for an answer that is no success, or for growth."""
    found = asyncio.run(_soaked(server, seconds))
    told = {
        "seconds": seconds,
        "answers": dict(found.told),
        "server growth": found.growth(found.server),
        "decoders growth": found.growth(found.decoders),
        "server MiB, first and last": [found.server[0] / 2**20, found.server[-1] / 2**20],
        "decoders MiB, first and last": [found.decoders[0] / 2**20, found.decoders[-1] / 2**20],
    }
    Console().print(told)
    samples = {"seconds": found.seconds, "server_bytes": found.server, "decoders_bytes": found.decoders}
    (results / "server-soak.json").write_text(json.dumps({**told, "samples": samples}, indent=2))
    if find_spec("matplotlib"):
        draw(found, results / "server-soak.png")
    assert not [name for name in found.told if int(name.split()[-1]) >= 300], found.told
    assert found.growth(found.server) < MAX_GROWTH and found.growth(found.decoders) < MAX_GROWTH, "the memory grows"


async def _soaked(server: Running, seconds: float) -> Soaked:
    jpegs, found, began = pictures(), Soaked(), perf_counter()
    for number in range(KEPT):
        caller = Caller(server.port)
        status = await caller.ask(form(ITEMS, jpegs[number % len(jpegs)], id=f"kept{number}"))
        assert status < 300, f"an item was not taken in: {status}"
        await caller.close()
    fresh = pictures(256, seed=8)  # other bytes than those that stay
    scripts: dict[str, Callable[[int], Iterator[bytes]]] = {
        "embed": lambda number: cycle([form(UPLOAD, jpeg) for jpeg in jpegs]),
        "search": lambda number: cycle([form(SEARCH, jpeg) for jpeg in jpegs]),
        "items": lambda number: coming_and_going(fresh[number :: CALLERS["items"]], number),
    }

    async def one(kind: str, number: int) -> None:
        caller = Caller(server.port)
        for each in scripts[kind](number):
            if perf_counter() - began >= seconds:
                break
            found.told[f"{kind} {await caller.ask(each)}"] += 1
        await caller.close()

    async def watch() -> None:
        for number in count():
            await asyncio.sleep(max(0.0, began + number * SAMPLE_SECONDS - perf_counter()))
            if perf_counter() - began >= seconds:
                return
            found.seconds.append(perf_counter() - began)
            found.server.append(resident_bytes(server.pid))
            found.decoders.append(sum(map(resident_bytes, children(server.pid))))

    callers = [one(kind, number) for kind, several in CALLERS.items() for number in range(several)]
    await asyncio.gather(watch(), *callers)
    return found


def coming_and_going(jpegs: list[bytes], number: int) -> Iterator[bytes]:
    """Adds each picture under an id of its own and deletes it."""
    for turn, jpeg in enumerate(cycle(jpegs)):
        name = f"fresh{number}-{turn}"
        yield form(ITEMS, jpeg, id=name)
        yield wire("DELETE", f"{ITEMS}/{name}")


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def draw(found: Soaked, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, series in (("server", found.server), ("decoders", found.decoders)):
        axes.plot([second / 60 for second in found.seconds], [size / 2**20 for size in series], label=name)
    axes.set(xlabel="minutes", ylabel="resident MiB", ylim=(0, None), title="Memory under full load")
    axes.legend()
    figure.savefig(path, dpi=120)
