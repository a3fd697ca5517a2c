"""What a search of the index needs, as one value: segments, the tail, and what neither holds. Knows no files."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .exact import Floats, Ids
from .memtable import Tail
from .merge_policy import Sealed, Span
from .segment import Segment
from .unsealed import Unsealed

MEAN_SAMPLE = 2048  # vectors


@dataclass(frozen=True)
class State:
    """Everything a search needs. patches: what no segment covers between them and the tail."""

    segments: tuple[Segment, ...]
    patches: tuple[tuple[Span, Tail | Unsealed], ...]
    tail: Tail
    names: tuple[str, ...] | None  # of the segments' folders when they were last looked at
    last_frame: int = 0
    last_removed: int = 0

    @property
    def covered(self) -> int:
        """The last id that is not the tail's."""
        return max([s.span[1] for s in self.segments] + [span[1] for span, _ in self.patches], default=0)

    @cached_property
    def tails(self) -> list[Tail]:
        """What is held in memory, oldest first."""
        return [*(patch for _, patch in self.patches if isinstance(patch, Tail)), self.tail]

    @property
    def sealed(self) -> list[Sealed]:
        """The segments as upkeep wants to know them."""
        return [Sealed(segment.span, segment.manifest.rows, len(segment)) for segment in self.segments]

    @cached_property
    def mean(self) -> Floats:
        """As VectorIndex.mean."""
        total, rows = np.zeros(len(self.tail.total)), 0
        for segment in self.segments:
            total += len(segment) * np.asarray(segment.manifest.mean)
            rows += len(segment)
        for span, patch in self.patches:
            if isinstance(patch, Unsealed) and len(some := patch.sample(MEAN_SAMPLE)):
                total += (span[1] - span[0] + 1) * some.mean(axis=0, dtype=np.float64)
                rows += span[1] - span[0] + 1
        for tail in self.tails:
            total += tail.total
            rows += len(tail)
        return (total / max(rows, 1)).astype(np.float32)

    def without(self, gone: Ids) -> "State":
        """With these ids removed."""
        return replace(
            self,
            segments=tuple(segment.minus(gone) for segment in self.segments),
            patches=tuple(
                (span, patch.minus(gone) if isinstance(patch, Tail) else patch) for span, patch in self.patches
            ),
            tail=self.tail.minus(gone),
        )
