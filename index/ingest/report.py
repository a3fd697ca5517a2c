"""What became of a run over many files: counts, reasons, and whether all of it went well. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..catalog import LedgerRow
from ..paths import printable, uri_path
from .scan import Plan, Walk
from .write import Outcome

MAX_SUFFIXES = 12  # that are named of what was passed over


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


@dataclass(frozen=True)
class Note:
    """A file that is in the collection, but less of it than was asked for: incomplete, or sampled more thinly."""

    path: Path
    note: str

    def to_dict(self) -> dict[str, str]:
        return {"path": printable(self.path), "note": self.note}


@dataclass
class Report:
    """Grows with each Outcome. `gone` counts files that vanished, `removed` how many of them were pruned.

    passed_over: files that are no picture and no video, counted by suffix ("" for none)
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    gone: int = 0
    failed: list[Failure] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)

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
        if outcome.note is not None:
            self.notes.append(Note(outcome.path, outcome.note))
        if outcome.state == "failed":
            self.failed.append(Failure.of(outcome.path, outcome))
        else:
            setattr(self, outcome.state, getattr(self, outcome.state) + 1)

    def lines(self) -> list[str]:
        """For people: the counts, a line for each file with a note or a reason, and what was passed over."""
        counts = {"added": self.added, "updated": self.updated, "unchanged": self.unchanged}
        counts |= {"removed": self.removed, "failed": len(self.failed)}
        always = ("added", "unchanged", "failed")
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name in always)
        failures = sorted(self.failed, key=lambda failure: failure.path)
        notes = sorted(self.notes, key=lambda note: note.path)
        return [
            told,
            *(f"{printable(note.path)}: {note.note}" for note in notes),
            *(f"{printable(failure.path)}: {failure.reason}" for failure in failures),
            *([passed_over(self.passed_over)] if self.passed_over else []),
        ]

    def to_dict(self) -> dict[str, Any]:
        told = {name: [each.to_dict() for each in getattr(self, name)] for name in ("failed", "notes")}
        return {**vars(self), **told}


def passed_over(counts: Mapping[str, int]) -> str:
    """A sentence on files that are no picture and no video, by suffix; the most first."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    told = [f"{count} {printable(Path(suffix)) if suffix else 'without a suffix'}" for suffix, count in ordered]
    more = f" and {len(told) - MAX_SUFFIXES} other suffixes" if len(told) > MAX_SUFFIXES else ""
    return f"Passed over, since their content is no picture and no video: {', '.join(told[:MAX_SUFFIXES])}{more}."
