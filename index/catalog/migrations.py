"""The schema of a catalog, as the steps that made it. Only ever append: each runs once on every catalog.

collection  one row: name, model and what its vectors are comparable with
media       items, and `frames` their vectors by vector id; `removed` logs the ids of deleted frames
pictures    which file holds an item's pictures; no row: none are kept
ledger      files that were seen; jobs, results; dismissed: pairs that are no duplicates
"""

import sqlite3
from collections.abc import Callable


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


def m006_pictures(db: sqlite3.Connection) -> None:
    """Which picture file is an item's (token) and the bytes of each picture in it (sizes, uint32); their sum of all."""
    db.execute(
        "CREATE TABLE pictures (media_id TEXT PRIMARY KEY REFERENCES media (id) ON DELETE CASCADE, "
        "token TEXT NOT NULL UNIQUE, size_bytes INTEGER NOT NULL, sizes BLOB NOT NULL)"
    )
    db.execute("CREATE TABLE picture_bytes (total INTEGER NOT NULL)")
    db.execute("INSERT INTO picture_bytes VALUES (0)")
    for event, row, sign in (("INSERT", "new", "+"), ("DELETE", "old", "-")):
        db.execute(
            f"CREATE TRIGGER count_picture_bytes_{event.lower()} AFTER {event} ON pictures "
            f"BEGIN UPDATE picture_bytes SET total = total {sign} {row}.size_bytes; END"
        )


def m007_note(db: sqlite3.Connection) -> None:
    """How an item is less than was asked for."""
    db.execute("ALTER TABLE media ADD COLUMN note TEXT")


# Only ever append: the n-th function brings a catalog from user_version n - 1 to n.
MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_first,
    m002_sampling,
    m003_duplicates,
    m004_source,
    m005_changes,
    m006_pictures,
    m007_note,
)
