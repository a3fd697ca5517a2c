"""FAISS used plainly: one index of fp16 rows in lists with their ids, its file, its search, and how wide to search it.

Every index is an IndexIVFScalarQuantizer by inner product, which is the cosine for unit vectors. A small one has one
list, so that all its rows are compared. Rows are kept as they are given (no residuals): fp16 stays the very fp16.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from ..catalog import unit_length
from .topk import Floats, Found

faiss: Any = untyped_faiss  # its stubs know neither its parameters' keywords nor its file objects

FLAT_ROWS = 100_000  # up to here all rows are compared: some milliseconds, and nothing to be trained
LEAST_ROWS = 1_000  # lists of fewer rows are not worth having, whatever kind is asked for
MOST_LISTS = 4096
LEAST_LIST_ROWS = 128  # on average
TRAINING_ROWS_A_LIST = 25
TRAINING_PASSES = 8
MANY_QUERIES = 8  # from which they are shared out among all cores
PROBES = 256  # queries that the width is chosen with
NEIGHBOURS = 10
DEPTHS = (10, 100)  # of the nearest, for which the recall is measured
PIECE_BYTES = 2**22  # written at once


def lists_for(rows: int, kind: str) -> int:
    """How many lists an index of so many rows has: one, or a power of two near four times the square root."""
    if kind == "exact" or rows < LEAST_ROWS or (kind == "auto" and rows <= FLAT_ROWS):
        return 1
    wanted = min(4 * rows**0.5, rows / LEAST_LIST_ROWS)
    return min(MOST_LISTS, int(2 ** max(1, round(np.log2(wanted)))))


def sample_rows(lists: int) -> int:
    """How many rows are wanted to learn so many lists from."""
    return max(TRAINING_ROWS_A_LIST * lists, PROBES) if lists > 1 else 0


def empty_index(dim: int, lists: int, sample: Floats) -> Any:
    """An index without rows. sample (S, D) float32: what its lists are to be learned from, where there are several."""
    use_threads(MANY_QUERIES)
    quantizer = faiss.IndexFlatIP(dim)
    half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFScalarQuantizer(quantizer, dim, lists, half, product, False)
    if lists == 1:
        quantizer.add(np.zeros((1, dim), np.float32))
        index.is_trained = True
        return index
    index.cp.niter = TRAINING_PASSES
    index.cp.max_points_per_centroid = TRAINING_ROWS_A_LIST
    index.cp.min_points_per_centroid = 1  # no warnings: the sample is meant to be small
    index.train(sample)
    return index


def search(index: Any, query: Floats, k: int, width: int, selector: Any = None) -> Found:
    """query (Q, D) float32 -> products (Q, k), best first, and ids (Q, k); -1, last: none left in those lists.

    width: lists searched, of each query the nearest. selector: a FAISS IDSelector of the ids that may be answered.
    """
    use_threads(len(query))
    params = faiss.SearchParametersIVF(nprobe=width, sel=selector)
    scores, ids = index.search(query, k, params=params)
    return scores, ids


def use_threads(queries: int) -> None:
    """Tells FAISS how many threads the next call of this thread may take: one for few, as requests run side by side."""
    faiss.omp_set_num_threads(1 if queries < MANY_QUERIES else os.cpu_count() or 1)


def chosen_width(index: Any, held: Floats, min_recall: float, stop: Callable[[], None]) -> tuple[int, float]:
    """The narrowest width, doubling, that finds min_recall of the nearest -> it, and its recall of the ten nearest.

    held (P, D): some rows of the index. The queries are made of them and are no rows of it: each row moved by the
    difference of two of its neighbours. stop is called between searches, and raises when the work is to end.
    """
    everything = faiss.SearchParametersIVF(nprobe=index.nlist)
    _, _, near = index.search_and_reconstruct(held, NEIGHBOURS + 1, params=everything)
    pair = np.random.default_rng(1).permuted(np.tile(np.arange(1, NEIGHBOURS + 1), (len(held), 1)), axis=1)[:, :2]
    near = np.take_along_axis(near, pair[:, :, None], axis=1)
    query = unit_length(held + near[:, 0] - near[:, 1])
    stop()
    true = search(index, query, DEPTHS[-1], index.nlist)[1]
    width = 1
    while width < index.nlist:
        stop()
        found = search(index, query, DEPTHS[-1], width)[1]
        recalls = [_recall(true[:, :depth], found[:, :depth]) for depth in DEPTHS]
        if min(recalls) >= min_recall:
            return width, recalls[0]
        width *= 2
    return index.nlist, 1.0


def _recall(true: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """true, found (P, k) -> the share of the true ones that other queries may be expected to find at least.

    One standard error below the mean, and as if half a query more had found nothing: a few queries that found
    everything do not promise that all will.
    """
    shares = np.array([np.isin(wanted, got).mean() for wanted, got in zip(true, found, strict=True)])
    count = len(shares)
    return float(max(0.0, shares.mean() * count / (count + 0.5) - shares.std() / count**0.5))


def write(index: Any, path: Path) -> tuple[int, int]:
    """Writes the index to a new file -> its size in bytes and its CRC-32. Raises OSError when the disk refuses."""
    crc, refused = 0, list[OSError]()
    with open(path, "wb") as file:

        def put(piece: bytes) -> None:
            nonlocal crc
            crc = zlib.crc32(piece, crc)
            try:
                file.write(piece)
            except OSError as error:
                refused.append(error)
                raise

        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(put, PIECE_BYTES))
        except Exception:
            if refused:  # what FAISS makes of an error of ours is another one
                raise refused[0] from None
            raise
        file.flush()
        return file.tell(), crc


def read(path: Path) -> Any:
    """The index of a file, mapped: its rows stay on disk, in the system's page cache. Raises ValueError if it is none.

    https://github.com/facebookresearch/faiss/blob/main/faiss/index_io.h describes IO_FLAG_MMAP_IFC.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ValueError(f"this FAISS cannot read it ({str(error)[-80:]})") from error
    if not isinstance(index, faiss.IndexIVFScalarQuantizer):
        raise ValueError(f"it holds a {type(index).__name__}")
    return index


def rows_by_list(index: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
    """Of each list that holds any: ids (n,) and rows (n, D) fp16, where they lie in the index."""
    lists = index.invlists
    for number in range(index.nlist):
        if size := lists.list_size(number):
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            raw = faiss.rev_swig_ptr(lists.get_codes(number), 2 * index.d * size)
            yield ids, raw.view("<f2").reshape(size, index.d)


def checksum(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32 of a file, as write() tells them."""
    crc = size = 0
    with open(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
    return size, crc
