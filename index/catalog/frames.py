"""Stored frames: their times, their vectors, and the log of the ones that were removed.

A vector id is given once and never again, ascending; an item's frames are stored together, so that their ids follow
one another. Blocks of vectors are (ids (n,) int64, n rows of D little-endian fp16 as bytes): see packing.py.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .database import Catalog, Transaction
from .filters import Filter
from .items import Moments, NewItem
from .packing import pack_vectors, unpack_rows, unpack_vectors

CHUNK_ROWS = 10_000  # read together

Ids = NDArray[np.int64]
Block = tuple[Ids, bytes]
Span = tuple[int, int]  # the first and the last vector id


@dataclass(frozen=True)
class Version:
    """The state of a catalog: the last vector id given, how many removals were logged, items changed in place."""

    last_vector_id: int
    removals: int
    changes: int


@dataclass(frozen=True)
class Head:
    """What frames an item has. mark: equal for as long as the frames are the same."""

    frames_per_second: float
    mark: tuple[object, ...]


@dataclass(frozen=True)
class StoredFrames:
    """The T frames of an item as the catalog has them: raw (T rows of D fp16), start_seconds, end_seconds (T,) float64,
    informative (T,) float32."""

    raw: bytes
    start_seconds: NDArray[np.float64]
    end_seconds: NDArray[np.float64]
    informative: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start_seconds)

    @property
    def nbytes(self) -> int:
        return len(self.raw) + self.start_seconds.nbytes + self.end_seconds.nbytes + self.informative.nbytes

    def unpacked(self, dim: int) -> Moments:
        return Moments(unpack_rows(self.raw, dim), self.start_seconds, self.end_seconds, self.informative)


def version(db: Transaction) -> Version:
    """The state that the transaction sees. Equal versions hold the same items, frames and metadata."""
    tops = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('frames', 'removed')"))
    (changes,) = db.execute("SELECT seq FROM changes").fetchone()
    return Version(tops.get("frames", 0), tops.get("removed", 0), changes)


def count_vectors(db: Transaction) -> int:
    return int(db.execute("SELECT count(*) FROM frames").fetchone()[0])


def vector_ids(db: Transaction) -> Ids:
    """All vector ids, ascending."""
    return np.fromiter((row[0] for row in db.execute("SELECT vector_id FROM frames ORDER BY vector_id")), np.int64)


def count_between(db: Transaction, span: Span) -> int:
    """How many vectors have ids in the span."""
    return int(db.execute("SELECT count(*) FROM frames WHERE vector_id BETWEEN ? AND ?", span).fetchone()[0])


def vectors_between(db: Transaction, span: Span) -> Iterator[Block]:
    """The vectors with ids in the span, ascending, in blocks of at most CHUNK_ROWS."""
    yield from _blocks(
        db.execute("SELECT vector_id, vector FROM frames WHERE vector_id BETWEEN ? AND ? ORDER BY 1", span)
    )


def vectors_with_ids(db: Transaction, ids: Ids) -> Iterator[Block]:
    """Those of the vectors that exist, ascending, in blocks. ids (n,) int64 ascending."""
    query = "SELECT vector_id, vector FROM frames WHERE vector_id IN (SELECT value FROM json_each(?)) ORDER BY 1"
    for first in range(0, len(ids), CHUNK_ROWS):
        yield from _blocks(db.execute(query, (json.dumps(ids[first : first + CHUNK_ROWS].tolist()),)))


def removed_after(db: Transaction, seq: int, span: Span = (0, 2**62)) -> Ids:
    """Ids of the span that were removed after the removal number `seq`, ascending; fewer where the log was trimmed."""
    rows = db.execute("SELECT vector_id FROM removed WHERE seq > ? AND vector_id BETWEEN ? AND ?", (seq, *span))
    return np.sort(np.fromiter((row[0] for row in rows), np.int64))


def trim_removed(catalog: Catalog, until_seq: int, needed: Sequence[tuple[Span, int]]) -> None:
    """Shortens the log of removals up to the number `until_seq`, except within the spans after their numbers."""
    known = " OR ".join(["vector_id BETWEEN ? AND ? AND seq > ?"] * len(needed)) or "FALSE"
    values = [value for span, seq in needed for value in (*span, seq)]
    with catalog.write() as db:
        db.execute(f"DELETE FROM removed WHERE seq <= ? AND NOT ({known})", [until_seq, *values])


def allowed_ranges(db: Transaction, filter: Filter | None, after: int = 0) -> tuple[Ids, Ids]:
    """Of the filter's items stored after that vector id, the first and last vector id of each: (R,) each, ascending."""
    filter = filter or Filter()
    newer = [after] if after else []
    rows = db.execute(f"{_RANGES} AND {filter.sql}{f' AND {_NEWER}' * len(newer)}", [*filter.parameters, *newer])
    pieces = [np.array(some, np.int64) for some in iter(lambda: rows.fetchmany(CHUNK_ROWS), [])]
    counts, lasts = np.concatenate([np.empty((0, 2), np.int64), *pieces]).T
    order = np.argsort(lasts)
    return (lasts - counts + 1)[order], lasts[order]


def owners(db: Transaction, ids: Ids) -> dict[int, str]:
    """vector id -> item id, of those that exist."""
    query = "SELECT vector_id, media_id FROM frames WHERE vector_id IN (SELECT value FROM json_each(?))"
    return dict(db.execute(query, (json.dumps(ids.tolist()),)))


def first_vector_ids(db: Transaction, item_ids: Iterable[str]) -> list[int]:
    """The first vector id of each of the items that exist."""
    query = f"SELECT min(vector_id) FROM frames WHERE media_id {_OF_THOSE} GROUP BY media_id"
    return [row[0] for row in db.execute(query, (json.dumps(list(item_ids)),))]


def owned_vectors(catalog: Catalog, dim: int, rows: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """All vectors as (n,) item ids and (n, D) float32 of unit length, n <= rows, oldest first; a moment a block."""
    query = "SELECT vector_id, media_id, vector FROM frames WHERE vector_id > ? ORDER BY vector_id LIMIT ?"
    last = 0
    while True:
        with catalog.read() as db:
            found = db.execute(query, (last, rows)).fetchall()
        if not found:
            return
        ids, item_ids, blobs = zip(*found, strict=True)
        last = ids[-1]
        yield list(item_ids), unpack_vectors(list(blobs), dim)


def frame_heads(db: Transaction, item_ids: Sequence[str]) -> dict[str, Head]:
    """What frames the items have, of those that exist."""
    rows = db.execute(_HEADS, (json.dumps(list(item_ids)),))
    return {item_id: Head(rate, tuple(mark)) for item_id, rate, *mark in rows}


def frames_of(db: Transaction, item_ids: Sequence[str]) -> dict[str, StoredFrames]:
    """The stored frames of the items, of those that exist."""
    found: dict[str, StoredFrames] = {}
    for item_id, rows in groupby(db.execute(_FRAMES, (json.dumps(list(item_ids)),)), itemgetter(0)):
        _, starts, ends, informative, blobs = zip(*rows, strict=True)
        times = np.array(starts, np.float64), np.array(ends, np.float64)
        found[item_id] = StoredFrames(b"".join(blobs), *times, np.array(informative, np.float32))
    return found


def insert_frames(db: Transaction, new: NewItem) -> None:
    """Stores the frames of an item whose row is there."""
    frames = zip(
        new.start_seconds.tolist(),
        new.end_seconds.tolist(),
        new.informative.tolist(),
        pack_vectors(new.vectors),
        strict=True,
    )
    db.executemany(
        "INSERT INTO frames (media_id, start_seconds, end_seconds, informative, vector) VALUES (?, ?, ?, ?, ?)",
        ((new.id, *frame) for frame in frames),
    )


def frame_columns(db: Transaction, names: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
    """Columns of all frames and of the items they belong to, oldest frame first, in chunks of rows."""
    rows = db.execute(f"SELECT {', '.join(names)} FROM frames JOIN media ON media.id = media_id ORDER BY vector_id")
    while chunk := rows.fetchmany(CHUNK_ROWS):
        yield chunk


def _blocks(rows: Any) -> Iterator[Block]:
    while chunk := rows.fetchmany(CHUNK_ROWS):
        ids, blobs = zip(*chunk, strict=True)
        yield np.array(ids, np.int64), b"".join(blobs)


_OF_THOSE = "IN (SELECT value FROM json_each(?))"
_RANGES = "SELECT frames, (SELECT max(vector_id) FROM frames WHERE media_id = media.id) FROM media WHERE frames > 0"
_NEWER = "id IN (SELECT media_id FROM frames WHERE vector_id > ?)"
_FRAMES = (
    "SELECT media_id, start_seconds, end_seconds, informative, vector FROM frames "
    f"WHERE media_id {_OF_THOSE} ORDER BY media_id, vector_id"
)
# The id, the rate, and what would be another if the frames were: vector ids are never given twice.
_HEADS = (
    "SELECT id, frames_per_second, sha256, mtime_ns, (SELECT max(vector_id) FROM frames WHERE media_id = media.id) "
    f"FROM media WHERE id {_OF_THOSE}"
)
