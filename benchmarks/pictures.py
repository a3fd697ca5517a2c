"""What does the frame store cost, and what does it bring?

    python benchmarks/pictures.py FOLDER [--files 60] [--rounds 3]

FOLDER holds photos or videos. Prints bytes, milliseconds and PSNR of a stored picture by side and quality; the time of
indexing with and without the store, interleaved; the cosine of a vector made of a stored picture to that of the file;
and the time of embedding everything anew from either. Writes benchmarks/results/pictures-FOLDER.json.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from vicmae.errors import MediaError
from vicmae.export.engine import Engine, open_engine
from vicmae.index.collection import Collection
from vicmae.index.ingest import IngestOptions, open_both, reembed
from vicmae.index.ingest.pipeline import ingest_many
from vicmae.index.library import Library
from vicmae.media.reader import MEDIA_SUFFIXES, read_frames
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
SHRUNK = ((240, 80), (320, 75), (320, 80), (320, 85))  # shorter side, JPEG quality
PICTURES_A_FILE = 4


class Renamed:
    """The same engine under another fingerprint, so that a collection can be embedded anew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.fingerprint = engine.fingerprint[::-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of this process on all cores."""
    began, worked = perf_counter(), process_time()
    work()
    return perf_counter() - began, process_time() - worked


def _all(steps: Iterable[object]) -> None:
    for _ in steps:
        pass


def formats(paths: list[Path]) -> list[dict[str, float]]:
    """What a stored picture is by side and quality."""
    pictures: list[NDArray[np.uint8]] = []
    for path in paths:
        for frames in read_frames(path, 0.5, shorter_side=320, chunk=PICTURES_A_FILE):
            pictures += [*frames.data]
            break
    return [{"side": side, "quality": quality, **_format(pictures, side, quality)} for side, quality in SHRUNK]


def _format(pictures: list[NDArray[np.uint8]], side: int, quality: int) -> dict[str, float]:
    made, read, sizes, noise = 0.0, 0.0, [], []
    for picture in pictures:
        began = process_time()
        share = min(1.0, side / min(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) if share < 1 else picture
        small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        made += process_time() - began
        began = process_time()
        back = cv2.imdecode(data, cv2.IMREAD_COLOR)
        read += process_time() - began
        sizes.append(len(data))
        noise.append(cv2.PSNR(small, back))
    count = len(pictures)
    return {
        "pictures": count,
        "bytes": round(sum(sizes) / count),
        "make_ms": 1e3 * made / count,
        "read_ms": 1e3 * read / count,
        "psnr_db": sum(noise) / count,
    }


def indexing(paths: list[Path], engine: Engine, folder: Path, rounds: int) -> dict[str, Any]:
    """Indexing with and without the store, one after the other in turn; every file must be readable."""
    spent: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    stats: dict[str, Any] = {}
    for turn in range(2 * rounds):
        way = ("with", "without")[(turn + turn // 2) % 2]
        with Library(folder / f"{way}-{turn}") as library:
            collection = library.create("c", engine)
            options = IngestOptions(frame_store=way == "with")
            spent[way].append(timed(partial(_all, ingest_many(collection, engine, paths, options))))
            if way == "with":
                stats = collection.stats()
    figures: dict[str, Any] = {"seconds": {}, "cpu_seconds": {}}
    for way, all_rounds in spent.items():
        figures["seconds"][way] = median(clock for clock, _ in all_rounds)
        figures["cpu_seconds"][way] = median(cpu for _, cpu in all_rounds)
    return {**figures, **{name: stats[name] for name in ("items", "frames", "video_seconds", "picture_bytes")}}


def anew(paths: list[Path], engine: Engine, folder: Path) -> dict[str, Any]:
    """Embedding everything once more, from files and from stored pictures; and how alike the vectors are."""
    renamed: Any = Renamed(engine)
    figures: dict[str, Any] = {}
    with Library(folder / "anew") as library:
        list(ingest_many(library.create("old", engine), engine, paths))
        for into, from_files in (("files", True), ("pictures", False)):
            source, target = open_both(library, "old", into, renamed)
            clock, cpu = timed(partial(_all, reembed(source, target, renamed, from_files=from_files)))
            figures[into] = {"seconds": clock, "cpu_seconds": cpu}
        alike = np.concatenate([_cosines(library.open("files"), library.open("pictures"), i) for i in _ids(source)])
    lowest, tenth, middle = (float(share) for share in np.quantile(alike, (0.0, 0.1, 0.5)))
    return {**figures, "cosine": {"lowest": lowest, "one_in_ten_below": tenth, "median": middle}}


def _ids(collection: Collection) -> list[str]:
    return [item.id for page in collection.pages(1000) for item in page]


def _cosines(one: Collection, other: Collection, item_id: str) -> NDArray[np.float32]:
    """Of the vectors of both at the same places; a folded film may have a frame more or less at its end."""
    a, b = one.moments_of(item_id).vectors, other.moments_of(item_id).vectors
    both = min(len(a), len(b))
    return np.asarray((a[:both] * b[:both]).sum(axis=1), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    paths = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in MEDIA_SUFFIXES)[: arguments.files]
    if not paths:
        raise SystemExit(f"{arguments.folder} holds no picture and no video.")
    cv2.setNumThreads(1)
    try:
        rows = formats(paths)
    except MediaError as error:
        raise SystemExit(f"A file cannot be read: {error}") from error
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(SHIPPED_BUNDLE, threads=1))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        figures = {"formats": rows, "indexing": indexing(paths, engine, folder, arguments.rounds)}
        figures["anew"] = anew(paths, engine, folder)
    report(figures)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"pictures-{arguments.folder.name}.json").write_text(json.dumps(figures, indent=2) + "\n")


def report(figures: dict[str, Any]) -> None:
    """The figures on the screen."""
    table = Table("side", "quality", "KB a picture", "ms to make", "ms to read", "PSNR")
    for row in figures["formats"]:
        times = f"{row['make_ms']:.2f}", f"{row['read_ms']:.2f}"
        table.add_row(
            str(row["side"]), str(row["quality"]), f"{row['bytes'] / 1e3:.1f}", *times, f"{row['psnr_db']:.1f}"
        )
    Console().print(table)
    took = figures["indexing"]
    print(f"{took['items']} items, {took['frames']} frames, {took['video_seconds']:.0f} s of video")
    print(
        f"{took['picture_bytes'] / 1e6:.1f} MB of pictures, {took['picture_bytes'] / took['frames'] / 1e3:.1f} KB each"
    )
    if took["video_seconds"]:
        print(f"{took['picture_bytes'] / took['video_seconds'] * 3600 / 1e6:.0f} MB an hour of video")
    for name in ("seconds", "cpu_seconds"):
        without, with_store = took[name]["without"], took[name]["with"]
        each = 1e3 * (with_store - without) / took["frames"]
        print(f"indexing, {name}: {without:.2f} without, {with_store:.2f} with, {each:.2f} ms a frame more")
    again = figures["anew"]
    print(
        f"embedding anew: {again['files']['seconds']:.2f} s from files, "
        f"{again['pictures']['seconds']:.2f} s from stored pictures"
    )
    print("cosine of both: " + ", ".join(f"{name} {value:.4f}" for name, value in again["cosine"].items()))


if __name__ == "__main__":
    main()
