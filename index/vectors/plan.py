"""How an index is kept, what one search asks of it, and how it was answered. Values; knows no storage."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["auto", "exact", "ivf"]


@dataclass(frozen=True)
class IndexOptions:
    """How an index is kept.

    kind        auto: small segments are scanned whole, larger ones have lists (IVF); the others whatever the size
    min_recall  the share of the true nearest vectors that a search of a segment with lists must find, 0..1, as
                measured when the segment is built
    background  whether a thread of this process seals and merges; else only seal() does
    """

    kind: Kind = "auto"
    min_recall: float = 0.99
    background: bool = False


@dataclass(frozen=True)
class PartPlan:
    """How one part of the index answered.

    kind    exact (every vector compared), ivf (lists), catalog (read from it), or gpu-… for either on a card
    rows    vectors that could be the answer
    width   lists that were searched; 0 where every vector was compared
    recall  as measured when the segment was built; 1 where every vector was compared
    """

    kind: str
    rows: int
    width: int = 0
    recall: float = 1.0


@dataclass
class Effort:
    """What one search asks of the index: `exact`, every vector is compared. The last made with it fills the rest."""

    exact: bool = False
    parts: list[PartPlan] = field(default_factory=list)
    allowed: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The index's share of an answer's plan."""
        rows = sum(part.rows for part in self.parts)
        recall = sum(part.recall * part.rows for part in self.parts) / rows if rows else 1.0
        told: dict[str, Any] = {
            "index": "+".join(sorted({part.kind for part in self.parts}) or ["exact"]),
            "segments": len(self.parts),
            "vectors": rows,
            "width": max((part.width for part in self.parts), default=0),
            "recall_estimate": round(recall, 4),
        }
        return told if self.allowed is None else {**told, "allowed": self.allowed}
