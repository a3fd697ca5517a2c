"""The index at one moment, as one value: its segments, its memtable, and what neither holds. Searches all of them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .gpu import Card
from .id_ranges import Allowed
from .memtable import Memtable
from .plan import Effort, PartPlan
from .segment import Segment
from .topk import Floats, Found, Ids, best_of
from .unsealed import Unsealed

MEAN_SAMPLE = 2048  # vectors


@dataclass(frozen=True)
class View:
    """A search works on the View it began with, whatever is sealed, merged or removed meanwhile.

    unsealed    what no segment covers and the memtable does not hold, oldest first
    names       of the segments' folders when they were last looked at
    last_frame, last_removed   the last vector id and the last removal that are in it
    """

    segments: tuple[Segment, ...]
    unsealed: tuple[Unsealed, ...]
    memtable: Memtable
    names: tuple[str, ...] | None
    last_frame: int = 0
    last_removed: int = 0

    @property
    def covered(self) -> int:
        """The last id that is not the memtable's."""
        spans = [*(segment.span for segment in self.segments), *(unsealed.span for unsealed in self.unsealed)]
        return max((last for _, last in spans), default=0)

    def search(self, query: Floats, k: int, allowed: Allowed | None, effort: Effort, card: Card | None) -> Found:
        """As VectorIndex.search. card: asked first, where the segment is on it."""
        found = []
        for segment in self.segments:
            if allowed is None or allowed.touches(*segment.span):
                answer = None if card is None or allowed is not None or effort.exact else card.search(segment, query, k)
                scores, plan = answer or segment.search(query, k, allowed, effort.exact)
                found.append(scores)
                effort.parts.append(plan)
        for unsealed in self.unsealed:
            if allowed is None or allowed.touches(*unsealed.span):
                here = None if allowed is None else allowed.within(*unsealed.span)
                scores, rows = unsealed.search(query, k, here)
                found.append(scores)
                effort.parts.append(PartPlan("catalog", rows))
        if len(self.memtable):
            here = None if allowed is None else allowed.within(self.covered + 1, self.last_frame)
            found.append(self.memtable.search(query, k, here))
            effort.parts.append(PartPlan("exact", len(self.memtable)))
        return best_of(found, len(query), k)

    @cached_property
    def mean(self) -> Floats:
        """As VectorIndex.mean."""
        total, rows = self.memtable.total.copy(), len(self.memtable)
        for segment in self.segments:
            total += len(segment) * np.asarray(segment.manifest.mean)
            rows += len(segment)
        for unsealed in self.unsealed:
            if len(some := unsealed.sample(MEAN_SAMPLE)):
                size = unsealed.span[1] - unsealed.span[0] + 1
                total += size * some.mean(axis=0, dtype=np.float64)
                rows += size
        return (total / max(rows, 1)).astype(np.float32)

    def minus(self, ids: Ids) -> "View":
        """Without these ids, ascending; each was in what holds its span."""
        if not len(ids):
            return self
        return replace(
            self,
            segments=tuple(segment.minus(ids) for segment in self.segments),
            memtable=self.memtable.minus(ids),
        )
