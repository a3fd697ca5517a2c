"""Pairs of items that a person called "not a duplicate": remembered by item id, in either order."""

from ...errors import InvalidRequest, NotFound
from .database import Catalog, now
from .item_table import get_items
from .items import Item


def dismiss(catalog: Catalog, a: str, b: str) -> None:
    """Remembers it; saying it twice is allowed. Raises NotFound for unknown items."""
    if a == b:
        raise InvalidRequest(f"An item is no duplicate of itself: expected two items, got {a!r} twice.")
    known = get_items(catalog, [a, b])
    for item_id in (a, b):
        if item_id not in known:
            raise NotFound(f"There is no item {item_id!r} in the collection {catalog.folder.name!r}.")
    with catalog.write() as db:
        db.execute("INSERT OR IGNORE INTO dismissed (a, b, created_at) VALUES (?, ?, ?)", (*_ordered(a, b), now()))


def undo(catalog: Catalog, a: str, b: str) -> None:
    """Forgets it again; a pair that was not dismissed stays what it is."""
    with catalog.write() as db:
        db.execute("DELETE FROM dismissed WHERE a = ? AND b = ?", _ordered(a, b))


def dismissed_items(catalog: Catalog) -> list[tuple[Item, Item]]:
    """The dismissed pairs whose items are both still there, the newest dismissal first."""
    with catalog.read() as db:
        pairs = db.execute("SELECT a, b FROM dismissed ORDER BY created_at DESC, a, b").fetchall()
    items = get_items(catalog, [item_id for pair in pairs for item_id in pair])
    return [(items[a], items[b]) for a, b in pairs if a in items and b in items]


def dismissed(catalog: Catalog) -> set[tuple[str, str]]:
    """All dismissed pairs, each as (smaller id, larger id)."""
    with catalog.read() as db:
        return {(a, b) for a, b in db.execute("SELECT a, b FROM dismissed")}


def copy_dismissed(source: Catalog, target: Catalog) -> None:
    """Remembers in the target what was dismissed in the source; items keep their ids when they are embedded anew."""
    with source.read() as db:
        pairs = db.execute("SELECT a, b, created_at FROM dismissed").fetchall()
    with target.write() as db:
        db.executemany("INSERT OR IGNORE INTO dismissed (a, b, created_at) VALUES (?, ?, ?)", pairs)


def is_dismissed(pairs: set[tuple[str, str]], a: str, b: str) -> bool:
    """Whether `pairs`, as dismissed() gives them, holds a and b in either order."""
    return _ordered(a, b) in pairs


def _ordered(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)
