"""Which vectors each filter allows, kept while the filter is asked again: to read that from the catalog takes longer
than most searches.

Brought up to the catalog at each question: items that came are looked at, those that went are left out, and everything
is read anew only when an item was changed in place. Bounded in bytes, for all collections of a library together.
"""

import sqlite3
from collections import OrderedDict
from dataclasses import astuple, dataclass
from threading import Lock

import numpy as np

from ..catalog.filters import Filter, to_sql
from .id_ranges import Allowed

MOST_BYTES = 128 * 2**20
MOST_FILTERS = 64
CHUNK_ROWS = 10_000
# The frames of an item are stored together, so their ids follow one another (collection.py).
_RANGES = "SELECT frames, (SELECT max(vector_id) FROM frames WHERE media_id = media.id) FROM media WHERE frames > 0"
_NEWER = "id IN (SELECT media_id FROM frames WHERE vector_id > ?)"

Key = tuple[int, str]  # which opened collection, and its filter


@dataclass(frozen=True)
class Mark:
    """A moment of a catalog: the last vector id given, how many vectors were removed and items changed before."""

    last_frame: int
    removed: int
    changes: int

    def is_before(self, other: "Mark") -> bool:
        """Whether the other moment is later."""
        return any(mine < its for mine, its in zip(astuple(self), astuple(other), strict=True))


class KeptFilters:
    """What the filters that were asked last allow. Any thread may use it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._held: OrderedDict[Key, tuple[Mark, Allowed]] = OrderedDict()

    def allowed(self, db: sqlite3.Connection, serial: int, filter: Filter | None) -> Allowed:
        """The vectors of the filter's items, as the read transaction sees them. serial: of the opened collection."""
        key, now = (serial, repr(filter)), mark_of(db)
        with self._lock:
            before = self._held.get(key)
        if before is not None and now.is_before(before[0]):  # a transaction that began earlier and was overtaken
            return _read(db, filter, now)
        allowed = _read(db, filter, now) if before is None else _brought_up(db, filter, *before, now)
        with self._lock:
            self._held[key] = now, allowed
            self._held.move_to_end(key)
            sizes = {each: held.nbytes for each, (_, held) in self._held.items()}
            while sum(sizes.values()) > self._most_bytes or len(sizes) > MOST_FILTERS:
                sizes.pop(self._held.popitem(last=False)[0])
        return allowed


def mark_of(db: sqlite3.Connection) -> Mark:
    """The moment that a read transaction sees."""
    tops = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('frames', 'removed')"))
    (changes,) = db.execute("SELECT seq FROM changes").fetchone()
    return Mark(tops.get("frames", 0), tops.get("removed", 0), changes)


def _brought_up(db: sqlite3.Connection, filter: Filter | None, mark: Mark, allowed: Allowed, now: Mark) -> Allowed:
    """What was allowed at the mark, as it is now."""
    gone = [row[0] for row in db.execute("SELECT vector_id FROM removed WHERE seq > ?", (mark.removed,))]
    if mark.changes != now.changes or len(gone) < now.removed - mark.removed:  # older lines of `removed` are trimmed
        return _read(db, filter, now)
    firsts, lasts = allowed.firsts, allowed.lasts
    if gone:  # an item goes with all its vectors
        kept = ~np.isin(firsts, gone)
        firsts, lasts = firsts[kept], lasts[kept]
    if now.last_frame > mark.last_frame:
        new = _read(db, filter, now, mark.last_frame)
        firsts, lasts = np.concatenate([firsts, new.firsts]), np.concatenate([lasts, new.lasts])
    return Allowed(firsts, lasts, now.last_frame, allowed.known) if now != mark else allowed


def _read(db: sqlite3.Connection, filter: Filter | None, now: Mark, after: int = 0) -> Allowed:
    """What the filter allows of the items stored after that vector id."""
    test, parameters = to_sql(filter or Filter())
    newer = [after] if after else []
    rows = db.execute(f"{_RANGES} AND {test}{f' AND {_NEWER}' * len(newer)}", [*parameters, *newer])
    pieces = [np.array(some, np.int64) for some in iter(lambda: rows.fetchmany(CHUNK_ROWS), [])]
    counts, lasts = np.concatenate([np.empty((0, 2), np.int64), *pieces]).T
    order = np.argsort(lasts)
    return Allowed((lasts - counts + 1)[order], lasts[order], now.last_frame)
