"""The pictures of items that have none, made from their files: collections of earlier releases, or where there was no
room. What is done is on disk: after a kill the same call goes on where it was.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..catalog import Item
from ..collection import Collection
from ..paths import is_gone, printable
from ..pictures import SIDE, Spool
from .options import IngestOptions
from .reader import MAX_CHUNK_FRAMES, Unreadable, at_stage, keeps_pictures, sha256_of, size_and_time
from .report import Failure

PAGE = 200  # items looked at together

Made = Literal["done", "no room"] | Unreadable


@dataclass
class Filled:
    """What became of the items without pictures so far. no_room: frame_store_max_bytes was reached, or it is off."""

    total: int = 0
    done: int = 0
    gone: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    no_room: bool = False

    @property
    def seen(self) -> int:
        return self.done + len(self.gone) + len(self.failed)

    def count(self, item: Item, outcome: Made) -> None:
        """Adds what became of one item."""
        if outcome == "done":
            self.done += 1
        elif outcome == "no room":
            self.no_room = True
        elif is_gone(item.path):
            self.gone.append(item.path)
        else:
            self.failed.append(Failure(item.path, outcome.stage, outcome.reason))

    def lines(self) -> list[str]:
        """For people: the counts, then a line for each file whose pictures could not be made."""
        told = [
            f"{self.done} of {self.total} items have pictures now, {len(self.gone)} gone, {len(self.failed)} failed"
        ]
        if self.no_room:
            told.append("There is no room for more: frame_store is off, or frame_store_max_bytes is reached.")
        told += [f"{printable(path)}: The file is no longer there." for path in self.gone]
        return told + [f"{printable(failure.path)}: {failure.reason}" for failure in self.failed]

    def to_dict(self) -> dict[str, Any]:
        return {
            "items": self.total,
            "filled": self.done,
            "no_room": self.no_room,
            "gone": [printable(path) for path in self.gone],
            "failed": [failure.to_dict() for failure in self.failed],
        }


def fill_pictures(collection: Collection, options: IngestOptions | None = None) -> Generator[Filled, None, None]:
    """Gives the growing count, the first time before any item. Closing the generator stops the work.

    Picture files that are lost or cut short are made anew too, and stay what they are until then.
    options: limits, decoder and the frame store's bound; items are sampled as they were.
    """
    options = options or IngestOptions()
    collection.pictures.sweep()
    lost = [*collection.pictures.faults()]
    filled = Filled(collection.stats()["without_pictures"] + len(lost))
    yield filled
    with ThreadPoolExecutor(options.decoder.workers, "fill") as pool:
        try:
            for page in _pages(collection, lost):
                made = pool.map(lambda item: _fill(collection, item, options), page)
                for item, outcome in zip(page, made, strict=True):
                    filled.count(item, outcome)
                    yield filled
                if filled.no_room:
                    return
        finally:
            pool.shutdown(cancel_futures=True)


def _pages(collection: Collection, lost: list[str]) -> Iterator[list[Item]]:
    """The items that lost their pictures, and those without."""
    for first in range(0, len(lost), PAGE):
        yield [*collection.get_many(lost[first : first + PAGE]).values()]
    after = ""
    while page := collection.pictures.lacking(after, PAGE):
        yield [*collection.get_many(page).values()]
        after = page[-1]


def _fill(collection: Collection, item: Item, options: IngestOptions) -> Made:
    """Makes the pictures of one item from its file. Raises StorageError."""
    if not keeps_pictures(collection, options):
        return "no room"
    frames = collection.pictures.frames_of(item.id)
    if frames is None:  # deleted in the meantime
        return "done"
    try:
        if size_and_time(item.path)[0] != item.size_bytes or sha256_of(item.path) != item.sha256:
            raise Unreadable("read", "It is no longer the file that was indexed. Index it again.")
        with closing(collection.pictures.spool()) as spool:
            _decode(item, options, spool)
            places = spool.places_at(frames.start_seconds)
            if places is None:
                raise Unreadable("decode", "It gives other frames than those that are stored. Index it again.")
            if not collection.pictures.has_room(options.frame_store_max_bytes, spool.size_of(places)):
                return "no room"
            collection.pictures.give(item.id, frames, spool.read(places))
    except Unreadable as failure:
        return failure
    return "done"


def _decode(item: Item, options: IngestOptions, spool: Spool) -> None:
    with at_stage("decode"):
        found = options.decoder.read_frames(
            item.path,
            item.frames_per_second,
            options.limits.for_own_disk(),
            chunk=MAX_CHUNK_FRAMES,
            shorter_side=SIDE,
            sampling=item.sampling,
        )
        with closing(found):
            for frames in found:
                spool.add(frames)
