"""What to seal, what to merge and what to forget (arithmetic), and the lock that lets one process at a time do it."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .catalog import Catalog

SEAL_ROWS = 20_000  # of the tail, from which it is worth a segment
GROWTH = 3  # a segment is merged into a newer one that is at least a third of it
DEAD_SHARE = 0.25  # of a segment's rows, above which it is made anew
LOCK_FILE = "lock"

Span = tuple[int, int]  # of vector ids: first, last


@dataclass(frozen=True)
class Sealed:
    """What upkeep wants to know of a segment: rows it was made with, and those alive."""

    span: Span
    rows: int
    alive: int


def next_span(
    segments: Sequence[Sealed], gaps: Sequence[Span], tail: Span, tail_rows: int, damaged: bool
) -> Span | None:
    """The ids of the next segment to make, None: all is well. gaps: spans between the segments that none covers.

    damaged: whether a segment was found that cannot be used; what it held is in a gap or in the tail.

    Segments at the end that are not much larger than what is sealed go into it: each is written again only after it
    has grown by a third, so a million rows are written a handful of times, and a search asks few segments.
    """
    if gaps:
        return gaps[0]
    if tail_rows >= SEAL_ROWS or (damaged and tail_rows):
        return merged(segments, tail, tail_rows)
    worn = [segment.span for segment in segments if segment.rows - segment.alive > DEAD_SHARE * segment.rows]
    return worn[0] if worn else None


def merged(segments: Sequence[Sealed], tail: Span, tail_rows: int) -> Span:
    """The tail's span, begun at the first of the segments before it that are small beside it."""
    first, rows = tail[0], tail_rows
    for segment in reversed(segments):
        if segment.span[1] + 1 != first or segment.alive > GROWTH * rows:
            break
        first, rows = segment.span[0], rows + segment.alive
    return first, tail[1]


def trim(catalog: Catalog, sealed: Sequence[tuple[Span, int]]) -> None:
    """Forgets removals that no segment needs to be told. sealed: each segment's span, and the last removal it knows.

    Only for who is alone_in() the segments. Others that had not read them yet notice the gap, and load anew.
    """
    known = " OR ".join(["vector_id BETWEEN ? AND ? AND seq > ?"] * len(sealed)) or "FALSE"
    values = [value for span, seq in sealed for value in (*span, seq)]
    with catalog.write() as db:
        db.execute(f"DELETE FROM removed WHERE NOT ({known})", values)


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Whether this process may write the segments in `folder`; nobody else may until the block ends.

    False while another does. Raises OSError when the folder cannot be written. A kill frees it at once.
    """
    folder.mkdir(exist_ok=True)
    file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(file)
