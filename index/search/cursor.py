"""What a search may answer: only what a filter lets through, and only what earlier pages have not shown.

A cursor pins the view of its first page: vectors that came later are left out, items that were shown do not come
again, and whatever is deleted in between moves nothing. It carries all of that itself; nobody remembers it.
"""

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InvalidRequest
from ..catalog.filters import Filter
from ..catalog.frames import first_vector_ids, version
from ..collection import Collection
from ..vectors.id_ranges import Allowed

MAX_CURSOR_BYTES = 8 << 20  # unpacked: some hundred thousand items


@dataclass(frozen=True)
class View:
    """The collection as the first page saw it: nothing after last_vector_id, and not again the items shown.

    shown  the first vector id of each, since vector ids are never given twice
    """

    last_vector_id: int
    shown: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scope:
    """filter: which items; view: what later pages leave out. None: no limits."""

    filter: Filter | None = None
    view: View | None = None


EVERYTHING = Scope()


def allowed_vectors(collection: Collection, scope: Scope) -> Allowed | None:
    """The vectors of the items in scope; None when all are."""
    if scope == EVERYTHING:
        return None
    allowed = collection.allowed(scope.filter)
    return allowed if scope.view is None else allowed.until(scope.view.last_vector_id).without(scope.view.shown)


def view_now(collection: Collection) -> View:
    """The collection as it is, with nothing shown."""
    return View(_last_vector_id(collection))


def question(*parts: Any) -> str:
    """A name for what is asked: equal for equal parts, so that a cursor knows the search it belongs to."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def write_cursor(collection: Collection, view: View, item_ids: Iterable[str], asked: str) -> str:
    """The cursor of the page after the one that showed these items too."""
    with collection.catalog.read() as db:
        shown = sorted({*view.shown, *first_vector_ids(db, item_ids)})
    steps = np.diff(shown, prepend=0).tolist()
    told = json.dumps([collection.created_at, asked, view.last_vector_id, steps], separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(told.encode(), 9)).decode()


def read_cursor(collection: Collection, cursor: str, asked: str) -> View:
    """The view that a cursor pins. InvalidRequest for one of another search, or of a collection that is gone."""
    try:
        packed = base64.b64decode(cursor.encode(), b"-_", validate=True)
        text = zlib.decompressobj().decompress(packed, MAX_CURSOR_BYTES)
        created_at, question, last_vector_id, steps = json.loads(text)
        shown = np.cumsum(np.array(steps, np.int64)).tolist()
        view = View(int(last_vector_id), tuple(shown))
    except (binascii.Error, zlib.error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidRequest("That cursor is not one we gave. Search again without a cursor.") from error
    if created_at != collection.created_at or view.last_vector_id > _last_vector_id(collection):
        raise InvalidRequest(
            f"The cursor has expired: it is of another collection than {collection.name!r} is now (made anew, "
            "restored, or an alias that was switched). Search again without a cursor."
        )
    if question != asked:
        raise InvalidRequest(
            "The cursor belongs to another search: send the same query, target, filter and times as for the first "
            "page. Only the limit may change."
        )
    return view


def _last_vector_id(collection: Collection) -> int:
    with collection.catalog.read() as db:
        return version(db).last_vector_id
