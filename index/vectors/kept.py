"""Which vectors each filter allows, kept while the filter is asked again: to read that from the catalog takes longer
than most searches.

Brought up to the catalog at each question: items that came are looked at, those that went are left out, and everything
is read anew only when an item was changed in place. Bounded in bytes, for all collections of a library together.
"""

from collections import OrderedDict
from dataclasses import astuple
from threading import Lock

import numpy as np

from ..catalog.database import Transaction
from ..catalog.filters import Filter
from ..catalog.frames import Version, allowed_ranges, removed_after, version
from .id_ranges import Allowed

MOST_BYTES = 128 * 2**20
MOST_FILTERS = 64

Key = tuple[int, str]  # which opened collection, and its filter


class KeptFilters:
    """What the filters that were asked last allow. Any thread may use it."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._held: OrderedDict[Key, tuple[Version, Allowed]] = OrderedDict()

    def allowed(self, db: Transaction, serial: int, filter: Filter | None) -> Allowed:
        """The vectors of the filter's items, as the read transaction sees them. serial: of the opened collection."""
        key, now = (serial, repr(filter)), version(db)
        with self._lock:
            before = self._held.get(key)
        if before is not None and _is_before(now, before[0]):  # a transaction that began earlier and was overtaken
            return _read(db, filter, now)
        allowed = _read(db, filter, now) if before is None else _brought_up(db, filter, *before, now)
        with self._lock:
            self._held[key] = now, allowed
            self._held.move_to_end(key)
            sizes = {each: held.nbytes for each, (_, held) in self._held.items()}
            while sum(sizes.values()) > self._most_bytes or len(sizes) > MOST_FILTERS:
                sizes.pop(self._held.popitem(last=False)[0])
        return allowed


def _is_before(one: Version, other: Version) -> bool:
    """Whether the other version is later."""
    return any(mine < its for mine, its in zip(astuple(one), astuple(other), strict=True))


def _brought_up(db: Transaction, filter: Filter | None, before: Version, allowed: Allowed, now: Version) -> Allowed:
    """What was allowed before, as it is now."""
    gone = removed_after(db, before.removals)
    if before.changes != now.changes or len(gone) < now.removals - before.removals:  # the log of removals was trimmed
        return _read(db, filter, now)
    firsts, lasts = allowed.firsts, allowed.lasts
    if len(gone):  # an item goes with all its vectors
        kept = ~np.isin(firsts, gone)
        firsts, lasts = firsts[kept], lasts[kept]
    if now.last_vector_id > before.last_vector_id:
        new = _read(db, filter, now, before.last_vector_id)
        firsts, lasts = np.concatenate([firsts, new.firsts]), np.concatenate([lasts, new.lasts])
    return Allowed(firsts, lasts, now.last_vector_id, allowed.known) if now != before else allowed


def _read(db: Transaction, filter: Filter | None, now: Version, after: int = 0) -> Allowed:
    """What the filter allows of the items stored after that vector id."""
    return Allowed(*allowed_ranges(db, filter, after), now.last_vector_id)
