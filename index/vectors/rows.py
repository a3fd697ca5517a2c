"""A file of vectors, one after another: read in pieces, or mapped and compared where it lies. Knows row numbers only.

The file is a FAISS index of fp16 (a head of some hundred bytes, then the rows as the catalog has them), so that FAISS
maps it and compares its rows without copying them. What is mapped is the page cache's: it counts as this process's
memory once it was looked at, and the system takes it back when memory is short.
"""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from ..catalog.packing import halves, row_lengths, unpack_rows
from .exact import Block, Floats, Ids
from .in_place import best_in_place, extremes_of
from .memory import forget_pages

faiss: Any = untyped_faiss  # its stubs know neither its factories nor keyword parameters

CHUNK_ROWS = 10_000
KEPT_ROWS = 1280  # copied to be compared, whose memory a thread keeps
DENSE = 16  # of so many rows at least one is wanted: then the whole file is read in large pieces


_KEPT = threading.local()


class RowFile:
    """(N, D) fp16 little-endian; the file stays open, also when its name is gone.

    factors  (N,) float32: by which a product with the stored row is a cosine, since rounding changed its length
    """

    def __init__(self, path: Path, count: int, dim: int, factors: Floats) -> None:
        self._path, self._file = path, os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._head = os.fstat(self._file).st_size - 2 * dim * count
        self.count, self.dim, self.factors = count, dim, factors

    @cached_property
    def mapped(self) -> Any:
        """The rows as a FAISS index, for products. Raises RuntimeError when the file is none."""
        return faiss.read_index(str(self._path), faiss.IO_FLAG_MMAP_IFC)

    @cached_property
    def extremes(self) -> tuple[np.float32, np.float32]:
        """The least and the greatest of the factors."""
        return extremes_of(self.factors)

    @cached_property
    def mapped_bytes(self) -> NDArray[np.uint8]:
        """(N, 2 D)."""
        size = 2 * self.dim
        raw = faiss.rev_swig_ptr(self.mapped.codes.data(), size * self.count)
        return np.asarray(raw).reshape(self.count, size)

    def forget(self) -> None:
        """What was looked at of the mapped rows counts as this process's memory no longer."""
        forget_pages(self.mapped_bytes.reshape(-1))

    def at(self, places: Ids) -> Floats:
        """places (P,) ascending -> rows (P, D) float32 unit length."""
        size = 2 * self.dim
        if DENSE * len(places) < self.count:
            return unpack_rows(b"".join([self._read(place, 1) for place in places.tolist()]), self.dim)
        picked = []
        for start in range(0, self.count, CHUNK_ROWS):
            here = places[slice(*np.searchsorted(places, (start, start + CHUNK_ROWS)))]
            raw = self._read(start, min(CHUNK_ROWS, self.count - start))
            picked.append(np.frombuffer(raw, np.uint8).reshape(-1, size)[here - start])
        return unpack_rows(b"".join(part.tobytes() for part in picked), self.dim)

    def blocks(self, rows_a_block: int) -> Iterator[Block]:
        """All rows with their places."""
        for start in range(0, self.count, rows_a_block):
            end = min(start + rows_a_block, self.count)
            yield unpack_rows(self._read(start, end - start), self.dim), np.arange(start, end)

    def best(self, query: Floats, k: int, places: Ids) -> tuple[Floats, Ids]:
        """query (1, D) -> cosines (1, k) and places (1, k) of the best among `places` (P,), k <= P; in no order.

        The best by product with the stored rows: where cosines are nearly equal, another may be as good.
        """
        faiss.omp_set_num_threads(1)
        few = self._some(places)
        products, found = np.empty((1, k), np.float32), np.empty((1, k), np.int64)
        few.search_c(1, faiss.swig_ptr(query), k, faiss.swig_ptr(products), faiss.swig_ptr(found))
        best = places[found]
        return products * self.factors[best], best

    def exactly(self, query: Floats, k: int, places: Ids) -> tuple[Floats, Ids] | None:
        """query (Q, D) -> as best_in_place, among places (P,), k <= P."""
        factors = self.factors[places]
        found = best_in_place(self._some(places), factors, extremes_of(factors), query, k, None)
        return None if found is None else (found[0], places[found[1]])

    def _some(self, places: Ids) -> Any:
        """An index of these rows. Each thread keeps a small one: to get new memory takes longer than to copy."""
        few = getattr(_KEPT, "index", None)
        if few is None or few.d != self.dim or len(places) > KEPT_ROWS:
            few = _empty(self.dim)
        if len(places) <= KEPT_ROWS:
            _KEPT.index = few
        size = 2 * self.dim
        few.codes.resize(size * len(places))
        copies = np.asarray(faiss.rev_swig_ptr(few.codes.data(), size * len(places))).reshape(len(places), size)
        np.take(self.mapped_bytes, places, axis=0, out=copies, mode="clip")
        few.ntotal = len(places)
        return few

    def _read(self, place: int, rows: int) -> bytes:
        size = 2 * self.dim
        return os.pread(self._file, size * rows, self._head + size * place)


def write_rows(path: Path, dim: int, pieces: Iterable[bytes]) -> Floats:
    """Writes the rows, D little-endian fp16 each, and gives their factors (N,). Raises OSError."""
    factors = [np.empty(0, np.float32)]
    with open(path, "wb") as file:
        file.write(_head(dim, 0))
        for raw in pieces:
            file.write(raw)
            factors.append(np.reciprocal(row_lengths(halves(raw).reshape(-1, dim))))
        file.seek(0)
        file.write(_head(dim, sum(map(len, factors))))
    return np.concatenate(factors)


def write_reordered(path: Path, file: RowFile, order: Ids) -> None:
    """Writes the rows of another file so that row i is the one that was order[i]. Raises OSError."""
    raw = file.mapped_bytes
    with open(path, "wb") as out:
        out.write(_head(raw.shape[1] // 2, len(order)))
        for start in range(0, len(order), CHUNK_ROWS):
            out.write(raw[order[start : start + CHUNK_ROWS]].tobytes())


def _head(dim: int, count: int) -> bytes:
    """What FAISS writes before that many rows: it ends with the number of bytes that follow."""
    index = _empty(dim)
    index.ntotal = count
    head: bytes = faiss.serialize_index(index).tobytes()
    return head[:-8] + (2 * dim * count).to_bytes(8, "little")


def _empty(dim: int) -> Any:
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
