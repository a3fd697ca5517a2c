"""Do the parts of a collection agree? Catalog, ledger, uploads and index are compared; nothing is changed.

A fault is something that cannot be so, told in a sentence. A note is worth knowing and no fault, such as files of the
user's that are gone. Reads every vector; opens no media.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import StorageError
from ..collection import Collection
from ..ingest.scan import is_gone
from ..vectors.id_ranges import allowed_of

SAMPLE = 200  # vectors that are looked up in the index
CHUNK_ROWS = 10_000
LENGTH_TOLERANCE = 5e-3  # of fp16 vectors of unit length
SCORE_TOLERANCE = 2e-3  # of the cosine of a stored vector with itself
NAMED = 5  # examples in a sentence


@dataclass
class Verdict:
    """counts: items, frames, ledger, uploads, vectors_in_index."""

    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        return {"is_well": self.is_well, "counts": self.counts, "faults": self.faults, "notes": self.notes}


def verify(collection: Collection) -> Verdict:
    """Compares all parts with one another. A catalog that cannot be read at all is a fault too."""
    verdict = Verdict()
    try:
        with collection.catalog.read() as db:
            verdict.faults += _catalog(db)
            unusable = list(_vectors(db, collection.spec.dim))
            verdict.faults += unusable
            names = {"items": "media", "frames": "frames", "ledger": "ledger"}
            verdict.counts = {n: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for n, t in names.items()}
        _files(collection, verdict)
        if not unusable:  # an index is made of usable vectors only
            _index(collection, verdict)
    except StorageError as error:
        verdict.faults.append(str(error))
    return verdict


def _catalog(db: sqlite3.Connection) -> Iterator[str]:
    """Faults within the catalog: SQLite's own checks, orphans, counts that differ."""
    told = [row[0] for row in db.execute("PRAGMA integrity_check(20)")]
    if told != ["ok"]:
        yield f"SQLite finds the catalog damaged: {'; '.join(told)}. Restore a snapshot."
    if orphans := db.execute("SELECT count(*) FROM frames WHERE media_id NOT IN (SELECT id FROM media)").fetchone()[0]:
        yield f"{orphans} frames belong to no item."
    counted = db.execute(
        "SELECT id FROM media WHERE frames <> (SELECT count(*) FROM frames WHERE media_id = media.id) OR frames = 0"
    )
    yield from _named(counted, "items do not have the frames that they say")
    apart = db.execute("SELECT media_id FROM frames GROUP BY 1 HAVING max(vector_id) - min(vector_id) + 1 <> count(*)")
    yield from _named(apart, "items have frames of others between their own, which a filter would let through")
    lost = db.execute(
        "SELECT uri FROM ledger WHERE state = 'done' AND NOT EXISTS "
        "(SELECT 1 FROM media WHERE media.id = ledger.item_id OR media.uri = ledger.uri)"
    )
    yield from _named(lost, "files are done in the ledger and have no item; `vicmae index --retry` does not see them")
    spans = db.execute(
        "SELECT DISTINCT media_id FROM frames WHERE NOT (0 <= start_seconds AND start_seconds <= end_seconds)"
    )
    yield from _named(spans, "items have frames that end before they start")


def _vectors(db: sqlite3.Connection, dim: int) -> Iterator[str]:
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


def _files(collection: Collection, verdict: Verdict) -> None:
    """Uploaded files are there and as large as they were; what else lies there; the user's files that are gone."""
    uploads, gone, cursor = 0, 0, None
    known = set()
    while True:
        page, cursor = collection.items(1000, cursor)
        for item in page:
            if item.path.is_relative_to(collection.uploads):
                uploads += 1
                known.add(item.path.name)
                try:
                    found = item.path.stat().st_size
                except OSError as error:
                    verdict.faults.append(
                        f"The uploaded file of {item.id!r} ({item.name}) is not there: {error.strerror}."
                    )
                    continue
                if found != item.size_bytes:
                    verdict.faults.append(
                        f"The uploaded file of {item.id!r} ({item.name}) has {found} bytes, expected {item.size_bytes}."
                    )
            elif is_gone(item.path):
                gone += 1
        if cursor is None:
            break
    verdict.counts["uploads"] = uploads
    if gone:
        verdict.notes.append(
            f"{gone} indexed files are no longer where they were; `vicmae index FOLDER --prune` removes them."
        )
    there = {path.name for path in collection.uploads.iterdir()} if collection.uploads.is_dir() else set()
    if spare := len(there - known):
        verdict.notes.append(
            f"{spare} uploaded files belong to no item yet: jobs wait, or the next start removes them."
        )


def _index(collection: Collection, verdict: Verdict) -> None:
    """The index holds as many vectors as the catalog, and finds those that it is asked for."""
    index = collection.index
    index.refresh()
    with collection.catalog.read() as db:
        ids = np.fromiter((row[0] for row in db.execute("SELECT vector_id FROM frames ORDER BY vector_id")), np.int64)
    verdict.counts["vectors_in_index"] = len(index)
    if len(index) != len(ids):
        verdict.faults.append(
            f"The index holds {len(index)} vectors and the catalog {len(ids)} (unless something was written just now). "
            "Delete the collection's folder 'index': it is made anew."
        )
    for name, there in index.status()["damaged"].items():
        verdict.notes.append(f"The part {name} of the index is damaged and was made anew: {there}.")
    missed = []
    chosen = ids[np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)] if len(ids) else ids
    for vector_id in chosen.tolist():
        vector = _stored(collection, vector_id)
        if vector is None:
            continue
        scores, found = index.search(vector, 1, allowed_of(np.array([vector_id], np.int64)))
        if found[0, 0] != vector_id or abs(scores[0, 0] - 1) > SCORE_TOLERANCE:
            missed.append(vector_id)
    if missed:
        verdict.faults.append(
            f"{len(missed)} of {len(chosen)} vectors looked up in the index are others than the catalog's (ids "
            f"{', '.join(map(str, missed[:NAMED]))}…). Delete the collection's folder 'index': it is made anew."
        )


def _stored(collection: Collection, vector_id: int) -> "np.ndarray[Any, np.dtype[np.float32]] | None":
    """(1, D) float32 of unit length as the catalog holds it; None when it is gone or cannot be compared."""
    with collection.catalog.read() as db:
        row = db.execute("SELECT vector FROM frames WHERE vector_id = ?", (vector_id,)).fetchone()
    if row is None or len(row[0]) != 2 * collection.spec.dim:
        return None
    vector = np.frombuffer(row[0], "<f2").astype(np.float32)
    length = float(np.linalg.norm(vector))
    return (vector / length)[None] if np.isfinite(length) and length > 0 else None


def _named(rows: sqlite3.Cursor, told: str) -> Iterator[str]:
    names = [str(row[0]) for row in rows]
    if names:
        yield f"{len(names)} {told}: {', '.join(names[:NAMED])}{'…' if len(names) > NAMED else '.'}"
