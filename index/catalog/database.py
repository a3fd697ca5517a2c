"""The catalog: one SQLite file a collection, the one source of truth. Opens, migrates, runs transactions.

A write is acknowledged (`write()` returns) only after its transaction is on disk, vectors included: WAL with
synchronous=FULL. Knows nothing of FAISS, of media or of what the rows mean to others: SQL for items stands in
collection.py, for files seen in ledger.py, for jobs in jobs.py.

Any thread may use one Catalog: each transaction borrows a connection of its own from a small pool.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from ...errors import NotFound, StorageError

BUSY_TIMEOUT_SECONDS = 30.0
MAX_JOURNAL_BYTES = 64 * 2**20  # of the write-ahead log, which a long read lets grow, once it is free again


def m001_first(db: sqlite3.Connection) -> None:
    """The tables of the first release. AUTOINCREMENT: a vector id once given is never given again."""
    statements = (
        """CREATE TABLE collection (
            name TEXT NOT NULL, model TEXT NOT NULL, fingerprint TEXT NOT NULL,
            spec TEXT NOT NULL, created_at TEXT NOT NULL)""",
        """CREATE TABLE media (
            id TEXT PRIMARY KEY, uri TEXT NOT NULL UNIQUE, name TEXT NOT NULL, path BLOB NOT NULL,
            sha256 TEXT NOT NULL, kind TEXT NOT NULL, mime TEXT NOT NULL,
            size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
            width INTEGER NOT NULL, height INTEGER NOT NULL,
            duration_seconds REAL NOT NULL, frames_per_second REAL NOT NULL, frames INTEGER NOT NULL,
            metadata TEXT NOT NULL, created_at TEXT NOT NULL)""",
        "CREATE INDEX media_by_sha256 ON media (sha256)",
        "CREATE INDEX media_by_age ON media (created_at, id)",
        """CREATE TABLE frames (
            vector_id INTEGER PRIMARY KEY AUTOINCREMENT,
            media_id TEXT NOT NULL REFERENCES media (id) ON DELETE CASCADE,
            start_seconds REAL NOT NULL, end_seconds REAL NOT NULL, informative REAL NOT NULL,
            vector BLOB NOT NULL)""",
        "CREATE INDEX frames_by_media ON frames (media_id)",
        "CREATE TABLE removed (seq INTEGER PRIMARY KEY AUTOINCREMENT, vector_id INTEGER NOT NULL)",
        """CREATE TRIGGER log_removed AFTER DELETE ON frames
            BEGIN INSERT INTO removed (vector_id) VALUES (old.vector_id); END""",
        """CREATE TABLE ledger (
            uri TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
            frames_per_second REAL NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('queued', 'done', 'failed')),
            stage TEXT, reason TEXT, attempts INTEGER NOT NULL, item_id TEXT, updated_at TEXT NOT NULL)""",
        """CREATE TABLE jobs (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, item_id TEXT,
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
            stage TEXT, done INTEGER NOT NULL, total INTEGER NOT NULL, reason TEXT,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL, payload TEXT NOT NULL)""",
        "CREATE INDEX jobs_by_state ON jobs (state, created_at)",
    )
    for statement in statements:
        db.execute(statement)


def m002_sampling(db: sqlite3.Connection) -> None:
    """How a video's frames were chosen; before, at a fixed rate only."""
    for table in ("media", "ledger"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN sampling TEXT NOT NULL DEFAULT 'rate'")


def m003_duplicates(db: sqlite3.Connection) -> None:
    """Pairs that a person called no duplicates (a < b), and what jobs found."""
    db.execute(
        "CREATE TABLE dismissed (a TEXT NOT NULL, b TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (a, b))"
    )
    db.execute(
        "CREATE TABLE results (job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE, body TEXT NOT NULL)"
    )


def m004_source(db: sqlite3.Connection) -> None:
    """Which collection this one is a re-embedding of."""
    db.execute("ALTER TABLE collection ADD COLUMN source TEXT")


def m005_changes(db: sqlite3.Connection) -> None:
    """How often items were changed in place: what filters find is then another, though no vector came or went."""
    db.execute("CREATE TABLE changes (seq INTEGER NOT NULL)")
    db.execute("INSERT INTO changes VALUES (0)")
    db.execute("CREATE TRIGGER count_changes AFTER UPDATE ON media BEGIN UPDATE changes SET seq = seq + 1; END")


# Only ever append: the n-th function brings a catalog from user_version n - 1 to n.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_first,
    m002_sampling,
    m003_duplicates,
    m004_source,
    m005_changes,
)


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

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one read transaction: all queries see the same moment."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one write transaction: all of it is on disk when the block ends, or none."""
        with self._transaction("BEGIN IMMEDIATE") as db:
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
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
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
    def _borrow(self) -> Iterator[sqlite3.Connection]:
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
