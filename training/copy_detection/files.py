"""The pictures and clips of a set, read when they are asked for. Labels are not looked at."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ...errors import MediaError, TrainingError
from ...media.edits import shrunk
from ...media.frames import Picture
from ...media.reader import MEDIA_SUFFIXES, Source, probe, read_frames
from ..labelled import read_labelled
from ..layouts import list_dataset, split_source

SIDE = 256
"""Pictures are edited and asked with a short side of at most so many pixels."""


class PictureFiles(Mapping[str, Picture]):
    """Names to pictures, decoded at each look and no larger than SIDE."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def __getitem__(self, name: str) -> Picture:
        frames = next(read_frames(self._sources[name], 1.0, shorter_side=SIDE))
        return shrunk(frames.data[0], SIDE)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def read_set(folder: Path, sets: Iterable[str] = ()) -> tuple[PictureFiles, dict[str, Source], list[tuple[str, str]]]:
    """-> pictures, clips, and (name, reason) of what cannot be read.

    folder  one with an index.csv (`sets` picks of its sets), LAYOUT:FOLDER, or any folder of pictures and clips
    """
    pictures: dict[str, Source] = {}
    clips: dict[str, Source] = {}
    bad: list[tuple[str, str]] = []
    for name, source in _sources(folder, list(sets)):
        try:
            info = probe(source)
            if info.kind == "image":
                next(read_frames(source, 1.0, shorter_side=SIDE))
        except MediaError as error:
            bad.append((name, str(error)))
            continue
        count = len(pictures) + len(clips)
        unique = name if name not in pictures and name not in clips else f"{name} ({count})"  # of another shard
        (pictures if info.kind == "image" else clips)[unique] = source
    if not pictures and not clips:
        raise TrainingError(f"There is no readable picture or clip in {folder}.")
    return PictureFiles(pictures), clips, bad


def _sources(folder: Path, sets: list[str]) -> Iterator[tuple[str, Source]]:
    layout, dataset = split_source(folder)
    if layout is not None:
        for item in list_dataset(layout, dataset).items:
            yield item.path.relative_to(dataset).as_posix(), item.path
    elif (folder / "index.csv").is_file():
        wanted: list[str | None] = [*sets] or [None]
        for name in wanted:
            for sample in read_labelled(folder, name, "split"):
                yield f"{name}/{sample.name}" if len(sets) > 1 else sample.name, sample.content
    elif folder.is_dir():
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in MEDIA_SUFFIXES):
            yield path.relative_to(folder).as_posix(), path
    else:
        raise TrainingError(f"There is no folder {folder}. Name one of pictures or clips, or LAYOUT:FOLDER.")
