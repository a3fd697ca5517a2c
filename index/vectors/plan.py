"""What is asked of the index, and how it answered: values that travel with a search. Knows no storage."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["auto", "exact", "hnsw", "ivf"]


@dataclass(frozen=True)
class IndexOptions:
    """How an index is kept.

    kind          auto: exact while small, ivf beyond; the others whatever the size
    memory_bytes  how much of memory vectors may take before they are kept as codes
    min_recall    the share of the true nearest vectors an answer must hold, as measured on samples
    background    whether a thread of this process seals and compacts; else only seal() does
    """

    kind: Kind = "auto"
    memory_bytes: int = 2**30
    min_recall: float = 0.99
    background: bool = False


@dataclass(frozen=True)
class PartPlan:
    """How one part of the index answered. width: lists probed (ivf) or paths kept (hnsw); 0 for an exact scan.

    measured_on: what recall_estimate was measured with, queries made when the part was sealed, or what people asked;
    None where every vector was compared.
    """

    kind: str
    rows: int
    width: int
    candidates: int
    recall_estimate: float
    measured_on: Literal["sealing", "queries"] | None = None


@dataclass
class Effort:
    """What one request asks of the index; `parts` is filled by the last search that was made with it.

    depth: for how many of the nearest min_recall must hold, None: for all that are asked for. What comes behind them
    is likely right too, and is much cheaper so.
    """

    exact: bool = False
    min_recall: float | None = None
    depth: int | None = None
    parts: list[PartPlan] = field(default_factory=list)
    allowed: int | None = None

    def depth_of(self, k: int) -> int:
        """How many of k answers must be sure."""
        return k if self.depth is None else min(k, self.depth)

    @property
    def compared_all(self) -> bool:
        """Whether the last search compared every vector that could be its answer."""
        return all(part.measured_on is None for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """The index's share of an answer's plan."""
        rows = sum(part.rows for part in self.parts)
        kinds = sorted({part.kind for part in self.parts}) or ["exact"]
        recall = sum(part.recall_estimate * part.rows for part in self.parts) / rows if rows else 1.0
        told: dict[str, Any] = {
            "index": "+".join(kinds),
            "segments": len(self.parts),
            "vectors": rows,
            "candidates": sum(part.candidates for part in self.parts),
            "width": max((part.width for part in self.parts), default=0),
            "recall_estimate": round(recall, 4),
        }
        if measured := {part.measured_on for part in self.parts} - {None}:
            told["measured_on"] = "queries" if measured == {"queries"} else "sealing"
        return told if self.allowed is None else {**told, "allowed": self.allowed}
