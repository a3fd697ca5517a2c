"""Cursors: the next page of a search holds nothing that earlier pages held, whatever was added or deleted since.

A cursor pins the collection as the first page saw it: vectors that came later are left out, items that were shown do
not come again, and whatever is deleted in between moves nothing. It carries all of that itself; nobody remembers it.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidRequest
from ..catalog import first_vector_ids, version
from ..collection import Collection

MAX_CURSOR_BYTES = 8 << 20  # unpacked: some hundred thousand items


@dataclass(frozen=True)
class Cursor:
    """Nothing after last_vector_id, and not again the items shown: the first vector id of each."""

    last_vector_id: int
    shown: tuple[int, ...] = ()


def first_cursor(collection: Collection) -> Cursor:
    """The collection as it is, with nothing shown."""
    with collection.catalog.read() as db:
        return Cursor(version(db).last_vector_id)


def write_cursor(collection: Collection, cursor: Cursor, item_ids: Iterable[str], request_digest: str) -> str:
    """The text of the cursor after a page at `cursor` that showed these items."""
    with collection.catalog.read() as db:
        shown = sorted({*cursor.shown, *first_vector_ids(db, item_ids)})
    steps = np.diff(shown, prepend=0).tolist()
    fields = [collection.created_at, request_digest, cursor.last_vector_id, steps]
    text = json.dumps(fields, separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode()


def read_cursor(collection: Collection, text: str, request_digest: str) -> Cursor:
    """What write_cursor wrote. InvalidRequest for one of another search, or of a collection that is gone."""
    try:
        packed = base64.b64decode(text.encode(), b"-_", validate=True)
        unpacked = zlib.decompressobj().decompress(packed, MAX_CURSOR_BYTES)
        created_at, digest, last_id, steps = json.loads(unpacked)
        shown = np.cumsum(np.array(steps, np.int64)).tolist()
        cursor = Cursor(int(last_id), tuple(shown))
    except (binascii.Error, zlib.error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidRequest("That cursor is not one we gave. Search again without a cursor.") from error
    if created_at != collection.created_at or cursor.last_vector_id > first_cursor(collection).last_vector_id:
        raise InvalidRequest(
            f"The cursor has expired: it is of another collection than {collection.name!r} is now (made anew, "
            "restored, or an alias that was switched). Search again without a cursor."
        )
    if digest != request_digest:
        raise InvalidRequest(
            "The cursor belongs to another search: send the same query, target, filter and times as for the first "
            "page. Only the limit may change."
        )
    return cursor
