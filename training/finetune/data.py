"""What fine-tuning reads: labelled pictures and clips as items, decoded once into a cache or again whenever wanted.

An item gives its frames at wanted seconds; a picture has one, at 0. Augmentation, views and batches are not known here.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import TrainingError
from ...media.reader import probe, read_frames
from ..evaluate import QUERY_SPLITS
from ..labelled import Sample, list_labelled, read_labelled
from ..layouts import split_source
from ..sources import Report, decode_in_threads, require_few_bad

TRAINING_SPLITS = ("train", "gallery")
DECODED_FRAMES_PER_SECOND = 15.0  # of a clip in the cache: twice the rate at which the protocols sample
DECODE_MARGIN = 2.0  # frames decoded for each that is wanted, so that the wanted second is met
Wanted = Callable[[float], NDArray[np.float64]]  # duration in seconds -> seconds (T,), ascending, within it


class Items(Protocol):
    """Labelled items of one role. targets (I,) int64: places in the list of classes."""

    @property
    def names(self) -> list[str]: ...

    @property
    def targets(self) -> NDArray[np.int64]: ...

    def frames(self, item: int, wanted: Wanted) -> NDArray[np.uint8]:
        """(T, H, W, 3): what an item shows at the wanted seconds. Raises MediaError where it cannot be read."""
        ...


@dataclass(frozen=True)
class Decoded:
    """Items in one flat file: item i begins at byte offset[i], with a frame (*shape[i], 3) for each of seconds[i]."""

    names: list[str]
    targets: NDArray[np.int64]
    data: NDArray[np.uint8]
    offset: NDArray[np.int64]
    shape: NDArray[np.int64]
    seconds: list[NDArray[np.float64]]

    def frames(self, item: int, wanted: Wanted) -> NDArray[np.uint8]:
        height, width = self.shape[item]
        seconds = self.seconds[item]
        stored = self.data[self.offset[item] :][: len(seconds) * height * width * 3]
        return np.asarray(stored.reshape(-1, height, width, 3)[shown_rows(seconds, wanted(float(seconds[-1])))])

    def of_rows(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> "Decoded":
        return replace(
            self,
            names=[self.names[r] for r in rows],
            targets=targets,
            offset=self.offset[rows],
            shape=self.shape[rows],
            seconds=[self.seconds[r] for r in rows],
        )


@dataclass(frozen=True)
class OnDemand:
    """Items in files of their own, decoded anew each time."""

    names: list[str]
    targets: NDArray[np.int64]
    paths: list[Path]

    def frames(self, item: int, wanted: Wanted) -> NDArray[np.uint8]:
        path = self.paths[item]
        info = probe(path)
        if info.kind == "image":
            return next(read_frames(path, 1.0)).data
        times = wanted(info.duration_seconds)
        gap = float(np.diff(times).max()) if len(times) > 1 and times[-1] > times[0] else 1.0
        # From one gap before, so that what is shown at the first wanted second is among the frames.
        start, rate = max(0.0, float(times[0]) - gap), DECODE_MARGIN / gap
        end = float(times[-1]) + 1 / rate
        chunks = list(read_frames(path, rate, start_seconds=start, end_seconds=end))
        shape = chunks[0].data.shape[1:]
        data = np.concatenate([c.data for c in chunks if c.data.shape[1:] == shape])
        seconds = np.concatenate([c.seconds for c in chunks if c.data.shape[1:] == shape])
        return data[shown_rows(seconds, times)]


def shown_rows(seconds: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Frames at seconds (R,) ascending -> (T,) rows: at each wanted second the last frame not after it."""
    return np.asarray((np.searchsorted(seconds, wanted + 1e-6, side="right") - 1).clip(min=0), np.int64)


@dataclass(frozen=True)
class Task:
    """What is learned and what is asked; bad: (name, reason) of items that could not be decoded into the cache."""

    train: Items
    test: Items
    classes: tuple[str, ...]
    bad: list[tuple[str, str]]


def load_task(
    source: Path,
    set_name: str | None,
    column: str,
    cache: Path | None,
    side: int,
    report: Report | None = None,
    classes: tuple[str, ...] | None = None,
) -> Task:
    """Labelled items of a folder that evaluate reads, too. With a `cache` they are decoded once, the shorter side to
    `side` pixels at most; without one their files are read when they are wanted.

    The classes are those of the training items, or the given ones of a classifier that is only to be tested.

    TrainingError when a role has no items, a tested class no training item, or more than 5 % cannot be decoded.
    """
    if cache is None:
        listed = list_labelled(source, set_name, column)
        rows, classes = split_roles([i.split for i in listed], [i.label for i in listed], source, classes)
        paths = np.array([i.path for i in listed], object)
        train, test = (OnDemand([listed[i].name for i in r], t, list(paths[r])) for r, t in rows)
        return Task(train, test, classes, [])
    folder = cache / _cache_key(source, set_name, column, side)
    if not (folder / "index.json").exists():
        _decode_all(read_labelled(source, set_name, column), folder, side, report)
    index = json.loads((folder / "index.json").read_text())
    bad = [(name, reason) for name, reason in index["bad"]]
    require_few_bad(bad, len(index["name"]) + len(bad))
    rows, classes = split_roles(index["split"], index["label"], source, classes)
    stored = Decoded(
        names=index["name"],
        targets=np.zeros(0, np.int64),
        data=np.memmap(folder / "frames.u8", np.uint8, "r"),
        offset=np.asarray(index["offset"], np.int64),
        shape=np.asarray(index["shape"], np.int64),
        seconds=[np.asarray(s, np.float64) for s in index["seconds"]],
    )
    train_items, test_items = (stored.of_rows(r, t) for r, t in rows)
    return Task(train_items, test_items, classes, bad)


Rows = tuple[NDArray[np.int64], NDArray[np.int64]]


def split_roles(
    splits: list[str], labels: list[str], source: Path, classes: tuple[str, ...] | None = None
) -> tuple[tuple[Rows, Rows], tuple[str, ...]]:
    """-> ((rows, targets) to learn, (rows, targets) to ask), the classes: sorted names, or those that are given."""
    unlabelled = sum(not label for label in labels)
    if unlabelled:
        raise TrainingError(
            f"{unlabelled} of {len(labels)} files of {source} have no label. Choose a set with --subset."
        )
    learned = [] if classes else _rows_in(TRAINING_SPLITS, splits, source)
    asked = _rows_in(QUERY_SPLITS, splits, source)
    known = classes or tuple(sorted({labels[i] for i in learned}))
    if len(known) < 2:
        raise TrainingError(f"All training items are of the class {known[0]}; a classifier needs two or more.")
    never_seen = sorted({labels[i] for i in asked} - set(known))
    if never_seen:
        raise TrainingError(
            f"{len(never_seen)} classes are tested but have no training item, such as {never_seen[0]}. Add items to "
            f"learn them from, or leave them out of the test."
        )
    place = {label: number for number, label in enumerate(known)}
    to_learn, to_ask = (
        (np.array(rows, np.int64), np.array([place[labels[i]] for i in rows], np.int64)) for rows in (learned, asked)
    )
    return (to_learn, to_ask), known


def _rows_in(names: tuple[str, ...], splits: list[str], source: Path) -> list[int]:
    rows = [i for i, split in enumerate(splits) if split in names]
    if not rows:
        found = ", ".join(sorted(set(splits))) or "none"
        raise TrainingError(
            f"{source} has no item in a split {' or '.join(names)}; it has the splits: {found}. Order files as "
            f"SPLIT/LABEL/FILE."
        )
    return rows


def _cache_key(source: Path, set_name: str | None, column: str, side: int) -> str:
    """Names, lengths and times of all files below say whether a cache still holds what they hold."""
    root = split_source(source)[1]
    if not root.is_dir():
        raise TrainingError(
            f"There is no folder {root}. Name one with an index.csv, a tree SPLIT/LABEL/FILE, or LAYOUT:FOLDER."
        )
    stats = sorted((str(f), s.st_size, s.st_mtime_ns) for f in root.rglob("*") if f.is_file() for s in [f.stat()])
    values = [str(source), stats, set_name, column, side, DECODED_FRAMES_PER_SECOND]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _decode_all(samples: Iterable[Sample], folder: Path, side: int, report: Report | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, list[Any]] = {n: [] for n in ("name", "label", "split", "offset", "shape", "seconds", "bad")}
    offset = 0
    partial = folder / "frames.u8.partial"
    with partial.open("wb") as out:
        decoded = decode_in_threads(
            samples,
            lambda sample: decode_small(sample.content, side),
            lambda sample: sample.name,
            lambda sample: len(sample.content),
            index["bad"],
            report,
        )
        for sample, (frames, seconds) in decoded:
            for name, value in (("name", sample.name), ("label", sample.label), ("split", sample.split)):
                index[name].append(value)
            index["offset"].append(offset)
            index["shape"].append(frames.shape[1:3])
            index["seconds"].append(seconds.tolist())
            out.write(frames.tobytes())
            offset += frames.nbytes
    partial.rename(folder / "frames.u8")
    aside = folder / "index.json.partial"
    aside.write_text(json.dumps(index))
    aside.rename(folder / "index.json")


def decode_small(content: bytes, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An encoded picture or clip -> frames (T, H, W, 3) of one shape, the shorter side `side` at most; seconds (T,)."""
    frames: list[NDArray[np.uint8]] = []
    seconds: list[float] = []
    size: tuple[int, int] | None = None
    for chunk in read_frames(content, DECODED_FRAMES_PER_SECOND):
        for picture, second in zip(chunk.data, chunk.seconds, strict=True):
            height, width = picture.shape[:2]
            shrink = min(1.0, side / min(height, width))
            size = size or (max(1, math.ceil(width * shrink)), max(1, math.ceil(height * shrink)))
            if size != (width, height):
                picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
            frames.append(picture)
            seconds.append(float(second))
    return np.stack(frames), np.array(seconds, np.float64)
