"""The merge policy: what to seal and what to merge. Arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

SEAL_ROWS = 10_000  # of the memtable, from which it is worth a segment
GROWTH = 2  # a segment is merged into newer ones unless it has more than this many times their rows
MOST_ROWS = 2_000_000  # of a segment that merging makes: the building of it takes as much memory as its file
LONG_ROWS = 30_000  # built in a second up to here; what is longer must not keep the memtable waiting
DEAD_SHARE = 0.25  # of a segment's rows, above which it is built anew

Span = tuple[int, int]  # of vector ids: first, last


@dataclass(frozen=True)
class Sealed:
    """What the policy wants to know of a segment: rows it was built with, and those alive."""

    span: Span
    rows: int
    alive: int


def next_span(
    segments: Sequence[Sealed],
    gaps: Sequence[Span],
    newest: Span,
    newest_rows: int,
    damaged: bool,
    taken: Sequence[Span] = (),
) -> Span | None:
    """The ids of the next segment to build, None: all is well. gaps: spans between the segments that none covers.

    newest: what the memtable holds. damaged: whether a segment was found that cannot be used; what it held is in a gap
    or in the memtable. taken: spans of segments that are being built; nothing within them is due.

    So segments at least halve in size from the first to the last: there are few, and each row is written again only
    when its segment has grown by half. The memtable never waits for a long merge.
    """
    free = [segment for segment in segments if not _within(segment.span, taken)]
    pieces = [(first, min(last, first + MOST_ROWS - 1)) for first, last in gaps]
    open_gaps = [gap for gap in pieces if not _within(gap, taken)]
    if open_gaps:
        return open_gaps[0]
    if newest_rows >= SEAL_ROWS or (damaged and newest_rows):
        return merged(free, newest, newest_rows, LONG_ROWS)
    if free:
        last = free[-1]
        span = merged(free[:-1], last.span, last.alive, MOST_ROWS)
        if span != last.span:
            return span
    worn = [segment.span for segment in free if segment.rows - segment.alive > DEAD_SHARE * segment.rows]
    return worn[0] if worn else None


def merged(segments: Sequence[Sealed], newest: Span, newest_rows: int, most_rows: int) -> Span:
    """The newest span, begun at the first of the segments before it that are at most GROWTH times what follows.

    Beyond most_rows none is taken in.
    """
    first, rows = newest[0], newest_rows
    for segment in reversed(segments):
        if segment.span[1] + 1 != first or segment.alive > GROWTH * rows or segment.alive + rows > most_rows:
            break
        first, rows = segment.span[0], rows + segment.alive
    return first, newest[1]


def _within(span: Span, taken: Sequence[Span]) -> bool:
    return any(first <= span[0] and span[1] <= last for first, last in taken)
