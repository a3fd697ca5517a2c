"""What became of a run over many files: counts, reasons, and whether all of it went well. Values only."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..catalog import LedgerRow
from ..paths import printable, uri_path
from .scan import Plan, Walk
from .write import Outcome


@dataclass(frozen=True)
class Failure:
    """A file that is not in the collection, the step at which it stopped, and why."""

    path: Path
    stage: str
    reason: str

    @classmethod
    def of(cls, path: Path, told: Outcome | LedgerRow) -> "Failure":
        """What an outcome says, or the ledger of an earlier one."""
        return cls(path, told.stage or "read", told.reason or "It cannot be read.")

    def to_dict(self) -> dict[str, str]:
        return {"path": printable(self.path), "stage": self.stage, "reason": self.reason}


@dataclass
class Report:
    """Grows with each Outcome. `gone` counts files that vanished, `removed` how many of them were pruned."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    gone: int = 0
    failed: list[Failure] = field(default_factory=list)

    @property
    def good(self) -> int:
        """Files that are in the collection as they are on disk."""
        return self.added + self.updated + self.unchanged

    def add_known_failures(self, walk: Walk, plan: Plan) -> None:
        """What could not be looked at, and files that failed before and are as they were."""
        self.failed += [Failure(path, "read", reason) for path, reason in walk.unseen]
        self.failed += [Failure.of(uri_path(row.uri), row) for row in plan.failed]

    def count(self, outcome: Outcome) -> None:
        """Adds what became of one file."""
        if outcome.state == "failed":
            self.failed.append(Failure.of(outcome.path, outcome))
        else:
            setattr(self, outcome.state, getattr(self, outcome.state) + 1)

    def lines(self) -> list[str]:
        """For people: the counts, then a line for each failed file."""
        counts = {"added": self.added, "updated": self.updated, "unchanged": self.unchanged}
        counts |= {"removed": self.removed, "failed": len(self.failed)}
        always = ("added", "unchanged", "failed")
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name in always)
        failures = sorted(self.failed, key=lambda failure: failure.path)
        return [told, *(f"{printable(failure.path)}: {failure.reason}" for failure in failures)]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "failed": [failure.to_dict() for failure in self.failed]}
