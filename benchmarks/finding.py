"""Is the right video found, and the right second? Against perceptual hashing, the plain rival, in one run.

    python benchmarks/finding.py FOLDER [--queries 200] [--fps 2]

Indexes the videos of FOLDER, cuts frames at random seconds, edits them (as it was, JPEG quality 30, cropped by 10 % a
side, brighter, mirrored, with a caption bar), and asks where each was seen. Rival: the smallest Hamming distance of
imagehash.phash over the same sampled frames. Prints, for each edit, how often the video comes first within one second,
and the median error in seconds; writes benchmarks/results/finding.json. Needs: pip install imagehash
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console
from rich.progress import track
from rich.table import Table

from vicmae.errors import MediaError
from vicmae.export.engine import Engine, open_engine
from vicmae.index.collection import Collection
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import Query, SearchRequest, embed_query, search, tools_of
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import MEDIA_SUFFIXES, frame_at, probe, read_frames
from vicmae.settings import SHIPPED_BUNDLE

RESULTS = Path(__file__).parent / "results"
LIMITS = MediaLimits()


def jpeg(picture: Image.Image) -> Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


def cropped(picture: Image.Image) -> Image.Image:
    w, h = picture.size
    return picture.crop((w // 10, h // 10, w - w // 10, h - h // 10))


def captioned(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    copy.paste((0, 0, 0), (0, copy.height * 85 // 100, copy.width, copy.height))
    return copy


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it was": lambda picture: picture,
    "JPEG quality 30": jpeg,
    "cropped 10 % a side": cropped,
    "brighter by half": lambda picture: ImageEnhance.Brightness(picture).enhance(1.5),
    "mirrored": ImageOps.mirror,
    "caption bar": captioned,
}


@dataclass(frozen=True)
class Answer:
    """What a method said: the video and the second."""

    name: str
    seconds: float


class Hashes:
    """The rival: one perceptual hash a sampled frame, linear search by Hamming distance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.seconds: list[float] = []
        self.bits: list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] = []

    def add(self, path: Path, fps: float) -> None:
        for frames in read_frames(path, fps):
            for picture, second in zip(frames.data, frames.seconds, strict=True):
                self.names.append(path.name)
                self.seconds.append(float(second))
                self.bits.append(imagehash.phash(Image.fromarray(picture)).hash.ravel())

    def search(self, picture: Image.Image) -> Answer:
        distance = (np.stack(self.bits) != imagehash.phash(picture).hash.ravel()).sum(axis=1)
        best = int(distance.argmin())
        return Answer(self.names[best], self.seconds[best])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--fps", type=float, default=2.0)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_engine(SHIPPED_BUNDLE) as engine,
        Library(Path(scratch) / "data") as library,
    ):
        collection = library.create("benchmark", engine)
        hashes, lengths = Hashes(), {}
        for path in track(sorted(arguments.folder.rglob("*")), "indexing"):
            if path.suffix.lower() not in MEDIA_SUFFIXES:
                continue
            outcome = ingest_file(collection, engine, path, IngestOptions(arguments.fps))
            if outcome.state == "added" and probe(path).kind == "video":
                hashes.add(path, arguments.fps)
                lengths[path] = probe(path).duration_seconds
        questions = random.Random(0)
        rows: dict[str, tuple[list[float], list[float], list[float]]] = {edit: ([], [], []) for edit in EDITS}
        for _ in track(range(arguments.queries), "asking"):
            path = questions.choice(list(lengths))
            wanted = questions.uniform(0, max(0.0, lengths[path] - 0.1))
            try:
                shown = frame_at(path, wanted)
            except MediaError:
                continue
            true = Answer(path.name, float(shown.seconds[0]))
            for edit, change in EDITS.items():
                picture = change(Image.fromarray(shown.data[0]))
                coarse, fine = ask(collection, engine, picture, Path(scratch) / "query.png")
                for errors, answer in zip(rows[edit], (hashes.search(picture), coarse, fine), strict=True):
                    right = answer.name == true.name
                    errors.append(abs(answer.seconds - true.seconds) if right else float("inf"))
        report(rows, len(lengths), collection.stats()["frames"], arguments.fps)


def ask(collection: Collection, engine: Engine, picture: Image.Image, scratch: Path) -> tuple[Answer, Answer]:
    """Our answers, by vectors alone and verified."""
    picture.save(scratch)
    tools = tools_of(engine)
    query = embed_query(collection, Query(source=scratch), tools)
    found = search(collection, SearchRequest(query, 10, verify=False)).hits
    verified = search(collection, SearchRequest(query, 10), tools).hits
    coarse, fine = (Answer(hits[0].item.name, hits[0].start_seconds) for hits in (found, verified))
    return coarse, fine


def report(rows: dict[str, tuple[list[float], list[float], list[float]]], videos: int, frames: int, fps: float) -> None:
    """The table on the screen, the figures in results/."""
    names = ("phash", "vectors", "vectors, verified")
    title = f"video first and within 1 s; median error ({videos} videos, {frames} vectors at {fps:g} a second)"
    table = Table("edit", *names, title=title)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for edit, columns in rows.items():
        cells, figures[edit] = [], {}
        for name, errors in zip(names, columns, strict=True):
            share, median = float(np.mean(np.array(errors) <= 1.0)), float(np.median(errors))
            figures[edit][name] = {"within_1_s": round(share, 4), "median_seconds": round(median, 3)}
            cells.append(f"{share:.3f}; {median:.2f} s")
        table.add_row(edit, *cells)
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    facts = {"videos": videos, "vectors": frames, "frames_per_second": fps, "edits": figures}
    (RESULTS / "finding.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
