"""The index at one moment, as one value: its segments, its memtable, and what neither holds. Searches all of them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .gpu import Card
from .id_ranges import Allowed
from .memtable import Memtable
from .merge_policy import Sealed, Span
from .plan import Effort, PartPlan
from .segment import Segment
from .topk import Floats, Found, Ids, best_of
from .unsealed import Unsealed

MEAN_SAMPLE = 2048  # vectors


@dataclass(frozen=True)
class View:
    """A search works on the View it began with, whatever is sealed, merged or removed meanwhile.

    patches     what no segment covers between the segments and the memtable, by its span
    names       of the segments' folders when they were last looked at
    last_frame, last_removed   the last vector id and the last removal that are in it
    """

    segments: tuple[Segment, ...]
    patches: tuple[tuple[Span, Memtable | Unsealed], ...]
    memtable: Memtable
    names: tuple[str, ...] | None
    last_frame: int = 0
    last_removed: int = 0

    @property
    def covered(self) -> int:
        """The last id that is not the memtable's."""
        return max([s.span[1] for s in self.segments] + [span[1] for span, _ in self.patches], default=0)

    @cached_property
    def memtables(self) -> list[Memtable]:
        """What is held in memory, oldest first."""
        return [*(patch for _, patch in self.patches if isinstance(patch, Memtable)), self.memtable]

    @cached_property
    def unsealed(self) -> list[Unsealed]:
        """What is read from the catalog."""
        return [patch for _, patch in self.patches if isinstance(patch, Unsealed)]

    @property
    def sealed(self) -> list[Sealed]:
        """The segments as the merge policy wants to know them."""
        return [Sealed(segment.span, segment.manifest.rows, len(segment)) for segment in self.segments]

    def search(self, query: Floats, k: int, allowed: Allowed | None, effort: Effort, card: Card | None) -> Found:
        """As VectorIndex.search. card: asked first, where the segment is on it."""
        found = []
        for segment in self.segments:
            if allowed is None or allowed.touches(*segment.span):
                answer = card.search(segment, query, k) if card and allowed is None and not effort.exact else None
                scores, plan = answer or segment.search(query, k, allowed, effort.exact)
                found.append(scores)
                effort.parts.append(plan)
        for unsealed in self.unsealed:
            if allowed is None or allowed.touches(*unsealed.span):
                here = None if allowed is None else allowed.within(*unsealed.span)
                scores, rows = unsealed.search(query, k, here)
                found.append(scores)
                effort.parts.append(PartPlan("catalog", rows))
        for memtable in self.memtables:
            if len(memtable):
                here = None if allowed is None else allowed.within(int(memtable.ids[0]), int(memtable.ids[-1]))
                found.append(memtable.search(query, k, here))
                effort.parts.append(PartPlan("exact", len(memtable)))
        return best_of(found, len(query), k)

    @cached_property
    def mean(self) -> Floats:
        """As VectorIndex.mean."""
        total, rows = np.zeros(len(self.memtable.total)), 0
        for segment in self.segments:
            total += len(segment) * np.asarray(segment.manifest.mean)
            rows += len(segment)
        for unsealed in self.unsealed:
            if len(some := unsealed.sample(MEAN_SAMPLE)):
                size = unsealed.span[1] - unsealed.span[0] + 1
                total += size * some.mean(axis=0, dtype=np.float64)
                rows += size
        for memtable in self.memtables:
            total += memtable.total
            rows += len(memtable)
        return (total / max(rows, 1)).astype(np.float32)

    def minus(self, ids: Ids) -> "View":
        """Without these ids, ascending; each was in what holds its span."""
        if not len(ids):
            return self
        return replace(
            self,
            segments=tuple(segment.minus(ids) for segment in self.segments),
            patches=tuple(
                (span, patch.minus(ids) if isinstance(patch, Memtable) else patch) for span, patch in self.patches
            ),
            memtable=self.memtable.minus(ids),
        )
