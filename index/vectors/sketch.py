"""A sketch of every row of a segment: four bits for some numbers, by which few rows of any choice are ranked quickly.

Made with the segment and mapped from its folder; knows row numbers only. FAISS compares such codes by SIMD, 32 at a
time, once they are packed for that (https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from .exact import Block, Floats, Ids

faiss: Any = untyped_faiss  # its stubs know neither its views nor keyword parameters

NUMBERS = (4, 2, 1)  # that one code stands for: the first that divides the dimension
SAMPLE_ROWS = 10_000
ROUNDS = 8  # of training


class Sketch:
    """The codes of N rows."""

    def __init__(self, index: Any) -> None:
        """index: of FAISS, by product codes of four bits."""
        self._index = index
        size = int(index.code_size)
        self._codes: NDArray[np.uint8] = np.asarray(
            faiss.rev_swig_ptr(index.codes.data(), size * index.ntotal)
        ).reshape(-1, size)

    def of(self, places: Ids) -> "Ranking":
        """places (P,) of at least one row."""
        some = _empty(self._index.d)
        some.pq = self._index.pq
        some.is_trained = True
        some.codes.resize(len(places) * self._codes.shape[1])
        copies = np.asarray(faiss.rev_swig_ptr(some.codes.data(), some.codes.size()))
        np.take(self._codes, places, axis=0, out=copies.reshape(len(places), -1), mode="clip")
        some.ntotal = len(places)
        return Ranking(faiss.IndexPQFastScan(some))


class Ranking:
    """Some rows, packed for comparing."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return int(self._index.codes.size())

    def nearest(self, query: Floats, count: int) -> Ids:
        """query (Q, D) -> (Q, C), C = min(count, P): the rows that are most alike by the sketch, those first."""
        faiss.omp_set_num_threads(1)
        count = min(count, int(self._index.ntotal))
        products, found = np.empty((len(query), count), np.float32), np.empty((len(query), count), np.int64)
        self._index.search_c(
            len(query), faiss.swig_ptr(query), count, faiss.swig_ptr(products), faiss.swig_ptr(found), None
        )
        return found


def write_sketch(path: Path, sample: Floats, rows: Iterable[Block]) -> None:
    """sample (S, D), S >= 16, of the rows teaches the codes. Raises OSError when the disk refuses."""
    index = _empty(sample.shape[1])
    index.pq.cp.niter = ROUNDS
    index.pq.cp.min_points_per_centroid = 1  # no warnings: the sample may be small
    index.train(sample)
    for block, _ in rows:
        index.add(block)
    path.write_bytes(faiss.serialize_index(index).tobytes())


def read_sketch(path: Path) -> Sketch:
    """Raises RuntimeError when FAISS cannot read it."""
    return Sketch(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))


def _empty(dim: int) -> Any:
    numbers = next(each for each in NUMBERS if dim % each == 0)
    return faiss.IndexPQ(dim, dim // numbers, 4, faiss.METRIC_INNER_PRODUCT)
