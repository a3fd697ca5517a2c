"""Collection: the face of one collection. Items go in, come out, are listed, changed and removed.

Writes are on disk when a method returns. Reading files and making vectors is ingest/pipeline.py's work; comparing is
search/search.py's. Any thread may use one Collection.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidRequest, NotFound
from .catalog import (
    UPLOADS_FOLDER,
    Catalog,
    Filter,
    Item,
    LedgerRow,
    Leftover,
    Moments,
    NewItem,
    frames,
    item_table,
    merged,
    picture_bytes,
    read_identity,
)
from .frame_reader import FrameReader, FramesCache
from .pictures import Pictures, StoredPicture
from .vectors import Allowed, Card, IndexOptions, VectorIndex


class Collection:
    """One collection, bound to one model fingerprint. Get one from a Library."""

    def __init__(
        self,
        catalog: Catalog,
        options: IndexOptions | None = None,
        card: Card | None = None,
        cache: FramesCache | None = None,
    ) -> None:
        """cache: shared with other collections. Raises NotFound when the catalog has no name and model yet."""
        self.folder = catalog.folder
        self.catalog = catalog
        with catalog.read() as db:
            identity = read_identity(db)
        if identity is None:
            raise NotFound(f"The collection in {self.folder} was never completed.")
        self.name = identity.name
        self.model = identity.model
        self.fingerprint = identity.fingerprint
        self.spec = identity.spec
        self.created_at = identity.created_at
        self.source = identity.source  # the collection that this one is a re-embedding of
        self.index = VectorIndex(catalog, self.spec.dim, options, card)
        self._frames = FrameReader(catalog, self.spec.dim, cache)
        self.pictures = Pictures(catalog, self._frames)

    @property
    def uploads(self) -> Path:
        """The folder for the bytes of uploaded files; they are deleted together with their item."""
        return self.folder / UPLOADS_FOLDER

    def add(self, new: NewItem, record: LedgerRow | None = None, pictures: Iterable[bytes] | None = None) -> Item:
        """Stores an item with its vectors, and its line in the ledger, in one transaction.

        An item of the same id or the same uri is replaced: it keeps its created_at, and its metadata unless
        new ones are given; Conflict where it must not replace. pictures: the JPEGs of its stored frames in their order;
        None keeps none.
        """
        with nullcontext() if pictures is None else self.pictures.written(pictures) as file:
            (item,), leftover = self._put([replace(new, pictures=file)], [record])
        self._remove(leftover)
        return item

    def add_many(self, new: Sequence[NewItem]) -> list[Item]:
        """As add() for each, without pictures, all in one transaction: all of them are stored, or none."""
        added, leftover = self._put(new)
        self._remove(leftover)
        return added

    def get(self, item_id: str) -> Item:
        """The item, or NotFound."""
        item = self.get_many([item_id]).get(item_id)
        if item is None:
            raise self._no_item(item_id)
        return item

    def get_many(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """The items of these ids that exist, by id."""
        return item_table.get_items(self.catalog, item_ids)

    def find_by_uri(self, uri: str) -> Item | None:
        """The item of this uri, if there is one."""
        return item_table.find_item(self.catalog, "uri", uri)

    def find_by_sha256(self, sha256: str) -> Item | None:
        """The oldest item with exactly these bytes, if there is one."""
        return item_table.find_item(self.catalog, "sha256", sha256)

    def items(
        self, limit: int = 100, cursor: str | None = None, filter: Filter | None = None
    ) -> tuple[list[Item], str | None]:
        """A page of the filter's items, newest first, and the cursor of the next page (None: this was the last)."""
        if limit < 1:
            raise InvalidRequest(f"limit must be at least 1, got {limit}.")
        return item_table.list_items(self.catalog, limit, cursor, filter)

    def pages(self, limit: int) -> Iterator[list[Item]]:
        """All items, newest first, at most `limit` together."""
        page, cursor = self.items(limit)
        yield page
        while cursor is not None:
            page, cursor = self.items(limit, cursor)
            yield page

    def update_metadata(self, item_id: str, metadata: dict[str, Any]) -> Item:
        """Replaces the metadata of an item. Raises NotFound."""
        item_table.change_metadata(self.catalog, item_id, lambda _: metadata)
        return self.get(item_id)

    def merge_metadata(self, item_id: str, patch: dict[str, Any] | None) -> Item:
        """Changes the metadata by an RFC 7396 merge patch; None leaves {}. Raises NotFound, InvalidRequest."""
        item_table.change_metadata(self.catalog, item_id, lambda old: {} if patch is None else merged(old, patch))
        return self.get(item_id)

    def delete(self, item_id: str) -> None:
        """Removes an item, its vectors, ledger line, pictures and uploaded bytes; users' own files stay. NotFound."""
        leftover = item_table.delete_item(self.catalog, item_id)
        if leftover is None:
            raise self._no_item(item_id)
        self._remove(leftover)

    def count(self) -> int:
        """How many items there are."""
        with self.catalog.read() as db:
            return item_table.count_items(db)

    def stats(self) -> dict[str, Any]:
        """Counts: items, images, videos, frames, video_seconds, size_bytes, failed_files, without_pictures (items),
        picture_bytes."""
        with self.catalog.read() as db:
            return {**item_table.count_all(db), "picture_bytes": picture_bytes(db)}

    def moments_of(self, item_id: str) -> Moments:
        """The frames of an item with their times, evenly at its rate, whatever share a vector. Raises NotFound."""
        found = self.moments_of_many([item_id])
        if not found:
            raise self._no_item(item_id)
        return found[item_id]

    def moments_of_many(self, item_ids: Sequence[str]) -> dict[str, Moments]:
        """As moments_of, of those of the items that exist, by id."""
        return self._frames.read(item_ids)

    def pictures_at(self, item_id: str, seconds: Sequence[float]) -> list[StoredPicture | None]:
        """The stored frame that stands for each of those seconds; None where the item has no stored pictures."""
        return self.pictures_of_many({item_id: seconds})[item_id]

    def pictures_of_many(self, wanted: Mapping[str, Sequence[float]]) -> dict[str, list[StoredPicture | None]]:
        """As pictures_at, of many items by id."""
        return self.pictures.at(wanted)

    def vectors_in_blocks(self, rows: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """All stored vectors as (n,) item ids and (n, D) float32 unit length, n <= rows, oldest first."""
        return frames.owned_vectors(self.catalog, self.spec.dim, rows)

    def allowed(self, filter: Filter | None) -> Allowed:
        """The vectors of the items that pass the filter; of all items without one."""
        with self.catalog.read() as db:
            return Allowed(*frames.allowed_ranges(db, filter))

    def owners(self, vector_ids: NDArray[np.int64]) -> dict[int, str]:
        """vector id -> item id, for those that (still) exist."""
        with self.catalog.read() as db:
            return frames.owners(db, np.unique(vector_ids[vector_ids >= 0]))

    def close(self) -> None:
        """Ends the index's upkeep and closes the database. Calling it twice is allowed."""
        self.index.close()
        self.catalog.close()

    def _no_item(self, item_id: str) -> NotFound:
        return NotFound(f"There is no item {item_id!r} in the collection {self.name!r}.")

    def _put(self, new: Sequence[NewItem], records: Sequence[LedgerRow | None] = ()) -> tuple[list[Item], Leftover]:
        for each in new:
            if each.vectors.shape[1] != self.spec.dim:
                raise ValueError(f"vectors must be (T, {self.spec.dim}), got {each.vectors.shape}")
        return item_table.put_items(self.catalog, new, records)

    def _remove(self, leftover: Leftover) -> None:
        for path in leftover.uploads:
            path.unlink(missing_ok=True)
        self.pictures.files.remove(leftover.pictures)
