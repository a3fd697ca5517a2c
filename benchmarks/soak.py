"""Does a collection in steady use stay as it was? Memory, latency, disk and segments over half an hour.

    python benchmarks/soak.py [--minutes 30] [--vectors 1000000] [--warm-up 3] [--adds 2 --deletes 2 --searches 10]

Fills a collection with made vectors (those of benchmarks/index.py, 384 dimensions, items of 100 frames), each item a
transaction flushed to disk, and seals it in pieces, each about as large as all that follow, as a collection that grew
is sealed. Then, through the public Collection API and with the upkeep that the server has:
so many adds, deletes and searches a second, each at its own beat, from three threads; an item that is deleted is any
of those there. Every window of 30 seconds notes resident memory (RssAnon is what files mapped by the index are not; the
process that makes segments apart), p50 and p99 of searches, bytes on disk and segments; a beat that is missed is
counted, not made up for. The windows of the first minutes (--warm-up, 3) are told and drawn but not judged: what is
read for the first time comes from disk. Prints a table, writes
benchmarks/results/soak.json and soak.png, and gives a verdict: the last fifth of the other windows against the first,
and the highest of them against their median. Flat is memory, p50 and disk of the last fifth within a tenth of the
first. Needs: pip install matplotlib
"""

import argparse
import json
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import numpy as np
from helpers.index_made import engine_of, item_of, made
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.search import Query, SearchRequest, search
from vicmae.index.vectors import IndexOptions

RESULTS = Path(__file__).parent / "results"
FRAMES = 100  # of an item
ITEMS_AT_ONCE = 500  # whose vectors are made together
SHARES = (0.55, 0.25, 0.12, 0.05, 0.03)  # of the items, sealed one after another: the segments that use leaves
WINDOW_SECONDS = 30.0
MOST_GROWTH = 1.10  # of memory and of p50, from the first fifth to the last, that still counts as flat


@dataclass(frozen=True)
class Window:
    """One window: when it ended, resident memory, search times, what lay on disk, and what was done in it.

    sealing_mb: anonymous memory of the processes that make segments.
    """

    at_seconds: float
    rss_mb: float
    anon_mb: float
    sealing_mb: float
    p50_ms: float
    p99_ms: float
    disk_mb: float
    catalog_mb: float
    segments: int
    tail_rows: int
    items: int
    adds: int
    deletes: int
    searches: int
    missed: int


class Mix:
    """The work on one collection: what is there, and what has been done since it was last asked."""

    def __init__(self, collection: Collection, items: int) -> None:
        self.collection = collection
        self.chance = random.Random(5)
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.next = items
        self.held = [item_of(number, np.zeros((1, 1), np.float32)).id for number in range(items)]
        self.pool = made(20_000, 11)
        self.queries = made(2000, 3)
        self.counts = dict.fromkeys(("adds", "deletes", "searches", "missed"), 0)
        self.spent: list[float] = []
        self.failures: list[str] = []

    def add(self) -> None:
        first = self.next * FRAMES % (len(self.pool) - FRAMES)
        item = item_of(self.next, self.pool[first : first + FRAMES])
        self.next += 1
        self.collection.add(item)
        with self.lock:
            self.held.append(item.id)

    def delete(self) -> None:
        with self.lock:
            place = self.chance.randrange(len(self.held))
            self.held[place], self.held[-1] = self.held[-1], self.held[place]
            item_id = self.held.pop()
        self.collection.delete(item_id)

    def search(self) -> None:
        query = self.queries[self.chance.randrange(len(self.queries))]
        began = perf_counter()
        search(self.collection, SearchRequest(Query(vector=query), 10, verify=False))
        with self.lock:
            self.spent.append(perf_counter() - began)

    def beat(self, name: str, work: Callable[[], None], per_second: float) -> None:
        """Does the work at its beat until it is told to stop."""
        due = perf_counter()
        try:
            while not self.stop.is_set():
                work()
                self.counts[name] += 1
                due += 1 / per_second
                late = perf_counter() - due
                if late > 0:
                    self.counts["missed"] += int(late * per_second)
                    due += int(late * per_second) / per_second
                self.stop.wait(max(due - perf_counter(), 0))
        except Exception as error:  # told at the end: the run is then no proof of anything
            self.failures.append(f"{name}: {error!r}")
            self.stop.set()

    def taken(self) -> tuple[dict[str, int], NDArray[np.float64]]:
        """Counts and search seconds since the last call."""
        with self.lock:
            counts, self.counts = self.counts, dict.fromkeys(self.counts, 0)
            spent, self.spent = np.array(self.spent), []
        return counts, spent


def resident_mb(process: int | str = "self") -> tuple[float, float]:
    """RSS and RssAnon of a process; zeros: it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0, 0.0
    sizes = {
        name: value.split()[0]
        for name, _, value in (line.partition(":") for line in status.splitlines())
        if value.strip()
    }
    return int(sizes.get("VmRSS", 0)) / 1024, int(sizes.get("RssAnon", 0)) / 1024


def children_mb() -> float:
    """RssAnon of this process's children."""
    found = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return sum(resident_mb(child)[1] for part in found for child in part)


def disk_mb(folder: Path) -> float:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # the index has replaced it
            continue
    return total / 2**20


def fill(collection: Collection, items: int, console: Console) -> float:
    """Items in the collection, sealed in as many pieces as SHARES tells; gives the seconds it took."""
    began = perf_counter()
    ends = {round(items * share) for share in accumulate(SHARES)}
    for first in range(0, items, ITEMS_AT_ONCE):
        vectors = made(ITEMS_AT_ONCE * FRAMES, 1000 + first)
        for place in range(min(ITEMS_AT_ONCE, items - first)):
            collection.add(item_of(first + place, vectors[place * FRAMES : (place + 1) * FRAMES]))
            if first + place + 1 in ends:
                collection.index.refresh()
                while not collection.index.seal():  # the thread of upkeep is at it
                    sleep(1)
    console.print(f"filled with {items * FRAMES:,} vectors in {perf_counter() - began:.0f} s")
    return perf_counter() - began


def soak(collection: Collection, mix: Mix, wish: argparse.Namespace, console: Console) -> list[Window]:
    beats = (
        ("adds", mix.add, wish.adds),
        ("deletes", mix.delete, wish.deletes),
        ("searches", mix.search, wish.searches),
    )
    threads = [threading.Thread(target=mix.beat, args=beat, daemon=True) for beat in beats if beat[2] > 0]
    windows: list[Window] = []
    began = perf_counter()
    for thread in threads:
        thread.start()
    while perf_counter() - began < 60 * (wish.warm_up + wish.minutes) and not mix.stop.is_set():
        sleep(min(WINDOW_SECONDS, wish.minutes * 6))
        counts, spent = mix.taken()
        rss, anon = resident_mb()
        status = collection.index.status()
        p50, p99 = (1000 * np.percentile(spent, (50, 99))).tolist() if len(spent) else (0.0, 0.0)
        windows.append(
            Window(
                perf_counter() - began,
                rss,
                anon,
                children_mb(),
                p50,
                p99,
                disk_mb(collection.folder),
                collection.catalog.path.stat().st_size / 2**20,
                len(status["segments"]),
                status["tail_rows"],
                len(mix.held),
                **counts,
            )
        )
        told = f"p50 {p50:.1f} ms  p99 {p99:.1f} ms  tail {status['tail_rows']}"
        console.print(f"{windows[-1].at_seconds:6.0f} s  {anon:6.0f} MB  {told}")
    mix.stop.set()
    for thread in threads:
        thread.join()
    return windows


def verdict(windows: list[Window]) -> dict[str, float | bool]:
    """The median of the last fifth against that of the first, and the highest window against the median of all."""
    fifth = max(1, len(windows) // 5)
    growth = {}
    for name in ("rss_mb", "anon_mb", "p50_ms", "p99_ms", "disk_mb", "catalog_mb"):
        first, last = (median(getattr(w, name) for w in part) for part in (windows[:fifth], windows[-fifth:]))
        growth[name] = round(last / max(first, 1e-9), 3)
    highest = {
        f"highest_{name}": round(max(values) / max(median(values), 1e-9), 3)
        for name in ("anon_mb", "p50_ms", "p99_ms", "disk_mb")
        if (values := [getattr(window, name) for window in windows])
    }
    flat = max(growth["anon_mb"], growth["p50_ms"], growth["disk_mb"]) <= MOST_GROWTH
    return {**growth, **highest, "is_flat": flat}


def plot(windows: list[Window], warm_up: float, vectors: int, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    memory, latency, disk = figure.subplots(3, 1, sharex=True)
    minutes = [window.at_seconds / 60 for window in windows]
    memory.plot(minutes, [w.rss_mb for w in windows], label="resident")
    memory.plot(minutes, [w.anon_mb for w in windows], label="of it anonymous")
    memory.plot(minutes, [w.sealing_mb for w in windows], label="of the process that seals")
    memory.set_ylabel("memory, MB")
    latency.plot(minutes, [w.p50_ms for w in windows], label="p50")
    latency.plot(minutes, [w.p99_ms for w in windows], label="p99")
    latency.set_ylabel("search, ms")
    disk.plot(minutes, [w.disk_mb for w in windows], label="on disk")
    disk.plot(minutes, [w.catalog_mb for w in windows], label="of it the catalog")
    disk.set_ylabel("disk, MB")
    disk.set_xlabel(f"minutes of adding, deleting and searching at {vectors:,} vectors")
    for axes in (memory, latency, disk):
        axes.set_ylim(bottom=0)
        axes.axvspan(0, warm_up, alpha=0.15, color="grey")
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def tell(windows: list[Window], console: Console) -> None:
    table = Table(
        "minute", "RSS MB", "anon MB", "sealing", "p50 ms", "p99 ms", "disk MB", "segments", "tail", "items", "missed"
    )
    for w in windows[:: max(1, len(windows) // 20)]:
        memory = (f"{w.rss_mb:.0f}", f"{w.anon_mb:.0f}", f"{w.sealing_mb:.0f}")
        sizes = (*memory, f"{w.p50_ms:.1f}", f"{w.p99_ms:.1f}", f"{w.disk_mb:.0f}")
        counts = (w.segments, w.tail_rows, w.items, w.missed)
        table.add_row(f"{w.at_seconds / 60:.1f}", *sizes, *map(str, counts))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-up", type=float, default=3, help="minutes before those that are judged")
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--kind", default="auto", choices=("auto", "exact", "ivf"))
    parser.add_argument("--folder", type=Path, help="where the collection is made and deleted [default: /tmp]")
    for name, rate in (("adds", 2.0), ("deletes", 2.0), ("searches", 10.0)):
        parser.add_argument(f"--{name}", type=float, default=rate, help="a second")
    wish = parser.parse_args()
    console = Console()
    RESULTS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=wish.folder) as folder,
        Library(Path(folder), IndexOptions(wish.kind, background=True)) as library,
    ):
        collection = library.create("soak", engine_of(384))
        items = wish.vectors // FRAMES
        filled = fill(collection, items, console)
        mix = Mix(collection, items)
        windows = soak(collection, mix, wish, console)
    found = verdict([window for window in windows if window.at_seconds > 60 * wish.warm_up] or windows)
    told = {"vectors": wish.vectors, "filled_seconds": filled, "verdict": found, "failures": mix.failures}
    (RESULTS / "soak.json").write_text(json.dumps({**told, "windows": [asdict(w) for w in windows]}, indent=1))
    plot(windows, wish.warm_up, wish.vectors, RESULTS / "soak.png")
    tell(windows, console)
    console.print(f"last fifth over first: {found}", *mix.failures)


if __name__ == "__main__":
    main()
