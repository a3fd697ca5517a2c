"""How long, and in how much memory, are duplicates found in a large collection? And are they the right ones?

    python benchmarks/duplicates.py [--items 250 500 1000 2000] [--crowd 200]

Writes items straight into a catalog, vectors of random walks in place of films (20 to 120 frames at one a second), of
which a third are copies with noise, cut out of another, or both; the rest are films of their own. --crowd makes so many
more that all begin with the same intro, the case in which every item has every other one for a neighbour. There are no
files, so what is timed is finding candidates and aligning them, and what is counted are the pairs that would be looked
at: `others` are those that are no copies. Each collection has a process of its own.
"""

import argparse
import json
import multiprocessing
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vicmae.export.engine import FakeEngine
from vicmae.index.catalog.items import NewItem, default_item_id
from vicmae.index.collection import Collection
from vicmae.index.duplicates import find_duplicates
from vicmae.index.library import Library
from vicmae.index.search import tools_of

RESULTS = Path(__file__).parent / "results"
INTRO_FRAMES = 15
NOISE = 0.15  # length of what is added to each vector of a copy
FIGURES = ("items", "vectors", "seconds", "processor_seconds", "growth_mb", "pairs", "found", "others")
Vectors = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[250, 500, 1000, 2000])
    parser.add_argument("--crowd", type=int, default=200, help="films that begin with one intro, in a run of their own")
    arguments = parser.parse_args()
    wishes = [(count, 0) for count in arguments.items] + [(arguments.crowd, arguments.crowd)]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = [pool.apply(measured, wish) for wish in wishes]
    table = Table(*FIGURES, title=f"duplicates; the last row: {arguments.crowd} films with one intro")
    for row in rows:
        table.add_row(*(f"{row[name]:,.1f}" if isinstance(row[name], float) else f"{row[name]:,}" for name in FIGURES))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "duplicates.json").write_text(json.dumps(rows, indent=2) + "\n")


def measured(items: int, crowd: int) -> dict[str, float]:
    """FIGURES of one collection, in a process of its own: its memory is what the search adds to it."""
    dice = np.random.default_rng(items)
    with tempfile.TemporaryDirectory() as scratch, Library(Path(scratch)) as library:
        engine = FakeEngine()
        collection = library.create("c", engine)
        truth = filled(collection, items, crowd, dice)
        collection.index.refresh()
        vectors, before = len(collection.index), started_mb()
        began, spent = perf_counter(), process_time()
        found = find_duplicates(collection, tools_of(engine))
        figures: dict[str, float] = {"seconds": perf_counter() - began, "processor_seconds": process_time() - spent}
        told = {frozenset(pair) for pair in found.unseen}  # there are no pictures to look at
        grown = memory_mb("VmHWM") - before
    return {
        "items": items, "vectors": vectors, **figures, "growth_mb": grown,
        "pairs": len(truth), "found": len(told & truth), "others": len(told - truth),
    }  # fmt: skip


def filled(collection: Collection, items: int, crowd: int, dice: np.random.Generator) -> set[frozenset[str]]:
    """Adds the films; which pairs are duplicates of one another."""
    intro = walk(dice, INTRO_FRAMES, collection.spec.dim)
    films: list[Vectors] = []
    truth = set()
    for place in range(items):
        if place % 3 == 2 and not crowd:
            source = films[place - 1]
            first = int(dice.integers(0, 6)) if place % 2 else 0
            last = len(source) - (int(dice.integers(0, 6)) if place % 2 else 0)
            films.append(source[first:last] + NOISE * unit(dice.normal(size=(last - first, source.shape[1]))))
            truth.add(frozenset((item_id(place), item_id(place - 1))))
        else:
            own = walk(dice, int(dice.integers(20, 121)), collection.spec.dim)
            films.append(np.concatenate([intro, own]) if crowd else own)
        add(collection, place, films[-1])
    return truth


def walk(dice: np.random.Generator, frames: int, dim: int) -> Vectors:
    """(frames, dim) unit length: shots of ten frames, within which each frame is a little further on."""
    shots = np.repeat(dice.normal(size=(frames // 10 + 1, dim)), 10, axis=0)[:frames]
    return unit(shots + 0.3 * dice.normal(size=shots.shape).cumsum(axis=0) / np.sqrt(10))


def unit(vectors: NDArray[np.float64]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def item_id(place: int) -> str:
    return default_item_id(f"file:///{place}")


def add(collection: Collection, place: int, vectors: Vectors) -> None:
    starts = np.arange(len(vectors), dtype=np.float64)
    collection.add(
        NewItem(
            id=item_id(place), uri=f"file:///{place}", name=f"{place}.mp4", path=Path(f"/none/{place}"),
            sha256=str(place), kind="video", mime="video/mp4", size_bytes=1, mtime_ns=0, width=1, height=1,
            duration_seconds=float(len(vectors)), frames_per_second=1.0, vectors=vectors, start_seconds=starts,
            end_seconds=starts + 1, informative=np.ones(len(vectors), np.float32),
        )
    )  # fmt: skip


def started_mb() -> float:
    """The memory in use now, from which the peak is counted anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


def memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e6


if __name__ == "__main__":
    main()
