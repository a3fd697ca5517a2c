"""What a search needs, brought up to what any process has committed to the catalog or sealed in the folder.

Decides which segments count, what no segment covers, and what of the newest vectors is held in memory. Makes and
removes nothing, and keeps no state but the segments found damaged: who calls it holds the State, and the lock.
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..catalog.database import Catalog, Transaction
from ..catalog.frames import removed_after, vectors_between, version
from .exact import Ids
from .memtable import Tail, empty_tail
from .merge_policy import Span
from .segment import Damaged, Segment, open_segment
from .unsealed import Unsealed
from .view import State

log = logging.getLogger(__name__)

LARGE_SPAN = 100_000  # ids that no segment covers, from which they are not held in memory
EMPTY: Ids = np.empty(0, np.int64)
SEGMENT_NAME = re.compile(r"seg-(\d+)-(\d+)-[0-9a-f]+")


class Follower:
    """Of one catalog with vectors of D numbers, and the folder of its segments.

    damage  why segments cannot be used, by folder name
    opened  segments that were opened already, by folder name, and are not to be opened again
    """

    def __init__(self, catalog: Catalog, dim: int, folder: Path) -> None:
        self.folder = folder
        self.damage: dict[str, str] = {}
        self.opened: dict[str, Segment] = {}
        self._catalog = catalog
        self._dim = dim

    def followed(self, state: State, making: Collection[Span]) -> State:
        """state brought up to the catalog and the folder. making: spans of segments that are not to be opened yet."""
        with self._catalog.read() as db:
            names = self.names(state.names or (), making)
            now = version(db)
            last_frame, last_removed = now.last_vector_id, now.removals
            gone = removed_after(db, state.last_removed) if last_removed > state.last_removed else EMPTY
            if len(gone) < last_removed - state.last_removed and state.names is not None:
                state = State((), (), empty_tail(self._dim), None)  # others trimmed what we had not read
                gone = removed_after(db, 0)
            if names != state.names:
                state = self._chosen(db, state, names)
            state = state.without(gone) if len(gone) else state
            first = max(state.last_frame, state.covered) + 1
            if last_frame - first + 1 >= LARGE_SPAN:
                patch = (
                    (state.covered + 1, last_frame),
                    Unsealed(self._catalog, (state.covered + 1, last_frame), self._dim),
                )
                state = replace(state, patches=(*state.patches, patch), tail=empty_tail(self._dim))
                first = last_frame + 1
            tail = self._loaded(db, state.tail, (first, last_frame)) if last_frame >= first else state.tail
            return replace(state, tail=tail, last_frame=last_frame, last_removed=last_removed)

    def _chosen(self, db: Transaction, state: State, names: tuple[str, ...]) -> State:
        """state with the segments that the folder holds now, and the tail and patches that go with them."""
        segments, gaps = self._pick(state.segments, names)
        covered = max([s.span[1] for s in segments] + [gap[1] for gap in gaps], default=0)
        if covered < state.covered:  # a segment is gone, or there is none yet
            gaps = _joined([*gaps, (covered + 1, state.covered)])
        known = {segment.folder for segment in state.segments}
        segments = tuple(
            segment
            if segment.folder in known
            else segment.minus(removed_after(db, segment.manifest.removed_seq, segment.span))
            for segment in segments
        )
        patches = tuple((gap, self._patch(db, gap)) for gap in gaps)
        tail = state.tail.after(covered)
        # What was removed since the state before is taken out of everything by who called.
        return replace(state, segments=segments, patches=patches, tail=tail, names=names)

    def _patch(self, db: Transaction, span: Span) -> Tail | Unsealed:
        """The catalog's vectors of a span that no segment covers: in memory, unless they are too many."""
        if span[1] - span[0] + 1 >= LARGE_SPAN:
            return Unsealed(self._catalog, span, self._dim)
        return self._loaded(db, empty_tail(self._dim), span)

    def _pick(self, known: Sequence[Segment], names: Iterable[str]) -> tuple[tuple[Segment, ...], list[Span]]:
        """The widest sound segments, one after another from id 1, and the spans between them that none covers."""
        opened = {segment.folder.name: segment for segment in known}
        refused = set(self.damage)
        spans = {name: span_of(name) for name in names}
        # Of two that begin together the one that reaches further; of the same span the newer.
        order = sorted(spans, key=lambda name: (-spans[name][1], -_age(self.folder / name)))
        picked: list[Segment] = []
        gaps: list[Span] = []
        at = 1
        while starts := [span[0] for name, span in spans.items() if span[0] >= at and name not in refused]:
            if min(starts) > at:
                gaps.append((at, min(starts) - 1))
                at = min(starts)
            name = next(name for name in order if spans[name][0] == at and name not in refused)
            segment = opened.get(name) or self.opened.get(name) or self.open(name)
            if segment is None:
                refused.add(name)
                continue
            picked.append(segment)
            at = segment.span[1] + 1
        return tuple(picked), _joined(gaps)

    def open(self, name: str) -> Segment | None:
        """The segment of that folder name; None: it is damaged, which is logged and remembered."""
        folder = self.folder / name
        try:
            return open_segment(folder, self._catalog, self._dim)
        except Damaged as damage:
            if folder.is_dir():  # else another process has just replaced it
                self.damage[name] = str(damage)
                log.warning("the index segment %s is not used and is made anew from the catalog: %s", folder, damage)
            return None

    def _loaded(self, db: Transaction, tail: Tail, span: Span) -> Tail:
        """tail with the catalog's vectors of the span."""
        for ids, raw in vectors_between(db, span):
            tail = tail.plus(raw, ids)
        return tail

    def names(self, known: Collection[str], making: Collection[Span]) -> tuple[str, ...]:
        """Of the segments' folders, without those that appeared just now and are still being made."""
        try:
            found = [p.name for p in self.folder.iterdir() if SEGMENT_NAME.fullmatch(p.name) and p.is_dir()]
        except OSError:  # no folder yet, or none we may read: then everything comes from the catalog
            return ()
        return tuple(sorted(name for name in found if name in known or span_of(name) not in making))


def _joined(gaps: Sequence[Span]) -> list[Span]:
    """Neighbouring spans as one."""
    joined: list[Span] = []
    for first, last in gaps:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def span_of(name: str) -> Span:
    found = SEGMENT_NAME.fullmatch(name)
    assert found is not None
    return int(found[1]), int(found[2])


def _age(folder: Path) -> int:
    """When the folder was made, in nanoseconds; 0 when it is gone."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
