"""The graphics card of a process: which segments are on it, and the one queue through which it is asked.

It is there beside the segments' own indexes: what it does not hold, cannot answer or fails at is searched as if there
were no card. FAISS' indexes on a card belong to one thread (github.com/facebookresearch/faiss/wiki/
Threads-and-asynchronous-calls), so that thread copies and searches, and searches that wait go together.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import numpy as np

from . import ann
from .exact import Best, Floats, Ids
from .gpu import (
    SCRATCH_BYTES,
    CardKind,
    Make,
    Vectors,
    bytes_on_card,
    candidates_for,
    find_card,
    makes,
    measured,
    most_candidates,
)
from .plan import Effort, PartPlan
from .segment import Segment

log = logging.getLogger(__name__)

MOST_QUERIES = 1024  # searched together
PROBES = 128  # made queries with which a kind is measured
BLOCK_ROWS = 16_384  # copied at once; searches are answered in between


@dataclass(frozen=True)
class OnCard:
    """What the card holds of a segment, how wide to ask for a recall, and the memory it takes."""

    vectors: Vectors
    levels: tuple[ann.Level, ...]
    size_bytes: int


@dataclass(frozen=True)
class _Asked:
    folder: Path
    query: Floats
    count: int
    width: int
    answer: "Future[Ids | None]"


class Card:
    """A graphics card with vectors on it, and the thread that asks it. Any thread may use it; close() ends it."""

    def __init__(self, name: str, kind: CardKind, most_bytes: int, make: Make) -> None:
        self.name, self.kind, self.most_bytes = name, kind, most_bytes
        self._make = make
        self._changed = Condition()
        self._line: deque[_Asked] = deque()
        self._wanted: dict[Path, tuple[Segment, ...]] = {}
        self._held: dict[Path, OnCard] = {}
        self._refused: set[Path] = set()
        self._is_news = self._is_building = self._stopping = False
        self._thread = Thread(target=self._work, name="index-card", daemon=True)
        self._thread.start()

    def hold(self, owner: Path, segments: tuple[Segment, ...]) -> None:
        """From now on these are the segments of the index in the folder `owner`: they are copied, others dropped."""
        if self._wanted.get(owner, ()) is not segments:
            with self._changed:
                self._wanted[owner] = segments
                if not segments:
                    del self._wanted[owner]
                self._is_news = True
                self._changed.notify_all()

    def search(
        self, segment: Segment, query: Floats, k: int, effort: Effort, min_recall: float
    ) -> tuple[Floats, Ids] | None:
        """As Segment.search among all its rows; None: that is to be asked, the card cannot answer it."""
        held, alive = self._held.get(segment.folder), len(segment)
        if held is None or self._is_building or effort.exact or 2 * k > alive:
            return None
        rows, sure = segment.manifest.rows, effort.depth_of(k)
        count = min(ceil(candidates_for(k) * rows / alive), rows)  # those removed are still among them
        able = (level for level in held.levels if most_candidates(self.kind, level.width) >= count)
        if (level := ann.cheapest(able, sure, min_recall)) is None:
            return None
        asked = _Asked(segment.folder, query, count, level.width, Future())
        with self._changed:
            if self._stopping:
                return None
            self._line.append(asked)
            self._changed.notify_all()
        places = asked.answer.result()
        found = None if places is None else _compared(segment, query, k, places)
        if found is not None:
            part = PartPlan(f"gpu-{self.kind}", alive, level.width, count, level.recall_at(sure), "sealing")
            effort.parts.append(part)
        return found

    def status(self) -> dict[str, Any]:
        """What is on it."""
        held = dict(self._held)
        size = sum(each.size_bytes for each in held.values())
        return {"device": self.name, "kind": self.kind, "segments": len(held), "bytes": size}

    def close(self) -> None:
        """Ends the thread and frees the card. Calling it twice is allowed."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        """Answers what is asked, and copies a block in between as long as there is something to copy."""
        copying: Iterator[None] = iter(())
        is_idle = True
        while True:
            with self._changed:
                while is_idle and not (self._line or self._is_news or self._stopping):
                    self._changed.wait()
                if self._stopping:
                    break
                together = self._next()
                if is_idle and self._is_news:  # else after what is being copied, or it would never be done
                    copying, self._is_news = self._settle(), False
            if together:
                self._answer(together)
            is_idle = next(copying, self) is self
        for asked in self._line:  # nothing joins it any more
            asked.answer.set_result(None)
        self._held.clear()

    def _next(self) -> list[_Asked]:
        """The first in the line and those behind it that can be searched with it, taken out of it."""
        if not self._line:
            return []
        first, room = self._line[0], MOST_QUERIES
        together: list[_Asked] = []
        others: deque[_Asked] = deque()
        for asked in self._line:
            alike = (asked.folder, asked.width) == (first.folder, first.width)
            if asked is first or (alike and len(asked.query) <= room):
                together.append(asked)
                room -= len(asked.query)
            else:
                others.append(asked)
        self._line = others
        return together

    def _answer(self, together: Sequence[_Asked]) -> None:
        held = self._held.get(together[0].folder)
        found: list[Ids | None] = [None] * len(together)
        if held is not None:
            try:
                count = max(asked.count for asked in together)
                query = np.concatenate([asked.query for asked in together])
                places = held.vectors.search(query, count, together[0].width)
                found = list(np.split(places, np.cumsum([len(asked.query) for asked in together])[:-1]))
            except Exception as error:  # whatever it is: the queue must go on, and searches can do without a card
                self._give_up(together[0].folder, error)
        for asked, places_of_it in zip(together, found, strict=True):
            asked.answer.set_result(places_of_it)

    def _settle(self) -> Iterator[None]:
        """Drops what no index has any more, and copies what fits, the largest first; a block a step."""
        with self._changed:
            wanted = {
                one.folder: one for segments in self._wanted.values() for one in segments if one.codes is not None
            }
        for folder in self._held.keys() - wanted.keys():
            del self._held[folder]
        self._refused &= wanted.keys()
        missing = [one for folder, one in wanted.items() if folder not in self._held.keys() | self._refused]
        for segment in sorted(missing, key=len, reverse=True):
            size = bytes_on_card(self.kind, segment.manifest.rows, segment.manifest.dim)
            if SCRATCH_BYTES + size + sum(each.size_bytes for each in self._held.values()) > self.most_bytes:
                self._refused.add(segment.folder)
                log.warning("%s is not put on %s: it takes %d bytes more than fit", segment.folder, self.name, size)
                continue
            try:
                yield from self._copied(segment, size)
            except Exception as error:  # as above
                self._give_up(segment.folder, error)

    def _copied(self, segment: Segment, size: int) -> Iterator[None]:
        """Copies and measures one segment, a block a step."""
        rows, dim, chance = segment.manifest.rows, segment.manifest.dim, np.random.default_rng(0)
        lists = ann.lists_for(rows)
        vectors = self._make(dim, lists)
        if self.kind == "ivf":
            some = chance.permutation(rows)[: ann.sample_rows("ivf", rows)]
            vectors.index.train(segment.file.at(np.sort(some)))
        assert segment.codes is not None  # _settle takes no others
        queries = _made_queries(segment, segment.codes, np.sort(chance.permutation(rows)[:PROBES]))
        best = Best(len(queries), ann.DEPTHS[-1])
        for block, places in segment.file.blocks(BLOCK_ROWS):
            vectors.add(block)
            best.add(queries @ block.T, places)
            yield
        self._is_building = True  # nobody joins the line, for this may take long
        try:
            while self._line:
                yield
            vectors.finish()
            levels = measured(vectors, queries, best.result()[1], lists)
        finally:
            self._is_building = False
        self._held[segment.folder] = OnCard(vectors, levels, size)

    def _give_up(self, folder: Path, error: Exception) -> None:
        self._held.pop(folder, None)
        self._refused.add(folder)
        log.warning("%s is searched without %s from now on: %s", folder, self.name, str(error)[-200:])


def open_card(device: str, kind: CardKind, most_bytes: int) -> Card | None:
    """The card that `device` names, ready; None for cpu, and for auto where there is none. Raises as find_card."""
    number = find_card(device, kind)
    return None if number is None else Card(f"cuda:{number}", kind, most_bytes, makes(number, kind))


def _made_queries(segment: Segment, codes: ann.Codes, asked: Ids) -> Floats:
    """As at sealing, of the rows at `asked` (P,), with neighbours as the segment's own index proposes them."""
    held = segment.file.at(asked)
    near = ann.candidates(codes, held, 3, segment.levels[-1].width)[:, 1:]
    wanted, where = np.unique(np.maximum(near, 0), return_inverse=True)
    return ann.made_probes(held, segment.file.at(wanted)[where.reshape(near.shape)])


def _compared(segment: Segment, query: Floats, k: int, places: Ids) -> tuple[Floats, Ids] | None:
    """query (Q, D), places (Q, C) -> as Segment.search, the best of those alive; None: they are fewer than k."""
    found = []
    for one, row in zip(query[:, None], places, strict=True):
        own = row[row >= 0]
        own = own if segment.alive is None else own[segment.alive[own]]
        if len(own) < k:
            return None
        found.append(segment.file.best(one, k, own))
    cosines, nearest = zip(*found, strict=True)
    return segment.answer(np.concatenate(cosines), np.concatenate(nearest))
