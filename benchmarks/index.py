"""How fast, how small and how sure is the index? Against hnswlib and usearch on the same vectors, in one run.

    python benchmarks/index.py [--vectors 200000] [--rivals hnswlib,usearch-f16] [--vectors-from FILE]
        [--segments] [--before FOLDER] [--only index|filters|long|align]

The vectors are made: 2,000 scenes are points of a normal distribution in 48 dimensions; a vector is a scene plus 0.6
times normal noise in those 48, turned into 384 dimensions, plus 0.1 times normal noise in all of them, scaled to unit
length. Queries are made the same way and are not among the vectors. `--vectors-from` takes others: an .npy of (N, D),
or what `vicmae embed -o FILE.npz` wrote; a hundredth of them are the queries, and another the queries before.
`--before` takes a folder in which `import vicmae` finds an earlier release, such as a worktree's .types.

Each engine builds in one process and answers in a fresh one, one query after another on one thread, as wide as it must
for recall@10 >= 0.99: a rival with the narrowest of its settings that does on these queries, while vicmae chose its
width when it built its segments. "vicmae" is sealed into one segment; "segments" is sealed after every 25,000 vectors
and merged as the merge policy says; "before" is an earlier release (`--before`), on the same data in the same run.
Before what is timed everybody is asked a thousand other queries. Own memory is what the process has more, after all
queries, than before it opened the index, without the pages of mapped files. A filter lets one vector in fifty through.
Then items are searched as the server does it: by a frame, with and without filters; by a frame and a clip among 30
films of an hour, where the nearest frames are all of one or two films; by a clip of 60 frames, which is aligned, among
1,000 films of 97 frames. Prints a table and writes benchmarks/results/index.json.
Rivals stand in helpers/index_rivals.py; those not asked for with --rivals need not be installed.
Needs: pip install '.[bench]'
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from helpers.index_made import engine_of, item_of, made, percentiles
from helpers.index_rivals import FILTERED, MODULES, RIVALS, Ask, Floats, K
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vicmae.index.library import Library
from vicmae.index.vectors import Allowed, Effort, allowed_of

RESULTS = Path(__file__).parent / "results"
QUERIES = 500
OTHERS = 1000  # queries that are asked before
SEGMENT_ROWS = 25_000
LEAST_RECALL = 0.99
FRAMES_AN_ITEM = 1000
FEW_QUERIES = 50  # for an engine that takes SLOW_SECONDS for one
SLOW_SECONDS = 0.02


def build_vicmae(folder: Path, vectors: Floats, segment_rows: int = 0) -> dict[str, Any]:
    """Every item is a transaction flushed to disk. segment_rows: sealed after so many, 0: all into one segment."""
    with Library(folder) as library:
        collection = library.create("bench", engine_of(vectors.shape[1]))
        stored = sealed = 0.0
        for start in range(0, len(vectors), FRAMES_AN_ITEM):
            began = perf_counter()
            collection.add(item_of(start, vectors[start : start + FRAMES_AN_ITEM]))
            stored += perf_counter() - began
            if segment_rows and (start + FRAMES_AN_ITEM) % segment_rows == 0:
                began = perf_counter()
                collection.index.seal()
                sealed += perf_counter() - began
        began = perf_counter()
        if not segment_rows:
            collection.index.seal(everything=True)
        return {"ingest_per_second": len(vectors) / stored, "build_seconds": sealed + perf_counter() - began}


def ask_vicmae(folder: Path, count: int, dim: int) -> tuple[dict[str, Ask], dict[str, Any]]:
    library = Library(folder)
    collection = library.open("bench")
    collection.index.refresh()
    allowed = allowed_of(np.arange(1, count + 1, FILTERED))
    effort = Effort()

    def ask(query: Floats, chosen: Allowed | None = None) -> NDArray[np.int64]:
        found = collection.index.search(query[None], K, chosen, effort)[1][0]
        return np.asarray(found - 1)  # the first vector has the id 1

    return {"vicmae": ask, "filtered": lambda query: ask(query, allowed)}, {"plan": effort.to_dict}


ENGINES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "vicmae": (build_vicmae, ask_vicmae),
    "segments": (lambda folder, vectors: build_vicmae(folder, vectors, SEGMENT_ROWS), ask_vicmae),
    "before": (build_vicmae, ask_vicmae),  # run with another vicmae
    **RIVALS,
}


def own_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return 1024 * int(line.split()[1])
    raise OSError("this system does not tell a process's memory")


def nearest(queries: Floats, vectors: Floats) -> NDArray[np.int64]:
    """queries (Q, D), vectors (N, D) -> places (Q, K) of the nearest, every vector compared."""
    scores, places = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, len(vectors), 10_000):
        block = queries @ vectors[start : start + 10_000].T
        scores = np.concatenate([scores, block], axis=1)
        here = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
        places = np.concatenate([places, here], axis=1)
        best = np.argsort(-scores, axis=1)[:, :K]
        scores, places = np.take_along_axis(scores, best, axis=1), np.take_along_axis(places, best, axis=1)
    return places


def timed(ask: Ask, queries: Floats) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    found, seconds = [], []
    for query in queries:
        began = perf_counter()
        found.append(ask(query))
        seconds.append(perf_counter() - began)
    return found, np.array(seconds)


def recall_of(found: list[NDArray[np.int64]], true: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(row, got).mean() for row, got in zip(true, found, strict=True)]))


def child(name: str, stage: str, folder: Path) -> dict[str, Any]:
    """One stage of one engine, in a process of its own."""
    place = folder / name
    if stage == "build":
        place.mkdir()
        built: dict[str, Any] = ENGINES[name][0](place, np.load(folder / "vectors.npy", mmap_mode="r"))
        return built
    parts = ("queries", "others", "true", "filtered")
    queries, others, true, true_filtered = (np.load(folder / f"{part}.npy") for part in parts)
    count, dim = np.load(folder / "vectors.npy", mmap_mode="r").shape
    if name in MODULES:  # a library's own code is no part of its index
        import_module(MODULES[name])
    before = own_bytes()
    began = perf_counter()
    opened: tuple[dict[str, Ask], dict[str, Any]] = ENGINES[name][1](place, count, dim)
    asks, facts = opened
    facts["open_seconds"] = perf_counter() - began
    for setting, ask in asks.items():
        if setting == "filtered":
            continue
        is_slow = np.median(timed(ask, others[:20])[1]) >= SLOW_SECONDS
        asked = queries[:FEW_QUERIES] if is_slow else queries
        timed(ask, others[: len(others) * len(asked) // len(queries)])
        found, seconds = timed(ask, asked)
        recall = recall_of(found, true[: len(found)])
        facts |= {"setting": setting, "recall": recall, **percentiles(seconds)}
        if recall >= LEAST_RECALL:
            break
    if "plan" in facts:
        facts["plan"] = facts["plan"]()
    facts["own_bytes"] = own_bytes() - before
    if "filtered" in asks:
        found, seconds = timed(asks["filtered"], queries[:100])
        facts["filtered_p50_ms"] = 1e3 * float(np.median(seconds))
        facts["filtered_recall"] = recall_of(found, true_filtered[: len(found)])
        facts["filtered_full"] = all(len(row) == K and (row >= 0).all() for row in found)
    return facts


def run_child(name: str, stage: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, "--stage", stage, "--folder", str(folder)]
    path = {"PYTHONPATH": str(folder / "earlier")} if name == "before" else {}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **path})
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def compare(
    vectors: Floats, queries: Floats, others: Floats, names: list[str], scratch: Path, rounds: int
) -> dict[str, dict[str, Any]]:
    np.save(scratch / "vectors.npy", vectors)
    np.save(scratch / "queries.npy", queries)
    np.save(scratch / "others.npy", others)
    np.save(scratch / "true.npy", nearest(queries, vectors))
    np.save(scratch / "filtered.npy", FILTERED * nearest(queries, vectors[::FILTERED]))
    console = Console(stderr=True)
    results = {}
    for name in names:
        console.print(f"{name} builds")
        results[name] = run_child(name, "build", scratch)
    asked: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):  # in turns, so that other work on the machine is about the same for all
        for name in names:
            console.print(f"{name} answers, {number + 1} of {rounds}")
            asked[name].append(run_child(name, "ask", scratch))
    for name, found in asked.items():
        results[name] |= middle(found)
        pairs = zip(asked[names[0]], found, strict=True)
        results[name]["p50_of_first"] = [mine["p50_ms"] / other["p50_ms"] for mine, other in pairs]
    return results


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The facts of the rounds as one: the median of what is a number, and of what is told otherwise the last."""
    told: dict[str, Any] = {}
    for name, last in rounds[-1].items():
        values = [found[name] for found in rounds]
        if isinstance(last, dict):
            told[name] = middle(values)
        else:
            told[name] = float(np.median(values)) if type(last) in (int, float) else last
    return told


def tell(results: dict[str, dict[str, Any]]) -> None:
    table = Table(title="the index, single queries on one thread")
    for column in (
        "engine",
        "p50 ms",
        "vicmae to it",
        "p99 ms",
        "recall@10",
        "own MB",
        "open s",
        "build s",
        "vectors/s",
        "2 % filter",
    ):
        table.add_column(column)
    for name, facts in results.items():
        filtered = f"{facts['filtered_p50_ms']:.2f} ms" if "filtered_p50_ms" in facts else "-"
        if filtered != "-":
            filtered += f", {facts['filtered_recall']:.3f}{'' if facts['filtered_full'] else ', not full'}"
        table.add_row(
            name if facts["setting"] == "vicmae" else f"{name} ({facts['setting']})",
            f"{facts['p50_ms']:.3f}",
            f"{np.median(facts['p50_of_first']):.2f}",
            f"{facts['p99_ms']:.2f}",
            f"{facts['recall']:.3f}",
            f"{facts['own_bytes'] / 1e6:.0f}",
            f"{facts['open_seconds']:.1f}",
            f"{facts['build_seconds']:.0f}",
            f"{facts['ingest_per_second']:,.0f}" if "ingest_per_second" in facts else "-",
            filtered,
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--rivals", default="hnswlib,usearch-f16", help=f"of {', '.join(RIVALS)}; empty for none")
    parser.add_argument("--vectors-from", type=Path, help="an .npy of vectors (N, D), or an .npz of `vicmae embed`")
    parser.add_argument("--segments", action="store_true", help="also sealed piece by piece, in several segments")
    parser.add_argument("--before", type=Path, help="a folder in which `import vicmae` finds an earlier release")
    parser.add_argument("--rounds", type=int, default=3, help="how often each engine is asked")
    parser.add_argument("--only", choices=("index", "align", "long", "filters"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.child:
        print(json.dumps(child(told.child, told.stage, told.folder)))
        return
    from helpers.index_searches import (  # an earlier release may not know what they call
        alignment,
        long_films,
        under_filters,
    )

    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if told.only in (None, "index"):
            names = ["vicmae", *["segments"] * told.segments, *filter(None, told.rivals.split(","))]
            if told.before:
                (scratch / "earlier").symlink_to(told.before.absolute())
                names.insert(1, "before")
            if told.vectors_from:
                stored = np.load(told.vectors_from)
                vectors = stored["vectors"] if told.vectors_from.suffix == ".npz" else stored
                place = np.arange(len(vectors)) % 100
                held, queries, others = vectors[place > 1], vectors[place == 0], vectors[place == 1]
                facts["index"] = compare(held, queries[:QUERIES], others[:OTHERS], names, scratch, told.rounds)
            else:
                made_here = made(told.vectors, 0), made(QUERIES, 5), made(OTHERS, 9)
                facts["index"] = compare(*made_here, names, scratch, told.rounds)
            tell(facts["index"])
        if told.only in (None, "long"):
            facts["long"] = long_films(scratch)
            Console().print("ten items for a frame and for a clip of 30 s among 30 films of an hour:", facts["long"])
        if told.only in (None, "filters"):
            facts["filters"] = under_filters(scratch)
            Console().print("ten items for a frame under filters, of 2,000 items of 100 frames:", facts["filters"])
        if told.only in (None, "align"):
            facts["align"] = alignment(scratch)
            Console().print("alignment of a 30 s clip against 1,000 videos:", facts["align"])
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "index.json").write_text(json.dumps({"vectors": told.vectors, **facts}, indent=2) + "\n")


if __name__ == "__main__":
    main()
