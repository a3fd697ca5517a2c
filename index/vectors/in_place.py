"""Few queries compared with every fp16 row where it lies, by FAISS: exact, and without a copy. Knows row numbers only.

FAISS ranks by product with the stored row, and an answer is ranked by cosine, which differs by the factor (rows.py):
more are taken than asked for, and they count only when no row that was left out can belong to the answer.
"""

from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from .exact import Floats, Ids

faiss: Any = untyped_faiss  # its stubs know neither its views nor keyword parameters

MANY_QUERIES = 6  # from which a matrix product is quicker
SPARE, SPARE_SHARE = 24, 0.25  # rows taken beyond those asked for: so many, and that share of them
IN_PLACE_SHARE = 0.25  # of the rows, up to which FAISS keeps the best of them quickly
ROUNDING = 2e-6  # of a product of unit vectors in float32


class Only:
    """Which rows may be answered, as FAISS wants to be told: made of a mask (N,) bool."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.count = int(np.count_nonzero(mask))
        self._rows = len(mask)
        self._bits = np.packbits(mask, bitorder="little")
        self.selector = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(N,), anew."""
        return np.unpackbits(self._bits, count=self._rows, bitorder="little").view(np.bool_)

    @property
    def nbytes(self) -> int:
        return int(self._bits.nbytes)


def extremes_of(factors: Floats) -> tuple[np.float32, np.float32]:
    """The least and the greatest of at least one."""
    return factors.min(), factors.max()


def best_in_place(
    rows: Any, factors: Floats, extremes: tuple[np.float32, np.float32], query: Floats, k: int, only: Only | None
) -> tuple[Floats, Ids] | None:
    """query (Q, D) -> cosines (Q, W) and places (Q, W), in any order, among which the k best of all rows are.

    rows: a FAISS index of N rows with factors (N,), k of which may be answered. None: too many are as good as equal
    for that to be sure.
    """
    count = rows.ntotal if only is None else only.count
    wanted = min(k + SPARE + int(SPARE_SHARE * k), count)
    faiss.omp_set_num_threads(1)
    params = None if only is None else faiss.SearchParameters(sel=only.selector)
    products, places = rows.search(query, wanted, params=params)
    cosines = products * factors[places]
    if wanted < count:
        last = products[:, -1]  # none of those left out has a greater one
        most = np.maximum(last * extremes[0], last * extremes[1]) + ROUNDING
        if (np.partition(cosines, wanted - k, axis=1)[:, wanted - k] <= most).any():
            return None
    return cosines, places
