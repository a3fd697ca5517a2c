"""Dataset folders as they are handed out -> items: a path, a label, a split (PAPER 6).

A source is written LAYOUT:FOLDER, such as `ssv2:/data/ssv2`. Folders are listed and lists read; no media is opened.
What is done with labels and splits is decided elsewhere: pretraining takes the train items, evaluation the labelled.
"""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from ..media.reader import MEDIA_SUFFIXES

MOST_MISSING_SHARE = 0.05
SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Item:
    """One file of a dataset; split is train, val or test, and a label may be unknown."""

    path: Path
    label: str | None
    split: str


@dataclass(frozen=True)
class Listing:
    """The items that are there, and the paths that a list names but the disk lacks."""

    items: list[Item]
    missing: list[Path]


def split_source(source: Path) -> tuple[str | None, Path]:
    """`LAYOUT:FOLDER` -> its two parts; a plain path has no layout."""
    name, colon, folder = str(source).partition(":")
    if colon and name in LAYOUTS and not source.exists():
        return name, Path(folder)
    return None, source


def list_dataset(layout: str, folder: Path) -> Listing:
    """The items of a dataset. A missing folder, an empty class, over 5 % of missing files raise TrainingError."""
    if not folder.is_dir():
        raise TrainingError(f"There is no folder {folder}. Name the folder of the dataset after {layout}:.")
    items: list[Item] = []
    missing: list[Path] = []
    for item in LAYOUTS[layout](folder):
        if item.path.is_file():
            items.append(item)
        else:
            missing.append(item.path)
    listed = len(items) + len(missing)
    if len(missing) > MOST_MISSING_SHARE * listed:
        raise TrainingError(
            f"{len(missing)} of the {listed} files that the lists in {folder} name are not there, more than "
            f"{MOST_MISSING_SHARE:.0%}. The first: {missing[0]}. Fetch them, or take their lines out."
        )
    if not items:
        raise TrainingError(f"{folder} lists not one file.")
    return Listing(items, missing)


def _class_folders(root: Path) -> Iterator[Item]:
    """SPLIT/CLASS/FILE, however deep the file lies below its class."""
    folders = [f for f in sorted(root.iterdir()) if f.is_dir() and f.name in SPLITS]
    if not folders:
        raise TrainingError(f"{root} has none of the folders {', '.join(SPLITS)} with a folder for each class.")
    for folder in folders:
        yield from _classes(folder)


def _classes(folder: Path) -> Iterator[Item]:
    if not folder.is_dir():
        raise TrainingError(f"There is no folder {folder}; expected one with a folder for each class.")
    classes = sorted(f for f in folder.iterdir() if f.is_dir())
    if not classes:
        raise TrainingError(f"{folder} has no class folders. Move each file into a folder named like its class.")
    for kind in classes:
        files = sorted(f for f in kind.rglob("*") if f.suffix.lower() in MEDIA_SUFFIXES)
        if not files:
            raise TrainingError(f"The class {kind} holds no picture or video. Fetch its files or remove the folder.")
        for file in files:
            yield Item(file, kind.name, SPLITS[folder.name])


def _imagenet(root: Path) -> Iterator[Item]:
    """{train,val}/SYNSET/*.JPEG; the unlabelled test folder is left alone."""
    for name in ("train", "val"):
        yield from _classes(root / name)


def _kinetics(root: Path) -> Iterator[Item]:
    """annotations/{train,val,test}.csv, or the lists in the folder itself, or class folders without any list.

    A file is found by its name ID_START_END wherever it lies below its split: tools name class folders differently.
    """
    lists = _lists(root, [Path("annotations"), Path()], ".csv")
    if not lists:
        yield from _class_folders(root)
        return
    for split, file in lists:
        place = root / split if (root / split).is_dir() else root
        there = {f.stem: f for f in place.rglob("*") if f.suffix.lower() in MEDIA_SUFFIXES}
        for number, row in enumerate(_rows(file), start=2):
            try:
                times = f"{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
                name = f"{row['youtube_id']}_{times}"
            except (KeyError, TypeError, ValueError) as error:
                raise TrainingError(
                    f"{file}, line {number} is no line of Kinetics; expected the columns label, youtube_id, "
                    f"time_start, time_end and split. A list of `path label` is read with list:{root}."
                ) from error
            yield Item(there.get(name, place / f"{name}.mp4"), row.get("label") or None, split)


def _path_label_lists(root: Path) -> Iterator[Item]:
    """{train,val,test}.csv (or .txt) without header: `path label` a line, as MAE-ST and VideoMAE read it."""
    lists = _lists(root, [Path()], ".csv") or _lists(root, [Path()], ".txt")
    if not lists:
        raise TrainingError(f"{root} has no train.csv, val.csv or test.csv of lines `path label`.")
    for split, file in lists:
        for path, label in _path_and_label(file):
            yield Item(root / path, label, split)


def _something(root: Path) -> Iterator[Item]:
    """Something-Something-v2: JSON lists under either naming, ID.webm (or .mp4) in 20bn-something-something-v2.

    The label is the template without brackets, as labels.json spells it.
    """
    videos = root / "20bn-something-something-v2"
    if not videos.is_dir():
        raise TrainingError(f"There is no folder {videos} with the videos of Something-Something-v2.")
    found = False
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        for file in (root / f"something-something-v2-{name}.json", root / "labels" / f"{name}.json"):
            if file.is_file():
                found = True
                yield from _something_list(file, videos, split)
                break
    if not found:
        raise TrainingError(
            f"{root} has no list: neither something-something-v2-train.json nor labels/train.json, nor those of "
            f"validation and test."
        )


def _something_list(file: Path, videos: Path, split: str) -> Iterator[Item]:
    for entry in _json(file):
        if not isinstance(entry, dict) or "id" not in entry:
            raise TrainingError(f"{file} is no list of entries with an id; it has {str(entry)[:60]!r}.")
        template = entry.get("template")
        paths = [videos / f"{entry['id']}{suffix}" for suffix in (".webm", ".mp4")]
        label = template.replace("[", "").replace("]", "") if isinstance(template, str) else None
        yield Item(next((p for p in paths if p.is_file()), paths[0]), label, split)


def _moments(root: Path) -> Iterator[Item]:
    """{training,validation}/LABEL/CLIP.mp4; by trainingSet.csv and validationSet.csv (path,label,…) if there."""
    lists = [(name, root / f"{name}Set.csv") for name in ("training", "validation")]
    if not any(file.is_file() for _, file in lists):
        for name, _ in lists:
            yield from _classes(root / name)
        return
    for name, file in lists:
        if not file.is_file():
            continue
        for number, line in enumerate(_lines(file), start=1):
            cells = next(csv.reader([line]))
            if len(cells) < 2:
                raise TrainingError(f"{file}, line {number} is {line!r}; expected path,label,…")
            yield Item(root / name / cells[0], cells[1], SPLITS[name])


def _places(root: Path) -> Iterator[Item]:
    """Places365: the lists and folders that torchvision reads, large or 256; or {train,val}/CLASS ("easyformat")."""
    lists = [
        ("train", root / "places365_train_standard.txt", ("data_large_standard", "data_256_standard")),
        ("val", root / "places365_val.txt", ("val_large", "val_256")),
    ]
    if not any(file.is_file() for _, file, _ in lists):
        yield from _class_folders(root)
        return
    names = {number: name.strip("/") for name, number in _path_and_label(root / "categories_places365.txt")}
    for split, file, folders in lists:
        if not file.is_file():
            continue
        folder = next((root / f for f in folders if (root / f).is_dir()), None)
        if folder is None:
            raise TrainingError(f"{root} has {file.name}, but neither {folders[0]} nor {folders[1]} beside it.")
        for path, number in _path_and_label(file):
            if number not in names:
                raise TrainingError(f"{file} has the class {number}, which categories_places365.txt does not name.")
            yield Item(folder / path.lstrip("/"), names[number], split)


LAYOUTS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "classes": _class_folders,
    "imagenet": _imagenet,
    "kinetics": _kinetics,
    "list": _path_label_lists,
    "moments": _moments,
    "places365": _places,
    "ssv2": _something,
}


def _lists(root: Path, below: list[Path], suffix: str) -> list[tuple[str, Path]]:
    """(split, file) of the lists train, val and test in the first of the folders that has any."""
    for folder in below:
        files = [(split, root / folder / f"{split}{suffix}") for split in ("train", "val", "test")]
        there = [(split, file) for split, file in files if file.is_file()]
        if there:
            return there
    return []


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise TrainingError(f"The list {file} cannot be read: {error}.") from error


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    yield from csv.DictReader(_lines(file))


def _path_and_label(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(file), start=1):
        path, space, label = line.strip().rpartition(" ")
        if not space:
            raise TrainingError(f"{file}, line {number} is {line!r}; expected `path label`.")
        yield path, label


def _json(file: Path) -> list[Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"The list {file} cannot be read: {error}.") from error
    if not isinstance(loaded, list):
        raise TrainingError(f"{file} holds no list; expected entries with id and template.")
    return loaded
