"""The rows of one segment that a filter allows, and what makes searching them quicker when the filter is asked again.

Each allowed row lies on a page of its own in the segment's file, and waiting for those pages is most of what comparing
them takes. So few rows are copied beside one another when they are asked for the second time.
"""

from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from . import ann
from .exact import Floats, Ids
from .in_place import IN_PLACE_SHARE, Only
from .narrow import MOST_SHARE, nearest_by_list
from .rows import RowFile, SomeRows

MOST_COPIED_BYTES = 32 * 2**20
QUICK_BYTES = 4 * 2**20  # of copied rows, up to which all are compared about as quickly as some of them are picked


class Chosen:
    """Some rows of a segment. Any thread may ask it.

    count     how many
    places    (C,) ascending, where they are so few that they are looked at one by one; else None: only `only` tells
    is_known  whether they are not asked for the first time
    """

    def __init__(self, places: Ids, rows: int) -> None:
        """places: in any order, out of so many rows."""
        self.count = len(places)
        self.places = np.sort(places) if self.count * MOST_SHARE <= rows else None
        self._rows = rows
        self._only = Only(self._among(places)) if self.places is None else None
        self._copied: SomeRows | None = None
        self._sizes: Ids | None = None
        self.is_known = False
        self._lock = Lock()

    @property
    def only(self) -> Only:
        """The same rows as FAISS wants to be told."""
        if self._only is None:
            assert self.places is not None
            self._only = Only(self._among(self.places))
        return self._only

    @property
    def nbytes(self) -> int:
        """Of memory."""
        held = (self.places, self._only, self._copied, self._sizes)
        return sum(each.nbytes for each in held if each is not None)

    def among(self, alive: NDArray[np.bool_]) -> "Chosen":
        """Those that are alive, (N,) bool."""
        places = np.flatnonzero(self.only.mask) if self.places is None else self.places
        left = alive[places]
        return self if left.all() else Chosen(places[left], self._rows)

    def is_quick(self, file: RowFile) -> bool:
        """Whether all of them are compared about as quickly as some would be picked."""
        return self.count * 2 * file.dim <= QUICK_BYTES and self._copied_from(file) is not None

    def exactly(self, file: RowFile, query: Floats, k: int) -> tuple[Floats, Ids] | None:
        """query (Q, D) -> cosines and places (Q, W), W >= k, among which the k best are, of few rows in that file.

        None: too many are as good as equal, or asked for, for that to be sure and quick.
        """
        assert self.places is not None
        if k > IN_PLACE_SHARE * self.count or self.count * 2 * file.dim > MOST_COPIED_BYTES:
            return None
        copied = self._copied_from(file)
        if copied is None:
            return file.exactly(query, k, self.places)
        found = copied.exactly(query, k)
        return None if found is None else (found[0], self.places[found[1]])

    def near(
        self, codes: ann.Codes, lists: NDArray[np.uint16], file: RowFile, query: Floats, k: int, enough: int
    ) -> tuple[Floats, Ids]:
        """query (Q, D) -> cosines (Q, k), places (Q, k), in no order, of the best of those in the nearest lists.

        Of few rows, k <= count. codes: of an ivf whose rows are in order; lists (N,): in which one each of them is.
        """
        assert self.places is not None
        if self._sizes is None:
            self._sizes = np.bincount(lists[self.places], minlength=codes.lists)
        copied = self._copied_from(file)
        answers = []
        for one in query[:, None]:
            near = nearest_by_list(codes, self._sizes, one, max(enough, k))
            if copied is None:
                answers.append(file.best(one, k, self.places[near]))
            else:
                cosines, found = copied.best(one, k, near)
                answers.append((cosines, self.places[found]))
        scores, places = zip(*answers, strict=True)
        return np.concatenate(scores), np.concatenate(places)

    def _copied_from(self, file: RowFile) -> SomeRows | None:
        """The rows themselves, once they are known; None where they are too many."""
        if not self.is_known or self.places is None or not 0 < self.count * 2 * file.dim <= MOST_COPIED_BYTES:
            return None
        with self._lock:
            self._copied = self._copied or SomeRows(file, self.places)
            return self._copied

    def _among(self, places: Ids) -> NDArray[np.bool_]:
        """(N,): which rows those are."""
        mask = np.zeros(self._rows, np.bool_)
        mask[places] = True
        return mask


class Known:
    """Which rows of segments were chosen before, by their files; gone with those. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: WeakKeyDictionary[RowFile, tuple[int, Chosen]] = WeakKeyDictionary()

    def get(self, file: RowFile) -> tuple[int, Chosen] | None:
        """What was put for it: how many of its rows were alive, and the chosen ones."""
        with self._lock:
            return self._held.get(file)

    def put(self, file: RowFile, alive: int, chosen: Chosen) -> None:
        with self._lock:
            self._held[file] = alive, chosen

    @property
    def nbytes(self) -> int:
        """Of memory."""
        with self._lock:
            return sum(chosen.nbytes for _, chosen in self._held.values())
