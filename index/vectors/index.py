"""The index: nearest vectors over vector ids, derived from the catalog, which stays the truth.

Sealed segments (files) hold the older ids, a memtable the newest. All of it is one View, a value: a search works on the
View it began with, so that neither refreshing nor sealing ever stops it.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event, Lock, RLock, Thread
from time import monotonic
from typing import Any

import numpy as np

from ...errors import StorageError
from ..catalog import Catalog, count_vectors, trim_removed
from ..locks import file_lock
from .build import BUILDING, make_segment
from .build_process import make_apart
from .follower import Follower, span_of
from .gpu import Card
from .id_ranges import Allowed
from .memory import give_back
from .merge_policy import LONG_ROWS, Sealed, Span, next_span
from .plan import Effort, IndexOptions
from .segment import MANIFEST
from .topk import Floats, Found

log = logging.getLogger(__name__)

INDEX_FOLDER = "index"
LOCK_FILE = "lock"  # held by the process that builds segments in the folder
LOOK_SECONDS = 1.0  # between two looks at the memtable while a long segment is built
RETRY_SECONDS = 60.0  # after a disk refused


class _Stopped(Exception):
    """close() was called while a segment was being built."""


class VectorIndex:
    """Nearest vectors of a catalog. Any thread may search while others refresh or seal."""

    def __init__(
        self, catalog: Catalog, dim: int, options: IndexOptions | None = None, card: Card | None = None
    ) -> None:
        """card: holds copies of segments; whoever opened it closes it, after this."""
        self.options = options or IndexOptions()
        self._card = card
        self._catalog = catalog
        self._dim = dim
        self._folder = catalog.path.parent / INDEX_FOLDER
        self._follower = Follower(catalog, dim, self._folder)
        self._lock = RLock()  # over changing the view, never over a search
        self._opening = Lock()  # held by the one thread that opens what others sealed
        self._view = self._follower.empty_view()
        self._stopping = Event()
        self._thread: Thread | None = None
        self._not_before = 0.0
        self._building: set[Span] = set()  # spans of segments that are being built or opened; under the lock

    def __len__(self) -> int:
        view = self._view
        if view.unsealed:
            with self._catalog.read() as db:
                return count_vectors(db)
        return sum(map(len, view.segments)) + len(view.memtable)

    def refresh(self) -> None:
        """Takes in what any process has committed or sealed since the last call; cheap when that is nothing."""
        is_free = self._opening.acquire(blocking=self._view.names is None)
        try:
            if is_free:
                self._follower.open_new(self._view, tuple(self._building))
            with self._lock:
                self._follow(take_new=is_free)
                if self.options.background and monotonic() >= self._not_before and self._due() is not None:
                    self._start()
        finally:
            if is_free:
                self._opening.release()
        if self._card is not None:
            self._card.hold(self._folder, self._view.segments)

    def search(self, query: Floats, k: int, allowed: Allowed | None = None, effort: Effort | None = None) -> Found:
        """query (Q, D) float32 unit length -> cosines (Q, k) best first, ids (Q, k); -1: none left.

        allowed: only these are answered, k of them whenever k exist. The cosines are those of the stored vectors, as
        exact as fp16. effort says how to search, and is told how it was done.
        """
        if query.ndim != 2 or query.shape[1] != self._dim:
            raise ValueError(f"query must be (Q, {self._dim}), got {query.shape}")
        effort = effort or Effort()
        effort.parts.clear()
        effort.allowed = None if allowed is None else len(allowed)
        return self._view.search(np.ascontiguousarray(query, np.float32), k, allowed, effort, self._card)

    def mean(self) -> Floats:
        """(D,) float32: the mean of the vectors held, of what is neither sealed nor in memory a sample; zeros: none."""
        return self._view.mean

    def status(self) -> dict[str, Any]:
        """What it is made of: segments, rows, bytes of memory, and what was found damaged, by folder name."""
        view = self._view
        return {
            "segments": [
                {"kind": s.kind, "rows": s.manifest.rows, "alive": len(s), "first_id": s.span[0]} for s in view.segments
            ],
            "tail_rows": len(view.memtable),
            "unsealed": [list(unsealed.span) for unsealed in view.unsealed],
            "resident_bytes": sum(s.manifest.size_bytes for s in view.segments) + view.memtable.nbytes,
            "damaged": dict(self._follower.damage),
        }

    def seal(self, everything: bool = False) -> bool:
        """Seals and merges what is due before it returns; `everything`: into one segment, whatever is due.

        False when another process is at it or the folder cannot be written: searches go on as they were.
        """
        with self._lock:
            self._follow()
            whole, span = (1, self._view.last_frame), self._due()
        if self._view.last_frame == 0 or (span is None and not everything):
            return True
        with self._alone() as alone:
            if not alone:
                return False
            if everything:
                return self._build(whole)
            before = None
            while (span := self._due()) is not None:
                if span == before or not self._build(span):
                    return False
                before = span
            return True

    def close(self) -> None:
        """Ends the threads that seal and merge. Calling it twice is allowed."""
        if self._card is not None:
            self._card.hold(self._folder, ())
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join()

    def _follow(self, take_new: bool = True) -> None:  # under the lock
        self._view = self._follower.followed(self._view, self._building, take_new)

    def _due(self) -> Span | None:
        view = self._view
        return next_span(
            [Sealed(segment.span, segment.manifest.rows, len(segment)) for segment in view.segments],
            [unsealed.span for unsealed in view.unsealed],
            (view.covered + 1, view.last_frame),
            len(view.memtable),
            bool(self._follower.damage),
            tuple(self._building),
        )

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this process may build segments until the block ends; what a killed one left half built goes."""
        with ExitStack() as stack:
            try:
                self._folder.mkdir(exist_ok=True)
                alone = stack.enter_context(file_lock(self._folder / LOCK_FILE, wait=False))
                for leftover in self._folder.glob(f"{BUILDING}*") if alone else ():
                    shutil.rmtree(leftover, ignore_errors=True)
            except OSError as error:
                self._refused(error)
                alone = False
            yield alone

    def _build(self, span: Span) -> bool:
        """Builds the segment of the span, takes it in, and removes those it replaces. For who is _alone()."""
        with self._lock:
            self._building.add(span)
        try:
            if self.options.background:
                built = make_apart(self._catalog.path, self._folder, span, self._dim, self.options, self._check)
            else:
                built = make_segment(self._catalog, self._folder, span, self._dim, self.options, self._check)
            self._follower.open(built.name)  # before the lock is taken: a large one takes a second to read
            with self._lock:
                self._building.discard(span)
                self._follow()
            self._sweep(built.name)
            give_back()
            with self._lock:
                if not self._building:  # what is being built needs to be told what was removed meanwhile
                    told = [(s.span, s.manifest.removed_seq) for s in self._view.segments]
                    trim_removed(self._catalog, self._view.last_removed, told)
            return True
        except (OSError, StorageError) as error:
            self._refused(error)
            return False
        except _Stopped:
            return False
        finally:
            with self._lock:
                self._building.discard(span)

    def _refused(self, error: Exception) -> None:
        log.warning("the index in %s cannot be sealed now (%s); it is searched from memory", self._folder, error)
        self._not_before = monotonic() + RETRY_SECONDS

    def _sweep(self, built: str) -> None:
        """Removes the folders that the one just built replaces, and damaged ones within it."""
        first, last = span_of(built)
        damage = self._follower.damage
        for name in self._follower.names(self._view.names or (), self._building):
            span = span_of(name)
            if name != built and (name in damage or (span[0] >= first and span[1] <= last)):
                # The manifest goes first, so that what a kill leaves is known to be no segment.
                (self._folder / name / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(self._folder / name, ignore_errors=True)
                damage.pop(name, None)

    def _start(self) -> None:
        if (self._thread is None or not self._thread.is_alive()) and not self._stopping.is_set():
            self._thread = Thread(target=self._guarded, args=(self._upkeep,), name="index-upkeep", daemon=True)
            self._thread.start()

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # a thread has nobody to raise to, and searches do not need it
            log.exception("sealing the index in %s failed", self._folder)
            self._not_before = monotonic() + RETRY_SECONDS

    def _upkeep(self) -> None:
        """Builds what is due until nothing is; what takes long beside the rest, so that the memtable stays small."""
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
                            self._building.add(span)
                        beside = Thread(target=self._guarded, args=(partial(self._build, span),), daemon=True)
                        beside.start()
                    elif span is not None:
                        self._build(span)
                    elif is_busy:
                        self._stopping.wait(LOOK_SECONDS)
                    else:
                        return
            finally:
                if beside is not None:
                    beside.join()

    def _check(self) -> None:
        if self._stopping.is_set():
            raise _Stopped
