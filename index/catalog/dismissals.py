"""Pairs of items that a person called "not a duplicate": remembered in the catalog by item id, in either order."""

from ...errors import InvalidRequest
from ..collection import Collection
from .database import now
from .items import Item


def dismiss(collection: Collection, a: str, b: str) -> None:
    """Remembers it; saying it twice is allowed. Raises NotFound for unknown items."""
    if a == b:
        raise InvalidRequest(f"An item is no duplicate of itself: expected two items, got {a!r} twice.")
    first, second = _ordered(collection.get(a).id, collection.get(b).id)
    with collection.catalog.write() as db:
        db.execute("INSERT OR IGNORE INTO dismissed (a, b, created_at) VALUES (?, ?, ?)", (first, second, now()))


def undo(collection: Collection, a: str, b: str) -> None:
    """Forgets it again; a pair that was not dismissed stays what it is."""
    with collection.catalog.write() as db:
        db.execute("DELETE FROM dismissed WHERE a = ? AND b = ?", _ordered(a, b))


def dismissed_items(collection: Collection) -> list[tuple[Item, Item]]:
    """The dismissed pairs whose items are both still there, the newest dismissal first."""
    with collection.catalog.read() as db:
        pairs = db.execute("SELECT a, b FROM dismissed ORDER BY created_at DESC, a, b").fetchall()
    items = collection.get_many([item_id for pair in pairs for item_id in pair])
    return [(items[a], items[b]) for a, b in pairs if a in items and b in items]


def dismissed(collection: Collection) -> set[tuple[str, str]]:
    """All dismissed pairs, each as (smaller id, larger id)."""
    with collection.catalog.read() as db:
        return {(a, b) for a, b in db.execute("SELECT a, b FROM dismissed")}


def copy_dismissed(source: Collection, target: Collection) -> None:
    """Remembers in the target what was dismissed in the source; items keep their ids when they are embedded anew."""
    with source.catalog.read() as db:
        pairs = db.execute("SELECT a, b, created_at FROM dismissed").fetchall()
    with target.catalog.write() as db:
        db.executemany("INSERT OR IGNORE INTO dismissed (a, b, created_at) VALUES (?, ?, ?)", pairs)


def is_dismissed(pairs: set[tuple[str, str]], a: str, b: str) -> bool:
    """Whether `pairs`, as dismissed() gives them, holds a and b in either order."""
    return _ordered(a, b) in pairs


def _ordered(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)
