"""A copy of a catalog at one moment, as one file that nothing else belongs to. Others go on writing meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .database import Catalog, Transaction


def copy_catalog(catalog: Catalog, to: Path) -> None:
    """Writes the file `to`, which must not be there; without a write-ahead log beside it."""
    with closing(sqlite3.connect(to)) as copy, catalog.read() as db:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def read_copy(path: Path) -> Iterator[Transaction]:
    """Reads a copy without changing a byte of it, as opening it as a Catalog would."""
    with closing(sqlite3.connect(path)) as db:
        yield db
