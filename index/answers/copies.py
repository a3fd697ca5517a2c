"""False copies: duplicates looked for in a library of different pictures, to which edited copies were added."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from ...media.decoding import Decoder
from ...media.edits import CLIP_EDITS, edited, edited_clip, shuffled
from ...media.limits import MediaLimits
from ..catalog import Item
from ..collection import Collection
from ..duplicates import find_duplicates
from ..search import Tools
from .clips import RATE, frames_of
from .judge import png
from .material import LOOKALIKES, Material
from .stills import draw_strangers, picture_of

PHOTO_EDITS = (
    "jpeg 20",
    "low resolution",
    "crop 75 %",
    "crop 50 %",
    "mirrored",
    "stretched",
    "border",
    "colours",
    "grey",
    "low light",
    "emoji",
)
"""Edits after which a picture is a copy of what it was made of. Those that set it among others or on a screen are not
here, nor those after which a search for duplicates does not look for it: turns, small crops, much text."""


@dataclass(frozen=True)
class Copy:
    """A file that was made of one of the library's."""

    path: Path
    edit: str
    source: Path


@dataclass(frozen=True)
class FalseCopy:
    """Two different files of the library that were called copies, or copies made of them; group: the folder of
    look-alikes that holds both, if one does."""

    a: str
    b: str
    kind: str
    group: str | None


@dataclass(frozen=True)
class CopiesJudged:
    """made, found: copies by edit. Of `items` items, `compared` pairs were compared."""

    false: list[FalseCopy]
    made: dict[str, int]
    found: dict[str, int]
    items: int
    compared: int


def make_copies(
    material: Material, folder: Path, count: int, seed: int, decoder: Decoder, limits: MediaLimits
) -> Iterator[Copy]:
    """`count` photos after each of PHOTO_EDITS and clips after each of CLIP_EDITS, as files below the folder.

    What an earlier run has written is used again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = [still.picture for still in draw_strangers(material, count, None, seed, decoder, limits)]
    for name in shuffled(material.photos, seed)[:count]:
        source = material.photos[name]
        for edit in PHOTO_EDITS:
            path = folder / _file_name(edit, name, seed, ".png")
            if not path.exists():
                picture = picture_of(source, decoder, limits)
                path.write_bytes(png(edited(edit, picture, name, others, seed)))
            yield Copy(path, edit, source)
    for name in shuffled(material.clips, seed)[:count]:
        source = material.clips[name]
        for edit in CLIP_EDITS:
            path = folder / _file_name(edit, name, seed, ".mp4")
            if not path.exists():
                duration_seconds = decoder.probe(source, limits).duration_seconds
                frames = frames_of(source, 0.0, duration_seconds, decoder, limits)
                path.write_bytes(edited_clip(edit, frames, RATE, name, seed)[0])
            yield Copy(path, f"clip: {edit}", source)


def judge_copies(
    collection: Collection,
    material: Material,
    copies: Sequence[Copy],
    tools: Tools,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> CopiesJudged:
    """Looks for duplicates in a collection of all of the library and the copies."""
    found = find_duplicates(collection, tools, on_progress)
    source_of = {copy.path: copy.source for copy in copies}

    def source(item: Item) -> Path:
        return source_of.get(item.path, item.path)

    false: dict[FalseCopy, None] = {}  # each once, however many copies of the two say so
    linked: set[Path] = set()  # files called copies of one that they truly are a copy of
    for group in found.groups:
        for pair in group.pairs:
            items = found.items[pair.a], found.items[pair.b]
            first, second = sorted(map(source, items))
            if first == second:
                linked |= {item.path for item in items}
            else:
                named = FalseCopy(_name(first, material), _name(second, material), pair.kind, _group(first, second))
                false.setdefault(named)
    made = Counter(copy.edit for copy in copies)
    right = Counter(copy.edit for copy in copies if copy.path in linked)
    return CopiesJudged(
        list(false), dict(made), {edit: right[edit] for edit in made}, collection.count(), found.compared
    )


def _name(path: Path, material: Material) -> str:
    return path.relative_to(material.folder.absolute()).as_posix()


def _group(a: Path, b: Path) -> str | None:
    """The group of look-alikes that holds both."""
    return a.parent.name if a.parent == b.parent and a.parent.parent.name == LOOKALIKES else None


def _file_name(edit: str, name: str, seed: int, suffix: str) -> str:
    """One for each copy, without the characters of folders."""
    return f"{edit.replace(' ', '-').replace('%', 'percent')}-{crc32(name.encode()):08x}-{seed}{suffix}"
