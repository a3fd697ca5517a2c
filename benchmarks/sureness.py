"""How sure is sure? Of hits with known truth: what chance search gives them, and how often it is right.

    python benchmarks/sureness.py films [FOLDER] [--films 24] [--per-edit 6] [--singles 60] [--seed 7] [--work FOLDER]
    python benchmarks/sureness.py pictures FOLDER [--known 0.9] [--asked 200] [--seed 1]

films: clips cut out of films and edited (made_clips.py) are asked for in a library of those films and of single clips;
a stretch is right when it lies within 1.5 s of the truth. pictures: edited copies of FOLDER's pictures are asked for in
a library that holds a share of them; a hit is right when it is the picture that was edited. Of both the table tells
what vectors alone say (the curves of the bundle, `vicmae calibrate`), and what is said once pictures were looked at.
--json keeps the rows. Needs: ffmpeg
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from helpers.made_clips import Truth
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from video import RESULTS, clips_of, made

from vicmae.export.engine import Engine, open_engine
from vicmae.index.calibrate import EDITS
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_many
from vicmae.index.library import Library
from vicmae.index.matching import Segment
from vicmae.index.search import Query, SearchRequest, embed_query, search, tools_of
from vicmae.settings import SHIPPED_BUNDLE

LOOKED_AT = 8  # hits
WAYS = {"vectors": False, "pictures": True}  # by what, and whether hits are verified
OFF_SECONDS = 1.5
BINS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("films", "pictures"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--films", type=int, default=24)
    parser.add_argument("--per-edit", type=int, default=6)
    parser.add_argument("--singles", type=int, default=60, help="clips of the library beside the films")
    parser.set_defaults(nowhere=0, jobs=2)
    parser.add_argument("--known", type=float, default=0.9, help="share of the pictures that the library holds")
    parser.add_argument("--asked", type=int, default=200, help="pictures that are edited and asked for")
    parser.add_argument("--work", type=Path, default=RESULTS / "sureness-work")
    parser.add_argument("--json", type=Path, default=RESULTS / "sureness.json")
    arguments = parser.parse_args()
    if arguments.what == "pictures" and arguments.folder is None:
        parser.error("pictures needs a FOLDER")
    arguments.work.mkdir(parents=True, exist_ok=True)
    with (
        open_engine(SHIPPED_BUNDLE, threads=1) as engine,
        Library(arguments.work / f"{arguments.what}-{arguments.seed}") as store,
    ):
        ask = of_films if arguments.what == "films" else of_pictures
        rows = list(ask(engine, store, arguments))
    report(rows, arguments.what)
    arguments.json.parent.mkdir(exist_ok=True)
    arguments.json.write_text(json.dumps(rows))


def of_films(engine: Engine, store: Library, arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each stretch that is answered, by vectors alone and once pictures were looked at."""
    work: Path = arguments.work
    for name in ("films", "queries"):
        (work / name).mkdir(exist_ok=True)
    clips = clips_of(arguments.folder, work)
    random.Random(arguments.seed).shuffle(clips)
    films, queries, singles, _ = made(clips, arguments, work)
    collection, tools = filled(store, engine, films + singles), tools_of(engine)
    for query in track(queries, "queries"):
        asked = embed_query(collection, Query(source=query.path), tools)
        for by, verify in WAYS.items():
            for hit in search(collection, SearchRequest(asked, LOOKED_AT, verify=verify), tools).hits:
                for segment in hit.segments:
                    right = is_right(segment, hit.item.name, query.truth)
                    yield {"edit": query.edit, "by": by, "right": right, "confidence": segment.confidence}


def is_right(segment: Segment, name: str, truth: Truth) -> bool:
    """Whether both ends of the stretch lie within OFF_SECONDS of the truth."""
    start = max(segment.query_start_seconds, truth.query_start_seconds)
    end = min(segment.query_end_seconds, truth.query_end_seconds)
    length = segment.query_end_seconds - segment.query_start_seconds
    if name != truth.film or end - start <= 0.5 * length:
        return False
    true_speed = (truth.end_seconds - truth.start_seconds) / (truth.query_end_seconds - truth.query_start_seconds)
    speed = (segment.end_seconds - segment.start_seconds) / max(length, 1e-6)
    return all(
        abs(
            truth.start_seconds
            + true_speed * (second - truth.query_start_seconds)
            - segment.start_seconds
            - speed * (second - segment.query_start_seconds)
        )
        < OFF_SECONDS
        for second in (start, end)
    )


def of_pictures(engine: Engine, store: Library, arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for the best hit of each edited picture."""
    dice = random.Random(arguments.seed)
    pictures = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    dice.shuffle(pictures)
    known = pictures[: round(arguments.known * len(pictures))]
    others = pictures[len(known) :]
    half = arguments.asked // 2
    collection, tools = filled(store, engine, known), tools_of(engine)
    query = arguments.work / "query.png"
    for source in track(known[:half] + others[:half], "pictures"):
        picture = Image.open(source).convert("RGB")
        for name, edit in EDITS.items():
            edit(picture).save(query)
            asked = embed_query(collection, Query(source=query), tools)
            for by, verify in WAYS.items():
                best = search(collection, SearchRequest(asked, LOOKED_AT, verify=verify), tools).hits[0]
                yield {"edit": name, "by": by, "right": best.item.path == source, "confidence": best.confidence}


def filled(store: Library, engine: Engine, paths: list[Path]) -> Collection:
    """The collection of these files; what an earlier run took in is not read again."""
    collection = store.open_for("asked", engine, create=True)
    left = [path for path in paths if collection.find_by_uri(path.resolve().as_uri()) is None]
    for _ in track(ingest_many(collection, engine, left), "index", len(left)):
        pass
    return collection


def report(rows: list[Row], what: str) -> None:
    """How often a confidence is right, by vectors alone and after pictures were looked at."""
    for word in WAYS:
        said = np.array([row["confidence"] for row in rows if row["by"] == word])
        right = np.array([row["right"] for row in rows if row["by"] == word])
        table = Table("confidence", "hits", "mean confidence", "right", title=f"{what}: by {word}")
        for low, high in zip(BINS, BINS[1:], strict=False):
            within = (said >= low) & (said < high)
            if within.any():
                told = (f"{low:g} to {high:g}", str(within.sum()))
                table.add_row(*told, f"{said[within].mean():.3f}", f"{right[within].mean():.3f}")
        sure = said >= 0.5
        missed = (right & ~sure).sum()
        Console().print(table)
        Console().print(f"{sure.sum()} sure, {(sure & ~right).sum()} of them wrong; {missed} right ones not sure")


if __name__ == "__main__":
    main()
