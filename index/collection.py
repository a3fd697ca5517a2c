"""Collection: the face of one collection. Items go in, come out, are listed, changed and removed.

Writes are on disk when a method returns. Reading files and making vectors is ingest/pipeline.py's work; comparing is
search/search.py's. Any thread may use one Collection.
"""

import base64
import binascii
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidRequest, NotFound
from ..media.spec import InputSpec
from .cache import LONG_FRAMES, Mark, Reel, Reels
from .catalog.database import Catalog, now
from .catalog.filters import Filter, to_sql
from .catalog.items import Item, NewItem
from .catalog.ledger import LedgerRow, write_ledger
from .catalog.metadata import merged, storable
from .catalog.packing import pack_vectors, unpack_rows, unpack_vectors
from .vectors.card import Card
from .vectors.id_ranges import Allowed
from .vectors.index import VectorIndex
from .vectors.kept import KeptFilters
from .vectors.plan import IndexOptions

CATALOG_FILE = "catalog.sqlite"
UPLOADS_FOLDER = "uploads"
_SERIALS = count()  # one for each that is opened, since another may come to stand in its folder under its name


@dataclass(frozen=True)
class Moments:
    """The sampled frames of one item in time order; shapes as in NewItem, vectors with unit length."""

    vectors: NDArray[np.float32]
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]

    def part(self, first: int, last: int) -> "Moments":
        """Those from the place `first` to before `last`."""
        here = slice(first, last)
        return Moments(self.vectors[here], self.start_seconds[here], self.end_seconds[here], self.informative[here])

    def unfolded(self, frames_per_second: float) -> "Moments":
        """As if it had been sampled at that rate: a vector that stands for a longer stretch comes several times."""
        lengths = self.end_seconds - self.start_seconds
        times = np.maximum(np.rint(lengths * frames_per_second), 1).astype(np.int64)
        if (times == 1).all():
            return self
        places = np.repeat(np.arange(len(times)), times)
        turns = np.arange(len(places)) - np.repeat(np.cumsum(times) - times, times)
        steps = (lengths / times)[places]
        starts = self.start_seconds[places] + turns * steps
        return Moments(self.vectors[places], starts, starts + steps, self.informative[places])


class Collection:
    """One collection, bound to one model fingerprint. Get one from a Library."""

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        options: IndexOptions | None = None,
        card: Card | None = None,
        reels: Reels | None = None,
        filters: KeptFilters | None = None,
    ) -> None:
        """reels, filters: shared with other collections. Raises NotFound when the catalog has no name and model yet."""
        self.folder = folder
        self.catalog = catalog
        with catalog.read() as db:
            row = db.execute("SELECT name, model, fingerprint, spec, created_at, source FROM collection").fetchone()
        if row is None:
            raise NotFound(f"The collection in {folder} was never completed.")
        self.name: str = row[0]
        self.model: str = row[1]
        self.fingerprint: str = row[2]
        self.spec = InputSpec.from_dict(json.loads(row[3]))
        self.created_at: str = row[4]
        self.source: str | None = row[5]  # the collection that this one is a re-embedding of
        self.index = VectorIndex(catalog, self.spec.dim, options, card)
        self._reels, self._filters, self._serial = reels or Reels(), filters or KeptFilters(), next(_SERIALS)

    @property
    def uploads(self) -> Path:
        """The folder for the bytes of uploaded files; they are deleted together with their item."""
        return self.folder / UPLOADS_FOLDER

    def add(self, new: NewItem, record: LedgerRow | None = None) -> Item:
        """Stores an item with its vectors, and its line in the ledger, in one transaction.

        An item of the same id or the same uri is replaced: it keeps its created_at, and its metadata unless
        new ones are given.
        """
        (item,) = self.add_many([new], [record])
        return item

    def add_many(self, new: Sequence[NewItem], records: Sequence[LedgerRow | None] = ()) -> list[Item]:
        """As add() for each, all in one transaction: all of them are stored, or none."""
        for each in new:
            if each.vectors.shape[1] != self.spec.dim:
                raise ValueError(f"vectors must be (T, {self.spec.dim}), got {each.vectors.shape}")
        added: list[Item] = []
        replaced: list[Item] = []
        with self.catalog.write() as db:
            for each, record in zip_longest(new, records):
                item, old = self._put(db, each, record)
                added.append(item)
                replaced += [gone for gone in old if gone.path != item.path]
        for gone in replaced:
            self._forget_upload(gone)
        return added

    def _put(self, db: sqlite3.Connection, new: NewItem, record: LedgerRow | None) -> tuple[Item, list[Item]]:
        """Stores an item within a transaction -> it, and those it replaced."""
        frames = zip(
            new.start_seconds.tolist(),
            new.end_seconds.tolist(),
            new.informative.tolist(),
            pack_vectors(new.vectors),
            strict=True,
        )
        old = [self._item(row) for row in db.execute(f"{_ITEMS} WHERE id = ? OR uri = ?", (new.id, new.uri))]
        kept = next((item.metadata for item in old if item.id == new.id), old[0].metadata if old else {})
        values = {
            "id": new.id,
            "uri": new.uri,
            "name": new.name,
            "path": self._stored_path(new.path),
            "sha256": new.sha256,
            "kind": new.kind,
            "mime": new.mime,
            "size_bytes": new.size_bytes,
            "width": new.width,
            "height": new.height,
            "duration_seconds": new.duration_seconds,
            "frames_per_second": new.frames_per_second,
            "sampling": new.sampling,
            "frames": len(new.vectors),
            "metadata": _json(kept if new.metadata is None else new.metadata),
            "created_at": new.created_at or min((item.created_at for item in old), default=now()),
            "mtime_ns": new.mtime_ns,
        }
        db.execute("DELETE FROM media WHERE id = ? OR uri = ?", (new.id, new.uri))
        # An upload that is replaced goes with its bytes; a file of the user's was seen, and stays seen.
        uploads = [(item.uri,) for item in old if item.path.is_relative_to(self.uploads)]
        db.executemany("DELETE FROM ledger WHERE uri = ?", uploads)
        db.execute(
            f"INSERT INTO media ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            list(values.values()),
        )
        db.executemany(
            "INSERT INTO frames (media_id, start_seconds, end_seconds, informative, vector) VALUES (?, ?, ?, ?, ?)",
            ((new.id, *frame) for frame in frames),
        )
        if record is not None:
            write_ledger(db, record)
        item = self._item(db.execute(f"{_ITEMS} WHERE id = ?", (new.id,)).fetchone())
        return item, old

    def get(self, item_id: str) -> Item:
        """The item, or NotFound."""
        with self.catalog.read() as db:
            row = db.execute(f"{_ITEMS} WHERE id = ?", (item_id,)).fetchone()
        if row is None:
            raise NotFound(f"There is no item {item_id!r} in the collection {self.name!r}.")
        return self._item(row)

    def get_many(self, item_ids: list[str]) -> dict[str, Item]:
        """The items of these ids that exist, by id."""
        with self.catalog.read() as db:
            rows = db.execute(f"{_ITEMS} WHERE id {_OF_THOSE}", (json.dumps(item_ids),))
            items = [self._item(row) for row in rows]
        return {item.id: item for item in items}

    def find_by_uri(self, uri: str) -> Item | None:
        """The item of this uri, if there is one."""
        return self._find("uri = ?", uri)

    def find_by_sha256(self, sha256: str) -> Item | None:
        """The oldest item with exactly these bytes, if there is one."""
        return self._find("sha256 = ? ORDER BY created_at, id", sha256)

    def items(
        self, limit: int = 100, cursor: str | None = None, filter: Filter | None = None
    ) -> tuple[list[Item], str | None]:
        """A page of the filter's items, newest first, and the cursor of the next page (None: this was the last)."""
        if limit < 1:
            raise InvalidRequest(f"limit must be at least 1, got {limit}.")
        created_at, item_id = _read_cursor(cursor) if cursor is not None else ("~", "")
        test, parameters = to_sql(filter or Filter())
        with self.catalog.read() as db:
            rows = db.execute(
                f"{_ITEMS} WHERE (created_at, id) < (?, ?) AND {test} ORDER BY created_at DESC, id DESC LIMIT ?",
                (created_at, item_id, *parameters, limit + 1),
            ).fetchall()
        page = [self._item(row) for row in rows[:limit]]
        return page, _write_cursor(page[-1]) if len(rows) > limit else None

    def update_metadata(self, item_id: str, metadata: dict[str, Any]) -> Item:
        """Replaces the metadata of an item. Raises NotFound."""
        with self.catalog.write() as db:
            db.execute("UPDATE media SET metadata = ? WHERE id = ?", (_json(metadata), item_id))
        return self.get(item_id)

    def merge_metadata(self, item_id: str, patch: dict[str, Any] | None) -> Item:
        """Changes the metadata by an RFC 7396 merge patch; None leaves {}. Raises NotFound, InvalidRequest."""
        with self.catalog.write() as db:
            row = db.execute("SELECT metadata FROM media WHERE id = ?", (item_id,)).fetchone()
            if row is not None:
                changed = _json(merged(json.loads(row[0]), patch or {}) if patch is not None else {})
                db.execute("UPDATE media SET metadata = ? WHERE id = ?", (changed, item_id))
        return self.get(item_id)

    def delete(self, item_id: str) -> None:
        """Removes an item, its vectors, ledger line and uploaded bytes; users' own files stay. NotFound."""
        with self.catalog.write() as db:
            row = db.execute(f"{_ITEMS} WHERE id = ?", (item_id,)).fetchone()
            if row is not None:
                db.execute("DELETE FROM media WHERE id = ?", (item_id,))
                db.execute("DELETE FROM ledger WHERE uri = (?)", (self._item(row).uri,))
        if row is None:
            raise NotFound(f"There is no item {item_id!r} in the collection {self.name!r}.")
        self._forget_upload(self._item(row))

    def count(self) -> int:
        """How many items there are."""
        with self.catalog.read() as db:
            return int(db.execute("SELECT count(*) FROM media").fetchone()[0])

    def stats(self) -> dict[str, Any]:
        """Counts: items, images, videos, frames, video_seconds, size_bytes, failed_files."""
        with self.catalog.read() as db:
            row = db.execute(
                "SELECT count(*), coalesce(sum(kind = 'image'), 0), coalesce(sum(kind = 'video'), 0), "
                "coalesce(sum(frames), 0), coalesce(sum(duration_seconds), 0.0), "
                "coalesce(sum(size_bytes), 0), "
                "(SELECT count(*) FROM ledger WHERE state = 'failed') FROM media"
            ).fetchone()
        names = ("items", "images", "videos", "frames", "video_seconds", "size_bytes", "failed_files")
        return dict(zip(names, row, strict=True))

    def file_path(self, item: Item) -> Path:
        """Where the item's bytes are. NotFound when the file has vanished since it was indexed."""
        if not item.path.is_file():
            raise NotFound(
                f"The file of {item.name!r} is no longer at {printable(item.path)}. "
                "Bring it back, or remove the item with `vicmae index FOLDER --prune`."
            )
        return item.path

    def moments_of(self, item_id: str) -> Moments:
        """The frames of an item with their times, evenly at its rate, whatever share a vector. Raises NotFound."""
        found = self.moments_of_many([item_id])
        if not found:
            raise NotFound(f"There is no item {item_id!r} in the collection {self.name!r}.")
        return found[item_id]

    def moments_of_many(self, item_ids: Sequence[str]) -> dict[str, Moments]:
        """As moments_of, of those of the items that exist, by id."""
        with self.catalog.read() as db:
            heads = db.execute(_HEADS, (json.dumps(list(item_ids)),)).fetchall()
            marks: dict[str, Mark] = {item_id: tuple(mark) for item_id, _, *mark in heads}
            kept = {item_id: self._reels.get((self._serial, item_id), mark) for item_id, mark in marks.items()}
            held = {item_id: reel for item_id, reel in kept.items() if reel is not None}
            missing = [item_id for item_id in marks if item_id not in held]
            rows = db.execute(_FRAMES, (json.dumps(missing),)).fetchall() if missing else []
        found = {
            item_id: Moments(
                unpack_rows(reel.raw, self.spec.dim), reel.start_seconds, reel.end_seconds, reel.informative
            )
            for item_id, reel in held.items()
        }
        if rows:
            owners, starts, ends, informative, blobs = zip(*rows, strict=True)
            every = Moments(
                unpack_vectors(list(blobs), self.spec.dim),
                np.array(starts, np.float64),
                np.array(ends, np.float64),
                np.array(informative, np.float32),
            )
            firsts = [place for place in range(len(owners)) if place == 0 or owners[place] != owners[place - 1]]
            for first, last in zip(firsts, [*firsts[1:], len(owners)], strict=True):
                item_id, part = owners[first], every.part(first, last)
                found[item_id] = part
                if last - first >= LONG_FRAMES:
                    times = (part.start_seconds.copy(), part.end_seconds.copy(), part.informative.copy())
                    self._reels.put((self._serial, item_id), marks[item_id], Reel(b"".join(blobs[first:last]), *times))
        return {item_id: found[item_id].unfolded(rate) for item_id, rate, *_ in heads if item_id in found}

    def vectors_of(self, item_id: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """vectors (T, D) float32 unit length, start_seconds (T,) float64 of an item. Raises NotFound."""
        moments = self.moments_of(item_id)
        return moments.vectors, moments.start_seconds

    def vectors_in_blocks(self, rows: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """All stored vectors as (n,) item ids and (n, D) float32 unit length, n <= rows, oldest first."""
        last = 0
        while True:
            with self.catalog.read() as db:
                found = db.execute(
                    "SELECT vector_id, media_id, vector FROM frames WHERE vector_id > ? ORDER BY vector_id LIMIT ?",
                    (last, rows),
                ).fetchall()
            if not found:
                return
            vector_ids, item_ids, blobs = zip(*found, strict=True)
            last = vector_ids[-1]
            yield list(item_ids), unpack_vectors(list(blobs), self.spec.dim)

    def allowed(self, filter: Filter | None) -> Allowed:
        """The vectors of the items that pass the filter; of all items without one."""
        with self.catalog.read() as db:
            return self._filters.allowed(db, self._serial, filter)

    def owners(self, vector_ids: NDArray[np.int64]) -> dict[int, str]:
        """vector id -> item id, for those that (still) exist."""
        wanted = json.dumps(np.unique(vector_ids[vector_ids >= 0]).tolist())
        with self.catalog.read() as db:
            return dict(
                db.execute(
                    "SELECT vector_id, media_id FROM frames WHERE vector_id IN (SELECT value FROM json_each(?))",
                    (wanted,),
                )
            )

    def close(self) -> None:
        """Ends the index's upkeep and closes the database. Calling it twice is allowed."""
        self.index.close()
        self.catalog.close()

    def _find(self, where: str, value: str) -> Item | None:
        with self.catalog.read() as db:
            row = db.execute(f"{_ITEMS} WHERE {where} LIMIT 1", (value,)).fetchone()
        return self._item(row) if row else None

    def _item(self, row: tuple[Any, ...]) -> Item:
        values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
        values["path"] = self.folder / os.fsdecode(values["path"])
        values["metadata"] = json.loads(values["metadata"])
        return Item(**values)

    def _stored_path(self, path: Path) -> bytes:
        """Bytes, since file names need not be text; relative for uploads, so that the folder may move."""
        return os.fsencode(path.relative_to(self.folder) if path.is_relative_to(self.uploads) else path)

    def _forget_upload(self, item: Item) -> None:
        if item.path.is_relative_to(self.uploads):
            item.path.unlink(missing_ok=True)


_COLUMNS = tuple(Item.__dataclass_fields__)
_ITEMS = f"SELECT {', '.join(_COLUMNS)} FROM media"
_OF_THOSE = "IN (SELECT value FROM json_each(?))"
_FRAMES = (
    "SELECT media_id, start_seconds, end_seconds, informative, vector FROM frames "
    f"WHERE media_id {_OF_THOSE} ORDER BY media_id, vector_id"
)
# The id, the rate, and what would be another if the frames were: vector ids are never given twice.
_HEADS = (
    "SELECT id, frames_per_second, sha256, mtime_ns, (SELECT max(vector_id) FROM frames WHERE media_id = media.id) "
    f"FROM media WHERE id {_OF_THOSE}"
)


def printable(path: Path) -> str:
    """The path for people and JSON: bytes of a file name that are no text become U+FFFD."""
    return os.fsencode(path).decode("utf-8", "replace")


def _json(metadata: dict[str, Any]) -> str:
    try:
        return json.dumps(storable(metadata), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"Metadata must be a JSON object ({error}).") from error


def _write_cursor(item: Item) -> str:
    return base64.urlsafe_b64encode(json.dumps([item.created_at, item.id]).encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        created_at, item_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        for part in (created_at, item_id):
            part.encode()  # a lone surrogate is no text that a database could hold
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest("That cursor is not one we gave. Start again without a cursor.") from error
    return created_at, item_id
