"""When what people ask is compared with every vector, and by whom: a thread that takes a small share of one core.

What is compared and what follows from it is asked.py's.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic

from .asked import MOST_WAITING, Findings, Question, Waiting, compare, nothing_found
from .exact import Floats
from .memory import give_back
from .segment import Segment

log = logging.getLogger(__name__)

QUESTIONS_A_PASS = 16  # reading every vector is most of the work, and is done once for so many
LEAST_REST_SECONDS = 5.0  # between two passes
REST_A_WORK = 20.0  # seconds of rest for one of work
PAUSE_A_WORK = 3.0  # seconds of pause for one of work, within a pass


@dataclass(frozen=True)
class Asked:
    """How many of people's queries were compared with every vector, and the share of the nearest found of them now.

    recall is the mean over the latest of them; None: none was compared since the segments were made.
    """

    compared: int = 0
    recall: float | None = None


class _Interrupted(Exception):
    """The index is closed, or sealed: a comparison ends."""


class Tuner:
    """Keeps what people ask and, in `background`, compares it while nothing is sealed.

    segments  those of the index as it is now
    learned   is handed what is known of each segment, by its folder, after every pass
    is_busy   whether the index is being sealed
    """

    def __init__(
        self,
        segments: Callable[[], Sequence[Segment]],
        learned: Callable[[Mapping[Path, Findings]], None],
        is_busy: Callable[[], bool],
        background: bool,
    ) -> None:
        self._segments, self._learned, self._is_busy = segments, learned, is_busy
        self._background = background
        self._waiting = Waiting()
        self._working = Lock()
        self._starting = Lock()
        self._findings: dict[Path, Findings] = {}
        self._stopping = Event()
        self._thread: Thread | None = None
        self._not_before = 0.0
        self._compared = 0

    def take_note(self, query: Floats, k: int) -> None:
        """Takes note of a search by codes among all vectors: query (Q, D)."""
        self._waiting.put(query, k)
        if self._background and (self._thread is None or not self._thread.is_alive()):
            with self._starting:
                if (self._thread is None or not self._thread.is_alive()) and not self._stopping.is_set():
                    self._thread = Thread(target=self._tend, name="index-tuning", daemon=True)
                    self._thread.start()

    def tune(self) -> int:
        """Compares every question that waits, now and in this thread -> how many those were. 0 once it is closed."""
        before = self._compared
        for _ in range(MOST_WAITING // QUESTIONS_A_PASS):
            if not self._waiting or not self._pass(self._check):
                break
        return self._compared - before

    def told(self, min_recall: float) -> Asked:
        """Where it stands, with the recall over all segments by their rows."""
        told = [
            (segment.manifest.rows, share)
            for segment in self._segments()
            if (findings := self._findings.get(segment.folder)) is not None
            and (share := findings.recall(segment.levels, min_recall)) is not None
        ]
        rows = sum(count for count, _ in told)
        return Asked(self._compared, sum(count * share for count, share in told) / rows if rows else None)

    def close(self) -> None:
        """Ends the thread, at once also within a comparison. Calling it twice is allowed."""
        self._stopping.set()
        with self._starting:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _tend(self) -> None:
        """Works while questions wait; the next one starts another thread."""
        try:
            while self._waiting and not self._stopping.wait(max(0.0, self._not_before - monotonic())):
                pace = _Pace(self._check, self._stopping)
                if not self._is_busy():
                    self._pass(pace.pause)
                self._not_before = monotonic() + max(LEAST_REST_SECONDS, REST_A_WORK * pace.worked_seconds)
        except Exception:  # a thread has nobody to raise to, and searches do not need it
            log.exception("comparing what was asked with every vector failed")
            self._not_before = monotonic() + 60 * LEAST_REST_SECONDS

    def _pass(self, pause: Callable[[], None]) -> bool:
        """Compares some questions with every sealed vector. False when that was interrupted: they wait on."""
        with self._working:
            questions = self._waiting.take(QUESTIONS_A_PASS)
            findings: dict[Path, Findings] = {}
            try:
                for segment in self._segments():
                    if segment.codes is not None:
                        known = self._findings.get(segment.folder) or nothing_found(segment, segment.codes)
                        found = compare(segment, segment.codes, known.ways, questions, pause)
                        findings[segment.folder] = known.plus(found)
                        segment.file.forget()  # the widest searches looked at nearly all
            except _Interrupted:
                self._put_back(questions)
                return False
            give_back()
            self._findings = findings
            self._compared += len(questions)
            self._learned(findings)
            return True

    def _put_back(self, questions: Sequence[Question]) -> None:
        for question in questions:
            self._waiting.put(question.vector, question.k)

    def _check(self) -> None:
        if self._stopping.is_set() or self._is_busy():
            raise _Interrupted


class _Pace:
    """Lets a pause follow every piece of work, and tells how long the work took."""

    def __init__(self, check: Callable[[], None], stopping: Event) -> None:
        self._check, self._stopping = check, stopping
        self._since = monotonic()
        self.worked_seconds = 0.0

    def pause(self) -> None:
        self._check()
        worked = monotonic() - self._since
        self.worked_seconds += worked
        self._stopping.wait(PAUSE_A_WORK * worked)
        self._since = monotonic()
