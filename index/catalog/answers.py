"""Answers that were given, by key: a small database of its own for one data folder, whatever its collections are."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import StorageError
from .database import Transaction

ANSWERS_FILE = "answers.sqlite"


class Answers:
    """Rows (request, status, location, body, at) by key; at: seconds since 1970. Any thread may use it."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / ANSWERS_FILE
        with self._database() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request TEXT NOT NULL, "
                "status INTEGER NOT NULL, location TEXT NOT NULL, body TEXT NOT NULL, at REAL NOT NULL)"
            )

    def find(self, key: str, after: float) -> tuple[str, int, str, str] | None:
        """request, status, location, body of the key, if it was given after that time."""
        with self._database() as db:
            found: tuple[str, int, str, str] | None = db.execute(
                "SELECT request, status, location, body FROM answers WHERE key = ? AND at > ?", (key, after)
            ).fetchone()
        return found

    def keep(self, key: str, row: tuple[str, int, str, str], at: float, forget_until: float) -> None:
        """Stores a row, on disk when this returns, and forgets those given until that time."""
        with self._database() as db:
            db.execute("DELETE FROM answers WHERE at <= ?", (forget_until,))
            db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", (key, *row, at))

    @contextmanager
    def _database(self) -> Iterator[Transaction]:
        try:
            db = sqlite3.connect(self.path, timeout=10)
            try:
                with db:
                    yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.path} cannot be used: {error}. It may be deleted while the server stands."
            ) from error
