"""Items in the catalog: stored with their frames and their line in the ledger, looked up, listed, changed, removed."""

import base64
import binascii
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from ...errors import Conflict, InvalidRequest
from .database import Catalog, Transaction, now
from .filters import Filter
from .frames import insert_frames
from .items import UPLOADS_FOLDER, Item, NewItem
from .ledger import LedgerRow, write_ledger
from .metadata import storable
from .pictures import forget_pictures, insert_pictures

COUNTS = ("items", "images", "videos", "frames", "video_seconds", "size_bytes", "failed_files", "without_pictures")


@dataclass
class Leftover:
    """What removed items leave on the disk that is ours to delete: uploaded files, and picture files by token."""

    uploads: list[Path] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


def put_items(
    catalog: Catalog, new: Sequence[NewItem], records: Sequence[LedgerRow | None] = ()
) -> tuple[list[Item], Leftover]:
    """Stores items, frames and lines of the ledger in one transaction -> the items, and what those replaced leave.

    An item replaces that of the same id and that of the same uri; it keeps their created_at and their metadata unless
    new ones are given. Conflict where it must not replace: nothing is stored then.
    """
    added: list[Item] = []
    leftover = Leftover()
    with catalog.write() as db:
        for each, record in zip_longest(new, records):
            added.append(_put(catalog, db, each, record, leftover))
    return added, leftover


def get_items(catalog: Catalog, item_ids: Sequence[str]) -> dict[str, Item]:
    """The items of these ids that exist, by id."""
    with catalog.read() as db:
        rows = db.execute(f"{_ITEMS} WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(item_ids)),))
        items = [_item(catalog, row) for row in rows]
    return {item.id: item for item in items}


def find_item(catalog: Catalog, column: Literal["uri", "sha256"], value: str) -> Item | None:
    """The oldest item with this value."""
    with catalog.read() as db:
        row = db.execute(f"{_ITEMS} WHERE {column} = ? ORDER BY created_at, id LIMIT 1", (value,)).fetchone()
    return _item(catalog, row) if row else None


def list_items(
    catalog: Catalog, limit: int, cursor: str | None, filter: Filter | None
) -> tuple[list[Item], str | None]:
    """A page of the filter's items, newest first, and the cursor of the next page (None: this was the last)."""
    created_at, item_id = _read_cursor(cursor) if cursor is not None else ("~", "")
    filter = filter or Filter()
    with catalog.read() as db:
        rows = db.execute(
            f"{_ITEMS} WHERE (created_at, id) < (?, ?) AND {filter.sql} ORDER BY created_at DESC, id DESC LIMIT ?",
            (created_at, item_id, *filter.parameters, limit + 1),
        ).fetchall()
    page = [_item(catalog, row) for row in rows[:limit]]
    return page, _write_cursor(page[-1]) if len(rows) > limit else None


def change_metadata(catalog: Catalog, item_id: str, change: Callable[[Any], dict[str, Any]]) -> None:
    """Changes the metadata of the item, if there is one. InvalidRequest for what cannot be stored."""
    with catalog.write() as db:
        for (metadata,) in db.execute("SELECT metadata FROM media WHERE id = ?", (item_id,)).fetchall():
            changed = _json(change(json.loads(metadata)))
            db.execute("UPDATE media SET metadata = ? WHERE id = ?", (changed, item_id))


def delete_item(catalog: Catalog, item_id: str) -> Leftover | None:
    """Removes an item, its frames and its line in the ledger -> what it leaves; None when there is none."""
    with catalog.write() as db:
        row = db.execute(f"{_ITEMS} WHERE id = ?", (item_id,)).fetchone()
        if row is None:
            return None
        item = _item(catalog, row)
        leftover = _removed(catalog, db, [item])
        db.execute("DELETE FROM ledger WHERE uri = ?", (item.uri,))
    return leftover


def count_items(db: Transaction) -> int:
    return int(db.execute("SELECT count(*) FROM media").fetchone()[0])


def count_all(db: Transaction) -> dict[str, Any]:
    """COUNTS by name."""
    row = db.execute(
        "SELECT count(*), coalesce(sum(kind = 'image'), 0), coalesce(sum(kind = 'video'), 0), "
        "coalesce(sum(frames), 0), coalesce(sum(duration_seconds), 0.0), "
        "coalesce(sum(size_bytes), 0), "
        "(SELECT count(*) FROM ledger WHERE state = 'failed'), "
        "count(*) - (SELECT count(*) FROM pictures) FROM media"
    ).fetchone()
    return dict(zip(COUNTS, row, strict=True))


def item_columns(db: Transaction, names: Sequence[str]) -> Any:
    """Rows of these columns of all items, in the order of their first frames."""
    return db.execute(
        f"SELECT {', '.join(names)} FROM media "
        "JOIN (SELECT media_id, min(vector_id) AS first FROM frames GROUP BY media_id) ON media_id = id ORDER BY first"
    )


def longest_uri(db: Transaction) -> int:
    """In characters; 0 without items."""
    return int(db.execute("SELECT max(length(uri)) FROM media").fetchone()[0] or 0)


def upload_names(db: Transaction) -> list[str]:
    """The file names of all uploads, within UPLOADS_FOLDER."""
    rows = db.execute("SELECT path FROM media WHERE uri GLOB 'upload:*'")
    return [Path(os.fsdecode(stored)).name for (stored,) in rows]


def _put(catalog: Catalog, db: Transaction, new: NewItem, record: LedgerRow | None, leftover: Leftover) -> Item:
    """Stores an item within a transaction -> it; what it replaces leaves more."""
    old = [_item(catalog, row) for row in db.execute(f"{_ITEMS} WHERE id = ? OR uri = ?", (new.id, new.uri))]
    if not new.replaces and any(item.id == new.id and item.uri != new.uri for item in old):
        raise Conflict(f"The item {new.id!r} exists already. PUT a file to replace it, or choose another id.")
    kept = next((item.metadata for item in old if item.id == new.id), old[0].metadata if old else {})
    values = {name: getattr(new, name) for name in _AS_GIVEN} | {
        "path": _stored_path(catalog, new.path),
        "frames": len(new.vectors),
        "metadata": _json(kept if new.metadata is None else new.metadata),
        "created_at": new.created_at or min((item.created_at for item in old), default=now()),
    }
    gone = _removed(catalog, db, old)
    leftover.uploads += [path for path in gone.uploads if path != new.path]
    leftover.pictures += gone.pictures
    # An upload that is replaced goes with its bytes; a file of the user's was seen, and stays seen.
    uploads = [(item.uri,) for item in old if is_upload(catalog, item.path)]
    db.executemany("DELETE FROM ledger WHERE uri = ?", uploads)
    db.execute(
        f"INSERT INTO media ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", list(values.values())
    )
    insert_frames(db, new)
    if new.pictures is not None:
        insert_pictures(db, new.id, new.pictures)
    if record is not None:
        write_ledger(db, record)
    return _item(catalog, db.execute(f"{_ITEMS} WHERE id = ?", (new.id,)).fetchone())


def _removed(catalog: Catalog, db: Transaction, items: Sequence[Item]) -> Leftover:
    """Removes the items and all rows that hang on them."""
    ids = [item.id for item in items]
    tokens = forget_pictures(db, ids)
    db.executemany("DELETE FROM media WHERE id = ?", ((item_id,) for item_id in ids))
    return Leftover([item.path for item in items if is_upload(catalog, item.path)], tokens)


def is_upload(catalog: Catalog, path: Path) -> bool:
    """Whether the file is an uploaded one, which is ours to delete."""
    return path.is_relative_to(catalog.folder / UPLOADS_FOLDER)


def _item(catalog: Catalog, row: tuple[Any, ...]) -> Item:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    values["path"] = catalog.folder / os.fsdecode(values["path"])
    values["metadata"] = json.loads(values["metadata"])
    return Item(**values)


def _stored_path(catalog: Catalog, path: Path) -> bytes:
    """Bytes, since file names need not be text; relative for uploads, so that the folder may move."""
    return os.fsencode(path.relative_to(catalog.folder) if is_upload(catalog, path) else path)


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


_COLUMNS = tuple(Item.__dataclass_fields__)
_AS_GIVEN = tuple(({*_COLUMNS, "mtime_ns"} & NewItem.__dataclass_fields__.keys()) - {"path", "metadata", "created_at"})
_ITEMS = f"SELECT {', '.join(_COLUMNS)} FROM media"
