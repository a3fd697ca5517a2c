"""Which picture file belongs to which item, and where in it each picture lies. SQL only; opens no file."""

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .database import Catalog, Transaction
from .frames import frame_heads
from .items import PictureFile


def insert_pictures(db: Transaction, item_id: str, file: PictureFile) -> None:
    """Says which file is an item's. The item is there and has none."""
    db.execute(
        "INSERT INTO pictures (media_id, token, size_bytes, sizes) VALUES (?, ?, ?, ?)",
        (item_id, file.token, file.nbytes, file.sizes.astype("<u4").tobytes()),
    )


def picture_files(db: Transaction, item_ids: Sequence[str]) -> dict[str, PictureFile]:
    """By id, of those of the items that have one."""
    query = "SELECT media_id, token, sizes FROM pictures WHERE media_id IN (SELECT value FROM json_each(?))"
    return {row[0]: _file(*row[1:]) for row in db.execute(query, (json.dumps(list(item_ids)),))}


def named_pictures(db: Transaction, tokens: Sequence[str]) -> set[str]:
    """Those of the tokens that belong to an item."""
    query = "SELECT token FROM pictures WHERE token IN (SELECT value FROM json_each(?))"
    return {row[0] for row in db.execute(query, (json.dumps(list(tokens)),))}


def picture_tokens(db: Transaction) -> set[str]:
    """All of them."""
    return {row[0] for row in db.execute("SELECT token FROM pictures")}


def picture_bytes(db: Transaction) -> int:
    """Of all picture files together."""
    return int(db.execute("SELECT total FROM picture_bytes").fetchone()[0])


def picture_pages(catalog: Catalog, limit: int) -> Iterator[dict[str, PictureFile]]:
    """All picture files by item id, at most `limit` together; a moment a page."""
    query = "SELECT media_id, token, sizes FROM pictures WHERE media_id > ? ORDER BY media_id LIMIT ?"
    last = ""
    while True:
        with catalog.read() as db:
            page = {row[0]: _file(*row[1:]) for row in db.execute(query, (last, limit))}
        if not page:
            return
        yield page
        last = next(reversed(page))


def ids_without_pictures(db: Transaction, after: str, limit: int) -> list[str]:
    """Items that have no picture file, with ids after that one, ascending."""
    query = (
        "SELECT id FROM media WHERE id > ? AND NOT EXISTS (SELECT 1 FROM pictures WHERE media_id = id) "
        "ORDER BY id LIMIT ?"
    )
    return [row[0] for row in db.execute(query, (after, limit))]


def give_pictures(
    catalog: Catalog, item_id: str, file: PictureFile, mark: tuple[object, ...], before: str | None
) -> bool:
    """Says which file is an item's, if its frames and its file are still those for which this one was made.

    mark: of its Head; before: the token of its file until now, None where it has none.
    """
    with catalog.write() as db:
        head, held = frame_heads(db, [item_id]).get(item_id), picture_files(db, [item_id]).get(item_id)
        if head is None or head.mark != mark or (held.token if held else None) != before:
            return False
        forget_pictures(db, [item_id])
        insert_pictures(db, item_id, file)
    return True


def forget_pictures(db: Transaction, item_ids: Iterable[str]) -> list[str]:
    """The items have no picture files from now on -> the tokens of those they had."""
    query = "DELETE FROM pictures WHERE media_id IN (SELECT value FROM json_each(?)) RETURNING token"
    return [row[0] for row in db.execute(query, (json.dumps(list(item_ids)),)).fetchall()]


def _file(token: str, sizes: bytes) -> PictureFile:
    return PictureFile(token, np.frombuffer(sizes, "<u4").astype(np.int64))
