"""The catalog: one SQLite file a collection, the one source of truth. Opens, migrates, runs transactions.

A write is acknowledged (`write()` returns) only after its transaction is on disk, vectors included: WAL with
synchronous=FULL. What the rows mean stands in the other files of this folder, the only ones with SQL: their functions
take a Catalog and open a transaction, or a Transaction to take part in the caller's.

Any thread may use one Catalog: each transaction borrows a connection of its own from a small pool.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from ...errors import NotFound, StorageError
from .migrations import MIGRATIONS

Transaction = sqlite3.Connection  # within read() or write(); opaque outside this folder

CATALOG_FILE = "catalog.sqlite"
BUSY_TIMEOUT_SECONDS = 30.0
MAX_JOURNAL_BYTES = 64 * 2**20  # of the write-ahead log, which a long read lets grow, once it is free again


def moment_text(moment: datetime) -> str:
    """A moment in UTC as RFC 3339 text of fixed width, so that text order is time order."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def now() -> str:
    """This moment as moment_text."""
    return moment_text(datetime.now(UTC))


class Catalog:
    """A pool of connections to one SQLite file. The file must be there unless `create`."""

    def __init__(self, path: Path, create: bool = False) -> None:
        """Raises NotFound when the file is missing, StorageError when it cannot be used."""
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = Lock()
        self._writing = Lock()
        self._closed = False
        if not create and not path.is_file():
            raise NotFound(f"There is no catalog at {path}.")
        with self._words():
            self._idle.append(self._connect())
            self._inode = path.stat().st_ino
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        """Where the collection lies: its uploads and its index stand beside the catalog."""
        return self.path.parent

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A connection inside one read transaction: all queries see the same moment."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A connection inside one write transaction: all of it is on disk when the block ends, or none."""
        # SQLite would keep looking whether another thread has ended; a lock wakes the next one at once.
        with self._writing, self._transaction("BEGIN IMMEDIATE") as db:
            yield db
            if self.is_gone():
                raise NotFound(f"The catalog {self.path} was dropped or replaced while it was in use.")

    def is_gone(self) -> bool:
        """Whether the file under our path is no longer the one we opened (dropped by another process)."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Closes idle connections now and borrowed ones when they come back. Calling it twice is allowed."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL_BYTES}")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA recursive_triggers = ON")
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self) -> None:
        with self.read() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
                return
        with self.write() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise StorageError(
                    f"{self.path} was written by a newer vicmae (catalog version {version}, this one knows "
                    f"{len(MIGRATIONS)}). Update vicmae to use it."
                )
            for migration in MIGRATIONS[version:]:
                migration(db)
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        with self._words(), self._borrow() as db:
            db.execute(begin)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # After a full disk SQLite may have rolled back by itself.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _borrow(self) -> Iterator[Transaction]:
        with self._lock:
            if self._closed:
                raise NotFound(f"The catalog {self.path} is closed: the collection was dropped or the program stops.")
            db = self._idle.pop() if self._idle else None
        db = db or self._connect()
        try:
            yield db
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(db)
            if not keep:
                db.close()

    @contextmanager
    def _words(self) -> Iterator[None]:
        """SQLite's refusals become a StorageError; a wrong statement of ours stays what it is, a bug."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise
        except sqlite3.DatabaseError as error:
            raise StorageError(_sentence(self.path, error)) from error


def copy_catalog(catalog: Catalog, to: Path) -> None:
    """The catalog at one moment as the new file `to`, without a write-ahead log beside it; others go on writing."""
    with closing(sqlite3.connect(to)) as copy, catalog.read() as db:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def read_copy(path: Path) -> Iterator[Transaction]:
    """Reads a copy without changing a byte of it, as opening it as a Catalog would."""
    with closing(sqlite3.connect(path)) as db:
        yield db


def _sentence(path: Path, error: Exception) -> str:
    """What happened to the database at `path`, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    folder = path.parent
    if code == sqlite3.SQLITE_FULL:
        return f"The disk that holds {folder} is full; the last write was not kept. Free some space."
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or (
        code == sqlite3.SQLITE_CANTOPEN and not os.access(folder, os.W_OK)
    ):
        return f"{folder} cannot be written. Give this user the right to, or choose another --data folder."
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"{path} is damaged or no catalog ({error}). Put a snapshot in its place (`vicmae snapshot restore FILE -c "
            f"{folder.name} --force`), or remove it (`vicmae collections drop {folder.name}`) and index anew."
        )
    if code == sqlite3.SQLITE_BUSY:
        return (
            f"{path} was kept busy by another process for {BUSY_TIMEOUT_SECONDS:.0f} s. "
            "Let that process finish and try again."
        )
    return f"{path} cannot be read or written ({error}). Check the disk and the rights of {folder}."
