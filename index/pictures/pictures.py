"""The stored pictures of one collection: which of them an item shows at a second, written, read and removed."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptMedia, NotFound
from ..catalog import (
    Catalog,
    PictureFile,
    frames,
    give_pictures,
    ids_without_pictures,
    named_pictures,
    picture_bytes,
    picture_files,
    picture_pages,
)
from ..frame_reader import FrameReader
from .files import PictureFiles
from .jpeg import from_jpeg
from .spool import Spool

log = logging.getLogger(__name__)

PICTURES_FOLDER = "pictures"
TOLERANCE_SECONDS = 1e-3  # a second that was rounded down still names the frame that begins there
PAGE = 500  # items looked at together
READ_TOGETHER = 64  # pictures of one item


@dataclass(frozen=True, eq=False)
class StoredPicture:
    """The picture of a stored frame, which stands for an item from start_seconds to end_seconds; data: JPEG.

    key: equal for as long as the picture is the same.
    """

    item_id: str
    key: str
    start_seconds: float
    end_seconds: float
    data: bytes

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises CorruptMedia."""
        return from_jpeg(self.data)


@dataclass(frozen=True, eq=False)
class ItemFrames:
    """The stored frames of an item that pictures are made for: start_seconds (T,) float64.

    mark: another one when the frames are others; token: of the picture file that it has, None without one.
    """

    mark: tuple[object, ...]
    start_seconds: NDArray[np.float64]
    token: str | None


@dataclass(frozen=True, eq=False)
class _Item:
    """Where the pictures of an item lie, and when its frames are shown."""

    file: PictureFile
    frames: frames.StoredFrames

    def place_at(self, seconds: float) -> int:
        """Of the frame that stands for that second: the last one that begins by then, or the first."""
        return max(0, int(np.searchsorted(self.frames.start_seconds, seconds + TOLERANCE_SECONDS, side="right")) - 1)


class Pictures:
    """Of one opened collection. Any thread may use it."""

    def __init__(self, catalog: Catalog, reader: FrameReader) -> None:
        self._catalog = catalog
        self._reader = reader
        self.files = PictureFiles(catalog.folder / PICTURES_FOLDER)

    def at(self, wanted: Mapping[str, Sequence[float]]) -> dict[str, list[StoredPicture | None]]:
        """For each item, the stored frames that stand for these seconds; None for those without a picture.

        A picture file that the catalog names and that cannot be read is told in the log.
        """
        items = self._look_up(list(wanted))
        found: dict[str, list[StoredPicture | None]] = {}
        for item_id, seconds in wanted.items():
            places = [items[item_id].place_at(second) for second in seconds] if item_id in items else []
            try:
                found[item_id] = [*self._read(item_id, items[item_id], places)] if places else [None] * len(seconds)
            except (NotFound, CorruptMedia) as error:
                found[item_id] = self._at_again(item_id, items[item_id], seconds, error)
        return found

    def all_of(self, item_id: str) -> Iterator[StoredPicture]:
        """Every stored picture of an item, in the order of time; none where it has none. NotFound, CorruptMedia."""
        item = self._look_up([item_id]).get(item_id)
        places = range(0 if item is None else len(item.file.sizes))
        for first in range(0, len(places), READ_TOGETHER):
            assert item is not None  # it has places
            yield from self._read(item_id, item, places[first : first + READ_TOGETHER])

    def spool(self) -> Spool:
        """Takes pictures of a file that is being decoded. StorageError."""
        return Spool(self.files.folder)

    def copied(self, item_id: str) -> Spool | None:
        """The pictures of an item, to be stored for another one of the same frames; None where it has none."""
        spool = self.spool()
        try:
            for picture in self.all_of(item_id):
                spool.put(picture.start_seconds, picture.data)
        except (NotFound, CorruptMedia) as error:
            log.warning("the stored pictures of %s cannot be copied: %s", item_id, error)
            return None
        return spool if len(spool) else None

    def written(self, jpegs: Iterable[bytes]) -> AbstractContextManager[PictureFile]:
        """As PictureFiles.written."""
        return self.files.written(jpegs)

    def give(self, item_id: str, of_frames: ItemFrames, jpegs: Iterable[bytes]) -> bool:
        """Stores an item's pictures in the place of those that it had; False when it is another by now, or gone."""
        with self.files.written(jpegs) as file:
            given = give_pictures(self._catalog, item_id, file, of_frames.mark, of_frames.token)
        spare = of_frames.token if given else file.token
        self.files.remove([] if spare is None else [spare])
        return given

    def frames_of(self, item_id: str) -> ItemFrames | None:
        """What pictures an item needs; None when there is no such item."""
        with self._catalog.read() as db:
            heads = frames.frame_heads(db, [item_id])
            stored = self._reader.stored(db, heads).get(item_id)
            file = picture_files(db, [item_id]).get(item_id)
        if stored is None:
            return None
        return ItemFrames(heads[item_id].mark, stored.start_seconds, None if file is None else file.token)

    def lacking(self, after: str, limit: int) -> list[str]:
        """Ids of items without pictures, ascending, those after that one."""
        with self._catalog.read() as db:
            return ids_without_pictures(db, after, limit)

    def which(self, item_ids: Sequence[str]) -> set[str]:
        """Those of the items that have pictures."""
        with self._catalog.read() as db:
            return set(picture_files(db, item_ids))

    def has_room(self, max_bytes: int, more_bytes: int = 0) -> bool:
        """Whether so many more bytes fit into max_bytes of all pictures; 0: there is no such bound."""
        return max_bytes == 0 or self.total_bytes() + max(1, more_bytes) <= max_bytes

    def total_bytes(self) -> int:
        """Of all picture files that items have."""
        with self._catalog.read() as db:
            return picture_bytes(db)

    def faults(self) -> dict[str, str]:
        """What is wrong with the picture file of an item, by id: those that are not there or not as long as said."""
        told = (
            (item_id, self.files.fault(file))
            for page in picture_pages(self._catalog, PAGE)
            for item_id, file in page.items()
        )
        return {item_id: fault for item_id, fault in told if fault is not None}

    def sweep(self) -> int:
        """Removes what kills left: picture files that no item has -> how many. StorageError."""
        return self.files.sweep(self._named)

    def spare(self) -> int:
        """How many files lie there that no item has, those that are being written among them."""
        return sum(len(set(tokens) - self._named(tokens)) for tokens in self.files.tokens())

    def _named(self, tokens: Sequence[str]) -> set[str]:
        with self._catalog.read() as db:
            return named_pictures(db, tokens)

    def _look_up(self, item_ids: Sequence[str]) -> dict[str, _Item]:
        """Of the items that have pictures."""
        with self._catalog.read() as db:
            files = picture_files(db, item_ids)
            shown = self._reader.stored(db, frames.frame_heads(db, list(files)))
        return {item_id: _Item(file, shown[item_id]) for item_id, file in files.items() if item_id in shown}

    def _read(self, item_id: str, item: _Item, places: Sequence[int]) -> Iterator[StoredPicture]:
        times = item.frames
        for place, jpeg in zip(places, self.files.read(item.file, places), strict=True):
            start, end = float(times.start_seconds[place]), float(times.end_seconds[place])
            yield StoredPicture(item_id, f"{item.file.token}/{place}", start, end, jpeg)

    def _at_again(
        self, item_id: str, before: _Item, seconds: Sequence[float], error: Exception
    ) -> list[StoredPicture | None]:
        """After a file could not be read: from the one that has taken its place meanwhile, where there is one."""
        item = self._look_up([item_id]).get(item_id)
        if item is not None and item.file.token != before.file.token:
            try:
                return [*self._read(item_id, item, [item.place_at(second) for second in seconds])]
            except (NotFound, CorruptMedia) as again:
                error = again
        if item is not None:
            log.warning("the stored pictures of %s cannot be read, its file is read instead: %s", item_id, error)
        return [None] * len(seconds)
