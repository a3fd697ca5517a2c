"""The index: nearest vectors over vector ids, derived from the catalog, which stays the truth.

Sealed segments (files, segment.py) hold the older ids, a tail in memory (memtable.py) the newest; removed ids are
masked until their segment is made anew. All of it is one State, a value: a search works on the State it began with, so
that neither refreshing nor sealing ever stops it. Follows what any process commits to the catalog or seals in the
folder. Knows vector ids and nothing of items, files or times.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any

import numpy as np

from ...errors import StorageError
from ..catalog.database import Catalog
from ..catalog.frames import count_vectors
from .asked import Findings
from .build import MAKING, make_segment
from .build_process import make_apart
from .card import Card
from .exact import Best, Floats, Ids
from .follower import Follower, span_of
from .id_ranges import Allowed
from .memory import give_back
from .memtable import empty_tail
from .merge_policy import LONG_ROWS, Span, alone_in, next_span, trim
from .plan import Effort, IndexOptions, PartPlan
from .segment import Segment
from .tuning import Asked, Tuner
from .unsealed import Unsealed
from .view import State

log = logging.getLogger(__name__)

INDEX_FOLDER = "index"
TENDING_SECONDS = 1.0  # between two looks at the tail while a long segment is made
RETRY_SECONDS = 60.0  # after a disk refused


class _Stopped(Exception):
    """close() was called while the index was being tended."""


class VectorIndex:
    """Nearest vectors of a catalog. Any thread may search while others refresh, seal or compact."""

    def __init__(
        self, catalog: Catalog, dim: int, options: IndexOptions | None = None, card: Card | None = None
    ) -> None:
        """card: holds what is sealed too; whoever opened it closes it, after this."""
        self.options = options or IndexOptions()
        self._card = card
        self._catalog = catalog
        self._dim = dim
        self._folder = catalog.path.parent / INDEX_FOLDER
        self._follower = Follower(catalog, dim, self._folder)
        self._lock = RLock()  # over changing the state, never over a search
        self._state = State((), (), empty_tail(dim), None)
        self._stopping = Event()
        self._thread: Thread | None = None
        self._not_before = 0.0
        self._making: set[Span] = set()  # spans of segments that are being made or opened; under the lock
        self._tuner = Tuner(
            lambda: self._state.segments, self._learn, lambda: bool(self._making), self.options.background
        )

    def __len__(self) -> int:
        state = self._state
        if any(isinstance(patch, Unsealed) for _, patch in state.patches):
            with self._catalog.read() as db:
                return count_vectors(db)
        return sum(map(len, state.segments)) + sum(map(len, state.tails))

    def refresh(self) -> None:
        """Takes in what any process has committed or sealed since the last call; cheap when that is nothing."""
        with self._lock:
            self._follow()
            if self._card is not None:
                self._card.hold(self._folder, self._state.segments)
            if self.options.background and monotonic() >= self._not_before and self._due() is not None:
                self._start()

    def search(
        self, query: Floats, k: int, allowed: Allowed | None = None, effort: Effort | None = None
    ) -> tuple[Floats, Ids]:
        """query (Q, D) float32 unit length -> cosines (Q, k) best first, ids (Q, k); -1: none left.

        allowed: only these are answered, k of them whenever k exist, and quicker when it is the same again. The cosines
        are those of the stored vectors. effort says how sure the answer must be, and is told how it was found.
        """
        if query.ndim != 2 or query.shape[1] != self._dim:
            raise ValueError(f"query must be (Q, {self._dim}), got {query.shape}")
        effort = effort or Effort()
        effort.parts.clear()
        effort.allowed = None if allowed is None else len(allowed)
        least = self.options.min_recall if effort.min_recall is None else effort.min_recall
        query = np.ascontiguousarray(query, np.float32)
        state = self._state
        answers = []
        is_by_codes = False
        for segment in state.segments:
            if allowed is None or allowed.touches(*segment.span):
                found = self._on_card(segment, query, k, allowed, effort, least)
                is_by_codes |= found is None and segment.codes is not None
                answers.append(found or segment.search(query, k, allowed, effort, least))
        if is_by_codes and allowed is None and not effort.exact:
            self._tuner.take_note(query, effort.depth_of(k))
        for span, patch in state.patches:
            if isinstance(patch, Unsealed) and (allowed is None or allowed.touches(*span)):
                scores, ids, rows = patch.search(query, k, None if allowed is None else allowed.within(*span))
                effort.parts.append(PartPlan("catalog", rows, 0, rows, 1.0))
                answers.append((scores, ids))
        for tail in state.tails:
            if len(tail):
                effort.parts.append(PartPlan("exact", len(tail), 0, len(tail), 1.0))
                here = None if allowed is None else allowed.within(int(tail.ids[0]), int(tail.ids[-1]))
                answers.append(tail.search(query, k, here))
        if len(answers) == 1:
            return answers[0]
        best = Best(len(query), k)
        for scores, ids in answers:
            best.add(np.where(ids < 0, np.float32(-np.inf), scores), ids)
        return best.result()

    def _on_card(
        self, segment: Segment, query: Floats, k: int, allowed: Allowed | None, effort: Effort, least: float
    ) -> tuple[Floats, Ids] | None:
        """As Segment.search; None: there is no card, or it cannot answer that."""
        if self._card is None or allowed is not None:
            return None
        return self._card.search(segment, query, k, effort, least)

    def mean(self) -> Floats:
        """(D,) float32: the mean of the vectors held, of what is neither sealed nor in memory a sample; zeros: none."""
        return self._state.mean

    def status(self) -> dict[str, Any]:
        """What it is made of: segments, rows, bytes of memory, and what was found damaged, by folder name."""
        state = self._state
        tails = state.tails
        return {
            "segments": [
                {"kind": s.manifest.kind, "rows": s.manifest.rows, "alive": len(s), "first_id": s.span[0]}
                for s in state.segments
            ],
            "tail_rows": sum(map(len, tails)),
            "unsealed": [list(span) for span, patch in state.patches if isinstance(patch, Unsealed)],
            "resident_bytes": sum(s.resident_bytes for s in state.segments) + sum(tail.nbytes for tail in tails),
            "damaged": dict(self._follower.damage),
        }

    def seal(self, everything: bool = False) -> bool:
        """Seals and compacts what is due before it returns; `everything`: into one segment, whatever is due.

        False when another process is at it or the folder cannot be written: searches go on as they were.
        """
        with self._lock:
            self._follow()
            whole, span = (1, self._state.last_frame), self._due()
        if self._state.last_frame == 0 or (span is None and not everything):
            return True
        with self._alone() as alone:
            if not alone:
                return False
            if everything:
                return self._make(whole)
            before = None
            while (span := self._due()) is not None:
                if span == before or not self._make(span):
                    return False
                before = span
            return True

    def tune(self) -> int:
        """Compares what was asked lately with every vector, and fits the width of searches to it -> how many queries.

        With options.background a thread does so slowly; what it learned holds until a segment is made anew.
        """
        return self._tuner.tune()

    def asked(self) -> Asked:
        """How much of what people ask was compared with every vector, and what is found of it."""
        return self._tuner.told(self.options.min_recall)

    def close(self) -> None:
        """Ends the tending threads. Calling it twice is allowed."""
        self._tuner.close()
        if self._card is not None:
            self._card.hold(self._folder, ())
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _follow(self) -> None:
        """Under the lock."""
        self._state = self._follower.followed(self._state, self._making)

    def _due(self) -> Span | None:
        state = self._state
        return next_span(
            state.sealed,
            [span for span, _ in state.patches],
            (state.covered + 1, state.last_frame),
            len(state.tail),
            bool(self._follower.damage),
            tuple(self._making),
        )

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether segments may be made until the block ends; what a killed process left half made is gone then."""
        with ExitStack() as stack:
            try:
                alone = stack.enter_context(alone_in(self._folder))
                for leftover in self._folder.glob(f"{MAKING}*") if alone else ():
                    shutil.rmtree(leftover, ignore_errors=True)
            except OSError as error:
                self._refused(error)
                alone = False
            yield alone

    def _make(self, span: Span) -> bool:
        """Makes the segment of the span, takes it in, and removes those it replaces. For who is _alone()."""
        with self._lock:
            self._making.add(span)
        try:
            if self.options.background:
                options = self.options
                if options.kind != "exact" and span[1] - span[0] < LONG_ROWS:
                    options = replace(options, kind="exact")  # soon merged: codes would not be worth their making
                made = make_apart(self._catalog.path, self._folder, span, self._dim, options, self._check)
            else:
                made = make_segment(self._catalog, self._folder, span, self._dim, self.options, self._check)
            segment = self._follower.open(made.name)  # before the lock is taken: a large one takes seconds to read
            with self._lock:
                self._making.discard(span)
                if segment is not None:
                    self._follower.opened[made.name] = segment
                self._follow()
                self._follower.opened.pop(made.name, None)
            self._sweep(made.name)
            give_back()
            with self._lock:
                if not self._making:  # what is being made needs to be told what was removed meanwhile
                    told = [(s.span, s.manifest.removed_seq) for s in self._state.segments]
                    trim(self._catalog, told, self._state.last_removed)
            return True
        except (OSError, StorageError) as error:
            self._refused(error)
            return False
        except _Stopped:
            return False
        finally:
            with self._lock:
                self._making.discard(span)

    def _refused(self, error: Exception) -> None:
        log.warning("the index in %s cannot be sealed now (%s); it is searched from memory", self._folder, error)
        self._not_before = monotonic() + RETRY_SECONDS

    def _sweep(self, made: str) -> None:
        """Removes the folders that the one just made replaces, and damaged ones within it."""
        first, last = span_of(made)
        damage = self._follower.damage
        for name in self._follower.names(self._state.names or (), self._making):
            span = span_of(name)
            if name != made and (name in damage or (span[0] >= first and span[1] <= last)):
                # The manifest goes first, so that what a kill leaves is known to be no segment.
                (self._folder / name / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(self._folder / name, ignore_errors=True)
                damage.pop(name, None)

    def _learn(self, findings: Mapping[Path, Findings]) -> None:
        with self._lock:
            segments = tuple(
                replace(segment, levels=known.levels(), asked_depth=known.depth)
                if (known := findings.get(segment.folder)) is not None
                else segment
                for segment in self._state.segments
            )
            self._state = replace(self._state, segments=segments)

    def _start(self) -> None:
        if (self._thread is None or not self._thread.is_alive()) and not self._stopping.is_set():
            self._thread = Thread(target=self._guarded, args=(self._tend,), name="index-upkeep", daemon=True)
            self._thread.start()

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # a thread has nobody to raise to, and searches do not need it
            log.exception("sealing the index in %s failed", self._folder)
            self._not_before = monotonic() + RETRY_SECONDS

    def _tend(self) -> None:
        """Makes what is due until nothing is; what takes long beside the rest, so that the tail stays short."""
        beside: Thread | None = None
        with self._alone() as alone:
            try:
                while alone and not self._stopping.is_set():
                    with self._lock:
                        self._follow()
                        span = self._due() if monotonic() >= self._not_before else None
                    is_busy = beside is not None and beside.is_alive()
                    if span is not None and not is_busy and span[1] - span[0] >= LONG_ROWS:
                        with self._lock:
                            self._making.add(span)
                        beside = Thread(target=self._guarded, args=(partial(self._make, span),), daemon=True)
                        beside.start()
                    elif span is not None:
                        self._make(span)
                    elif is_busy:
                        self._stopping.wait(TENDING_SECONDS)
                    else:
                        return
            finally:
                if beside is not None:
                    beside.join()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _Stopped
