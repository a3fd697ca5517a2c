"""Labelled pictures and clips, to judge or to fine-tune an encoder with. Reads only; trains nothing, embeds nothing.

Three forms are read. A folder with an `index.csv` (columns file, label, group, split; also shard when the files stand
in tar shards, and set to choose by), a tree SPLIT/LABEL/FILE such as train/cat/1.jpg, or a dataset LAYOUT:FOLDER.
"""

import csv
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError
from ..media.reader import MEDIA_SUFFIXES
from .layouts import list_dataset, split_source


@dataclass(frozen=True)
class Sample:
    """One labelled file: its class or group, and whether it is looked in (train, gallery) or asked (test, query)."""

    name: str
    label: str
    split: str
    content: bytes


@dataclass(frozen=True)
class Labelled:
    """A sample that stands in a file of its own, not yet read."""

    name: str
    label: str
    split: str
    path: Path


def list_labelled(folder: Path, name: str | None, column: str) -> list[Labelled]:
    """As read_labelled, but the files, which may then be read in any order; tar shards are refused."""
    layout, dataset = split_source(folder)
    if layout is not None:
        return list(_list_dataset(layout, dataset, name, column))
    if (folder / "index.csv").is_file():
        rows = _rows_of_index(folder, name, column)
        shard = next((row["shard"] for row in rows if row.get("shard")), None)
        if shard is not None:
            raise TrainingError(
                f"{folder / shard} is a tar shard, whose files cannot be read in any order. Decode them once into a "
                f"cache (--set decoding=once), or unpack it."
            )
        return [Labelled(row["file"], row[column], row["split"], folder / row["file"]) for row in rows]
    return list(_list_tree(_tree(folder, name)))


def read_labelled(folder: Path, name: str | None, column: str) -> Iterator[Sample]:
    """The samples below `folder`; `name` picks a set of its index.csv, `column` is label or group.

    Of a dataset the items without label are left out, and missing files too, up to the 5 % that list_dataset allows.
    """
    layout, dataset = split_source(folder)
    if layout is not None:
        yield from _read(_list_dataset(layout, dataset, name, column))
    elif (folder / "index.csv").is_file():
        yield from _read_index(folder, name, column)
    else:
        yield from _read(_list_tree(_tree(folder, name)))


def _read(listed: Iterable[Labelled]) -> Iterator[Sample]:
    for item in listed:
        try:
            content = item.path.read_bytes()
        except OSError as error:
            raise TrainingError(f"{item.path} cannot be read: {error.strerror}.") from error
        yield Sample(item.name, item.label, item.split, content)


def _list_dataset(layout: str, folder: Path, name: str | None, column: str) -> Iterator[Labelled]:
    if name is not None or column != "label":
        raise TrainingError(f"{layout}:{folder} has one set, and labels only: leave out --set, give --column label.")
    for item in list_dataset(layout, folder).items:
        if item.label is not None:
            yield Labelled(item.path.relative_to(folder).as_posix(), item.label, item.split, item.path)


def _rows_of_index(folder: Path, name: str | None, column: str) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sets = sorted({row.get("set", "") for row in rows})
    chosen = [row for row in rows if name is None or row.get("set") == name]
    if not chosen:
        raise TrainingError(f"{folder / 'index.csv'} has no rows of set {name!r}; it has {', '.join(sets) or 'none'}.")
    columns = {"file", "split", column} - set(chosen[0])
    if columns:
        raise TrainingError(f"{folder / 'index.csv'} lacks the column {', '.join(sorted(columns))}.")
    return chosen


def _read_index(folder: Path, name: str | None, column: str) -> Iterator[Sample]:
    by_shard: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for row in _rows_of_index(folder, name, column):
        by_shard[row.get("shard", "")][row["file"]] = row
    for shard, wanted in by_shard.items():
        lacking = set(wanted)
        try:
            for file_name, content in _contents(folder, shard, set(wanted)):
                row = wanted[file_name]
                lacking.discard(file_name)
                yield Sample(file_name, row[column], row["split"], content)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise TrainingError(f"{folder / shard} cannot be read: {error}. Fetch it again.") from error
        if lacking:
            raise TrainingError(f"{folder / shard} lacks {len(lacking)} files of index.csv, such as {min(lacking)}.")


def _contents(folder: Path, shard: str, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    if not shard:
        for file_name in sorted(wanted):
            yield file_name, (folder / file_name).read_bytes()
        return
    with tarfile.open(folder / shard, "r|*") as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.name in wanted else None
            if handle is not None:
                yield member.name, handle.read()


def _tree(folder: Path, name: str | None) -> Path:
    tree = folder if name is None else folder / name
    if not tree.is_dir():
        raise TrainingError(
            f"There is no folder {tree}. Name one with an index.csv, a tree SPLIT/LABEL/FILE, or LAYOUT:FOLDER."
        )
    return tree


def _list_tree(folder: Path) -> Iterator[Labelled]:
    classes = sorted(c for split in folder.iterdir() if split.is_dir() for c in split.iterdir() if c.is_dir())
    for kind in classes:
        files = sorted(p for p in kind.rglob("*") if p.is_file() and p.suffix.lower() in MEDIA_SUFFIXES)
        if not files:
            raise TrainingError(f"The class {kind} holds no picture or video. Fetch its files or remove the folder.")
        for file in files:
            yield Labelled(file.relative_to(folder).as_posix(), kind.name, kind.parent.name, file)
