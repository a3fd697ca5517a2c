"""Does a catalog agree with itself? Each fault is a sentence. Reads every vector, changes nothing."""

from collections.abc import Iterable, Iterator

import numpy as np

from .database import Transaction
from .frames import CHUNK_ROWS, count_vectors
from .item_table import count_items

LENGTH_TOLERANCE = 5e-3  # of fp16 vectors of unit length
NAMED = 5  # examples in a sentence


def row_counts(db: Transaction) -> dict[str, int]:
    """items, frames, ledger."""
    ledger = int(db.execute("SELECT count(*) FROM ledger").fetchone()[0])
    return {"items": count_items(db), "frames": count_vectors(db), "ledger": ledger}


def row_faults(db: Transaction) -> Iterator[str]:
    """SQLite's own checks, orphans, counts that differ."""
    told = [row[0] for row in db.execute("PRAGMA integrity_check(20)")]
    if told != ["ok"]:
        yield f"SQLite finds the catalog damaged: {'; '.join(told)}. Restore a snapshot."
    if orphans := db.execute("SELECT count(*) FROM frames WHERE media_id NOT IN (SELECT id FROM media)").fetchone()[0]:
        yield f"{orphans} frames belong to no item."
    for query, sentence in _CHECKS.items():
        yield from _named((row[0] for row in db.execute(query)), sentence)


def vector_faults(db: Transaction, dim: int) -> Iterator[str]:
    """Faults of stored vectors: size, numbers that are not finite, length."""
    rows = db.execute("SELECT vector_id, vector FROM frames")
    wrong: dict[str, list[int]] = {
        "have the wrong size": [],
        "hold numbers that are not finite": [],
        "are not of unit length": [],
    }
    size, infinite, length = wrong.values()
    while chunk := rows.fetchmany(CHUNK_ROWS):
        size += [vector_id for vector_id, blob in chunk if len(blob) != 2 * dim]
        fitting = [(vector_id, blob) for vector_id, blob in chunk if len(blob) == 2 * dim]
        if not fitting:
            continue
        ids = np.array([vector_id for vector_id, _ in fitting])
        vectors = np.frombuffer(b"".join(blob for _, blob in fitting), "<f2").reshape(-1, dim).astype(np.float32)
        finite = np.asarray(np.isfinite(vectors).all(axis=1))
        lengths = np.linalg.norm(np.where(finite[:, None], vectors, 0), axis=1)
        infinite += ids[~finite].tolist()
        length += ids[finite & (np.abs(lengths - 1) > LENGTH_TOLERANCE)].tolist()
    for told, ids_told in wrong.items():
        if ids_told:
            yield f"{len(ids_told)} vectors {told} (ids {', '.join(map(str, ids_told[:NAMED]))}…)."


def _named(found: Iterable[object], told: str) -> Iterator[str]:
    names = [str(name) for name in found]
    if names:
        yield f"{len(names)} {told}: {', '.join(names[:NAMED])}{'…' if len(names) > NAMED else '.'}"


_CHECKS = {
    "SELECT media_id FROM pictures JOIN media ON id = media_id WHERE length(sizes) <> 4 * frames": (
        "items do not have a picture of each of their frames"
    ),
    "SELECT id FROM media WHERE frames <> (SELECT count(*) FROM frames WHERE media_id = media.id) OR frames = 0": (
        "items do not have the frames that they say"
    ),
    "SELECT media_id FROM frames GROUP BY 1 HAVING max(vector_id) - min(vector_id) + 1 <> count(*)": (
        "items have frames of others between their own, which a filter would let through"
    ),
    "SELECT uri FROM ledger WHERE state = 'done' AND NOT EXISTS "
    "(SELECT 1 FROM media WHERE media.id = ledger.item_id OR media.uri = ledger.uri)": (
        "files are done in the ledger and have no item; `vicmae index --retry` does not see them"
    ),
    "SELECT DISTINCT media_id FROM frames WHERE NOT (0 <= start_seconds AND start_seconds <= end_seconds)": (
        "items have frames that end before they start"
    ),
}
