"""The rows of one segment that a filter allows, and how they are searched where they are few.

What is made for that, the rows' sketch packed for comparing, is kept for the next search under the same filter.
"""

from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .exact import Floats, Ids
from .in_place import IN_PLACE_SHARE, Only
from .narrow import MOST_SHARE
from .rows import RowFile
from .sketch import Ranking, Sketch

MOST_COPIED_BYTES = 32 * 2**20  # of rows that are compared all together


class Chosen:
    """Some rows of a segment. Any thread may ask it.

    count   how many
    places  (C,) ascending, where they are so few that they are looked at one by one; else None: only `only` tells
    """

    def __init__(self, places: Ids, rows: int) -> None:
        """places: in any order, out of so many rows."""
        self.count = len(places)
        self.places = np.sort(places) if self.count * MOST_SHARE <= rows else None
        self._rows = rows
        self._only = Only(self._among(places)) if self.places is None else None
        self._ranking: Ranking | None = None
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
        return sum(each.nbytes for each in (self.places, self._only, self._ranking) if each is not None)

    def among(self, alive: NDArray[np.bool_]) -> "Chosen":
        """Those that are alive, (N,) bool."""
        places = np.flatnonzero(self.only.mask) if self.places is None else self.places
        left = alive[places]
        return self if left.all() else Chosen(places[left], self._rows)

    def exactly(self, file: RowFile, query: Floats, k: int) -> tuple[Floats, Ids] | None:
        """query (Q, D) -> cosines and places (Q, W), W >= k, among which the k best are, of few rows in that file.

        None: too many are as good as equal, or asked for, for that to be sure and quick.
        """
        assert self.places is not None
        if k > IN_PLACE_SHARE * self.count or self.count * 2 * file.dim > MOST_COPIED_BYTES:
            return None
        return file.exactly(query, k, self.places)

    def nearly(self, sketch: Sketch, file: RowFile, query: Floats, k: int, enough: int) -> tuple[Floats, Ids]:
        """query (Q, D) -> cosines (Q, k), places (Q, k), in no order: the best of `enough` that the sketch ranks first.

        Of few rows, k <= enough and k <= count.
        """
        assert self.places is not None
        with self._lock:
            self._ranking = self._ranking or sketch.of(self.places)
        ranked = self.places[self._ranking.nearest(query, enough)]
        answers = [file.best(one, k, np.sort(places)) for one, places in zip(query[:, None], ranked, strict=True)]
        scores, places = zip(*answers, strict=True)
        return np.concatenate(scores), np.concatenate(places)

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
