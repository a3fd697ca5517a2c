"""The ledger: one row for each file ever seen, so that a second run knows what is left to do. SQL only."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ...media.sampling import Sampling
from .database import Catalog, Transaction, now

State = Literal["queued", "done", "failed"]


@dataclass(frozen=True)
class LedgerRow:
    """How a file was last seen, and what became of it. `attempts` counts its failures in a row."""

    uri: str
    size_bytes: int
    mtime_ns: int
    frames_per_second: float
    state: State
    stage: str | None = None
    reason: str | None = None
    attempts: int = 1
    item_id: str | None = None
    sampling: Sampling = "rate"


_COLUMNS = tuple(LedgerRow.__dataclass_fields__)


def write_ledger(db: Transaction, row: LedgerRow) -> None:
    """Puts the row in place of the file's old one, inside the caller's transaction."""
    values = [getattr(row, name) for name in _COLUMNS]
    db.execute(
        f"INSERT INTO ledger ({', '.join(_COLUMNS)}, updated_at) VALUES ({', '.join('?' * len(values))}, ?) "
        f"ON CONFLICT (uri) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}, "
        "attempts = CASE WHEN excluded.state = 'failed' AND ledger.state = 'failed' "
        "THEN ledger.attempts + 1 ELSE 1 END, updated_at = excluded.updated_at",
        [*values, now()],
    )


def record(catalog: Catalog, row: LedgerRow) -> None:
    """Puts the row in place of the file's old one, in a transaction of its own."""
    with catalog.write() as db:
        write_ledger(db, row)


def read_ledger(catalog: Catalog) -> dict[str, LedgerRow]:
    """Every row by uri."""
    with catalog.read() as db:
        rows = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM ledger")
        return {row[0]: LedgerRow(*row) for row in rows}


def forget(catalog: Catalog, uris: Iterable[str]) -> None:
    """Removes the rows of these files."""
    with catalog.write() as db:
        db.executemany("DELETE FROM ledger WHERE uri = ?", ((uri,) for uri in uris))
