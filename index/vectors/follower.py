"""Brings a View up to what any process has committed to the catalog or sealed in the folder.

Decides which segments count, what no segment covers, and what of the newest vectors is held in memory.
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..catalog import Catalog, Transaction, removed_after, vectors_between, version
from .memtable import empty_memtable
from .merge_policy import Span
from .segment import Damaged, Segment, open_segment
from .unsealed import Unsealed
from .view import View

log = logging.getLogger(__name__)

LARGE_SPAN = 100_000  # of newest ids, from which they are not held in memory
SEGMENT_NAME = re.compile(r"seg-(\d+)-(\d+)-[0-9a-f]+")


class Follower:
    """Of one catalog with vectors of D numbers, and the folder of its segments.

    damage  why segments cannot be used, by folder name
    """

    def __init__(self, catalog: Catalog, dim: int, folder: Path) -> None:
        self.folder = folder
        self.damage: dict[str, str] = {}
        self._opened: dict[str, Segment] = {}  # but in no View yet
        self._catalog = catalog
        self._dim = dim

    def empty_view(self) -> View:
        return View((), (), empty_memtable(self._dim), None)

    def open_new(self, view: View, building: Collection[Span]) -> None:
        """Opens what others sealed since the view; followed() then takes it in. A large one takes a second."""
        for name in self.names(view.names or (), building):
            if name not in (view.names or ()) and name not in self._opened and name not in self.damage:
                self.open(name)

    def followed(self, view: View, building: Collection[Span], take_new: bool = True) -> View:
        """view brought up to the catalog and, with take_new, to the folder.

        building: spans of segments that are not to be opened yet.
        """
        with self._catalog.read() as db:
            names = self.names(view.names or (), building) if take_new or view.names is None else view.names
            now = version(db)
            gone = removed_after(db, view.last_removed)
            if len(gone) < now.removals - view.last_removed and view.names is not None:
                view = self.empty_view()  # others trimmed the log of removals that we had not read
                gone = removed_after(db, 0)
            elif view.names is not None:
                view = view.minus(gone)
            if names != view.names:
                view = self._reselected(db, view, names)
            first = max(view.last_frame, view.covered) + 1
            if now.last_vector_id - first + 1 >= LARGE_SPAN:
                large = self._unsealed((view.covered + 1, now.last_vector_id))
                view = replace(view, unsealed=(*view.unsealed, large), memtable=empty_memtable(self._dim))
            elif now.last_vector_id >= first:
                memtable = view.memtable
                for ids, raw in vectors_between(db, (first, now.last_vector_id)):
                    memtable = memtable.plus(ids, raw)
                view = replace(view, memtable=memtable)
            return replace(view, last_frame=now.last_vector_id, last_removed=now.removals)

    def _reselected(self, db: Transaction, view: View, names: tuple[str, ...]) -> View:
        """view with the segments that the folder holds now, and with what goes with them."""
        segments = self._selected(view.segments, names)
        gaps, next_id = [], 1
        for segment in segments:
            if segment.span[0] > next_id:
                gaps.append((next_id, segment.span[0] - 1))
            next_id = segment.span[1] + 1
        if next_id <= view.covered:  # a segment is gone
            gaps.append((next_id, view.covered))
        known = {segment.folder for segment in view.segments}
        segments = tuple(
            segment
            if segment.folder in known
            else segment.minus(removed_after(db, segment.manifest.removed_seq, segment.span))
            for segment in segments
        )
        unsealed, memtable = tuple(map(self._unsealed, gaps)), view.memtable.after(next_id - 1)
        return replace(view, segments=segments, unsealed=unsealed, memtable=memtable, names=names)

    def _unsealed(self, span: Span) -> Unsealed:
        return Unsealed(self._catalog, span, self._dim)

    def _selected(self, known: Sequence[Segment], names: Iterable[str]) -> tuple[Segment, ...]:
        """The widest sound segments, one after another from the first id."""
        opened = self._opened | {segment.folder.name: segment for segment in known}
        spans = {name: span_of(name) for name in names if name not in self.damage}
        # Of two that begin together the one that reaches further; of the same span the newer.
        order = sorted(spans, key=lambda name: (spans[name][0], -spans[name][1], -_age(self.folder / name)))
        selected: list[Segment] = []
        for name in order:
            if not selected or spans[name][0] > selected[-1].span[1]:
                segment = opened[name] if name in opened else self.open(name)  # one without rows left is false
                selected += [segment] if segment is not None else []
        self._opened = {}
        return tuple(selected)

    def open(self, name: str) -> Segment | None:
        """The segment of that folder name, kept for followed(); None: it is damaged, which is logged and remembered."""
        folder = self.folder / name
        try:
            self._opened[name] = open_segment(folder, self._catalog, self._dim)
            return self._opened[name]
        except Damaged as damage:
            if folder.is_dir():  # else another process has just replaced it
                self.damage[name] = str(damage)
                log.warning("the index segment %s is not used and is built anew from the catalog: %s", folder, damage)
            return None

    def names(self, known: Collection[str], building: Collection[Span]) -> tuple[str, ...]:
        """Of the segments' folders, without those that appeared just now and are still being built."""
        try:
            found = [p.name for p in self.folder.iterdir() if SEGMENT_NAME.fullmatch(p.name) and p.is_dir()]
        except OSError:  # no folder yet, or none we may read: then everything comes from the catalog
            return ()
        return tuple(sorted(name for name in found if name in known or span_of(name) not in building))


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
