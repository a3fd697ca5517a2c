"""The approximate kinds, through FAISS: building one, asking one for candidates, and how wide to look for a recall.

Candidates are places (row numbers) of one segment and no answers: who asked compares them again with the stored rows.
FAISS splits work over OpenMP threads as the calling thread says; it is told each time: one for a few queries (requests
run side by side already), every core for many and for building. Its switches for matrix products are left alone.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import log
from pathlib import Path
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from .exact import Best, Block, Floats, Ids
from .packing import unit_length

faiss: Any = untyped_faiss  # its stubs know neither its factories nor keyword parameters

DEPTHS = (10, 100, 1000)  # neighbours for which recall is measured
PROBES = 256  # queries that are made of a segment's vectors, and ask for their neighbours
MOVED = 1.0  # of the difference of two neighbours: somewhat farther from a row than they are
DEEP_PROBES = 64  # those of them that ask for as many as the last of DEPTHS
WIDTHS = {"ivf": (2, 4, 8, 16, 32, 64, 128, 256, 512), "hnsw": (24, 32, 48, 64, 128, 256, 512, 1024)}
SPARES = (1, 2, 8)  # times the usual number of candidates
LIST_MICROSECONDS = 7.0  # to begin with a list
CODE_MICROSECONDS = 0.01  # to compare with a code of a list
LINK_MICROSECONDS = 0.2  # with one of a graph
ROW_MICROSECONDS = 0.15  # with a stored row
GOOD_ENOUGH = 0.9995  # recall at the deepest depth beyond which no wider search is measured
HNSW_LINKS = 16
HNSW_BUILD_WIDTH = 100
TRAINING_ROWS_A_LIST = 25
MOST_LISTS = 4096
MANY_QUERIES = 8
LARGEST = 10.0  # number of a vector, in those that it has on average
WHOLE_NUMBERS = faiss.ScalarQuantizer.QT_8bit_direct_signed  # compared four times as quickly as QT_8bit

Rows = Callable[[], Iterable[Block]]  # starts a pass over (rows (B, D), places (B,)) of a segment


@dataclass(frozen=True)
class Level:
    """How wide to search and how many times the usual candidates to take, and the recall measured at each of DEPTHS.

    cost: of a query, in microseconds, about; it orders the levels.
    """

    width: int
    spare: int
    cost: float
    recalls: tuple[float, ...]

    def recall_at(self, depth: float) -> float:
        """The recall for so many neighbours, between the depths measured by their logarithm; 0 beyond the last."""
        if depth <= DEPTHS[0]:
            return self.recalls[0]
        for i in range(1, len(DEPTHS)):
            if depth <= DEPTHS[i]:
                way = log(depth / DEPTHS[i - 1]) / log(DEPTHS[i] / DEPTHS[i - 1])
                return self.recalls[i - 1] + way * (self.recalls[i] - self.recalls[i - 1])
        return 0.0


def cheapest(levels: Iterable[Level], depth: float, min_recall: float) -> Level | None:
    """levels by cost -> the first that holds min_recall for so many neighbours; None: only an exact search does."""
    return next((level for level in levels if level.recall_at(depth) >= min_recall), None)


def candidates_for(kind: str, k: int, spare: int = 1) -> int:
    """How many candidates are compared again for k answers: one bit a number ranks more coarsely than eight."""
    return spare * (max(40, min(4 * k, 2 * k + 300)) if kind == "ivf" else max(20, 2 * k))


def build(kind: str, count: int, dim: int, sample: Floats, rows: Rows, stop: Callable[[], None]) -> Any:
    """A FAISS index of `count` rows, added block by block; sample (S, D) of them teaches an ivf its lists.

    stop is called between blocks, and raises when the work is to end.
    """
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(dim, WHOLE_NUMBERS, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_BUILD_WIDTH
    else:
        # Centres are compared one by one: found through a graph (IVF…_HNSW16), recall stayed below 0.75 at depth 1,000.
        index = faiss.index_factory(dim, f"IVF{lists_for(count)},RaBitQfs", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 8
        index.cp.max_points_per_centroid = TRAINING_ROWS_A_LIST
        index.cp.min_points_per_centroid = 1  # no warnings: the sample is meant to be small
        index.train(sample)
        centres = whole(index.quantizer.reconstruct_n(0, index.nlist))
        index.quantizer.reset()
        index.quantizer.add(centres)
    for block, _ in rows():
        stop()
        index.add(whole(block))
    if kind == "ivf":  # many rows are quickest compared with centres by a matrix product, one query with small ones
        small = faiss.IndexScalarQuantizer(dim, WHOLE_NUMBERS, faiss.METRIC_INNER_PRODUCT)
        small.add(centres)
        flat = index.quantizer
        index.quantizer = small
        small.thisown, flat.thisown = False, True  # the index owns the one it has
    return index


def whole(vectors: Floats) -> Floats:
    """Vectors (N, D) of unit length -> float32 of whole numbers from -127 to 127, which fit a byte as they are.

    All by one factor, so that cosines keep their order. A number so large that it does not fit is rare beyond a few
    dimensions, and is cut.
    """
    return np.asarray(np.clip(np.rint(vectors * _scale(vectors.shape[1])), -127, 127), np.float32)


@lru_cache(16)
def _scale(dim: int) -> np.float32:
    return np.float32(127 / min(1.0, LARGEST / dim**0.5))


def lists_for(count: int) -> int:
    """A power of two near four times the square root."""
    return min(MOST_LISTS, int(2 ** max(4, round(np.log2(4 * max(count, 1) ** 0.5)))))


def sample_rows(kind: str, count: int) -> int:
    """How many rows build() wants as its sample."""
    return min(count, TRAINING_ROWS_A_LIST * lists_for(count) if kind == "ivf" else 10_000)


def true_places(queries: Floats, rows: Rows) -> Ids:
    """queries (Q, D) -> places (Q, T) of their nearest rows, nearest first; -1: there are no more."""
    best = Best(len(queries), DEPTHS[-1])
    for block, at in rows():
        best.add(queries @ block.T, at)
    return best.result()[1]


def made_probes(held: Floats, others: Floats) -> Floats:
    """Rows (P, D) and two neighbours of each, (P, 2, D) -> (P, D) of unit length: queries that are like rows, and none.

    A row moved by the difference of two of its neighbours. Rows themselves would find too much: a graph links each with
    just the rows it asks for.
    """
    return unit_length(held + MOVED * (others[:, 0] - others[:, 1]))


def measured(index: Any, kind: str, probes: Floats, true: Ids, stop: Callable[[], None]) -> list[Level]:
    """Levels by cost. probes (P, D), no rows of the index, ask for their nearest, true (P, T)."""
    levels = []
    for width in WIDTHS[kind]:
        recalls = []
        for depth in DEPTHS:
            stop()
            asked = slice(DEEP_PROBES if depth == DEPTHS[-1] else PROBES)
            recalls.append(_recalls(index, kind, probes[asked], true[asked, :depth], width))
        for spare, at_depths in zip(SPARES, np.array(recalls).T.tolist(), strict=True):
            levels.append(Level(width, spare, cost(index, kind, width, spare), tuple(at_depths)))
        if min(recalls[0]) >= GOOD_ENOUGH * lower_bound(np.ones(len(probes[:PROBES]))) or width >= getattr(
            index, "nlist", width + 1
        ):
            break
    return sorted(levels, key=lambda level: level.cost)


def lower_bound(shares: NDArray[np.float64]) -> float:
    """shares (P,) that some queries found -> what others may be expected to find at least, more likely than not.

    One standard error below the mean, and as if half a query more had found nothing: a few queries that found
    everything do not promise that all will.
    """
    count = len(shares)
    return float(max(0.0, shares.mean() * count / (count + 0.5) - shares.std() / count**0.5))


def cost(index: Any, kind: str, width: int, spare: int) -> float:
    """Microseconds of a query, about."""
    if kind == "ivf":
        looked_at = index.ntotal * min(1.0, width / index.nlist) * CODE_MICROSECONDS + width * LIST_MICROSECONDS
    else:
        looked_at = max(width, candidates_for(kind, DEPTHS[0], spare)) * HNSW_LINKS * LINK_MICROSECONDS
    return float(looked_at + candidates_for(kind, DEPTHS[0], spare) * ROW_MICROSECONDS)


def _recalls(index: Any, kind: str, probes: Floats, true: Ids, width: int) -> list[float]:
    """The share of `true` (P, depth) among the candidates, which is what comparing again leaves, for each of SPARES."""
    depth = true.shape[1]
    bounds = []
    for spare in SPARES:  # each asked by itself: a graph finds more the more it is asked for
        found = candidates(index, kind, probes, candidates_for(kind, depth, spare), width)
        hits = [np.isin(wanted[wanted >= 0], got) for wanted, got in zip(true, found, strict=True)]
        bounds.append(lower_bound(np.array([hit.mean() if len(hit) else 1.0 for hit in hits])))
    return bounds


def candidates(index: Any, kind: str, query: Floats, count: int, width: int) -> Ids:
    """query (Q, D) -> places (Q, count), nearest first as far as the codes tell; -1: none left."""
    faiss.omp_set_num_threads(_threads(query))
    wide = max(width, count) if kind == "hnsw" else min(width, index.nlist)
    params = _parameters(kind, wide, None)
    return np.asarray(index.search(whole(query), min(count, index.ntotal), params=params)[1], np.int64)


def refining(index: Any, rows: Any) -> Any:
    """What refined() asks: candidates by the index, compared by FAISS with the rows (RowFile.mapped)."""
    both = faiss.IndexRefine(index, rows)
    both.own_fields = both.own_refine_index = False
    return both


def refined(
    both: Any, kind: str, query: Floats, k: int, count: int, width: int, allowed: NDArray[np.bool_] | None
) -> tuple[Floats, Ids]:
    """query (Q, D) -> products with the stored rows (Q, k), places (Q, k), -1: none left, of the best of `count`."""
    faiss.omp_set_num_threads(_threads(query))
    wide = max(width, count) if kind == "hnsw" else width
    if allowed is None:
        params = _kept_parameters(kind, wide, count / k)
    else:
        bits = np.packbits(allowed, bitorder="little")
        params = _refining_parameters(kind, wide, count / k, faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)))
    scale = _scale(query.shape[1])
    products, places = both.search(np.maximum(np.minimum(query * scale, 127), -127), k, params=params)
    products /= scale
    return products, places


def _threads(query: Floats) -> int:
    return 1 if len(query) < MANY_QUERIES else os.cpu_count() or 1


@lru_cache(256)
def _kept_parameters(kind: str, width: int, factor: float) -> Any:
    return _refining_parameters(kind, width, factor, None)


def _refining_parameters(kind: str, width: int, factor: float, selector: Any) -> Any:
    return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=_parameters(kind, width, selector))


def _parameters(kind: str, width: int, selector: Any) -> Any:
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=width, sel=selector)
    params = faiss.IVFRaBitQSearchParameters(nprobe=width, sel=selector)
    params.qb = 8
    return params


def nearest_lists(index: Any, query: Floats, count: int) -> Ids:
    """query (1, D) -> numbers (count,) of the lists of an ivf whose centres are nearest, nearest first."""
    faiss.omp_set_num_threads(1)
    return np.asarray(index.quantizer.search(whole(query), count)[1][0], np.int64)


def lists_of(index: Any) -> NDArray[np.uint16]:
    """(N,): the list of an ivf that each of its rows is in."""
    lists = np.zeros(index.ntotal, np.uint16)
    for number in range(index.nlist):
        if size := index.invlists.list_size(number):
            lists[faiss.rev_swig_ptr(index.invlists.get_ids(number), size)] = number
    return lists


def write(index: Any, path: Path) -> None:
    """Raises OSError when the disk refuses."""
    path.write_bytes(faiss.serialize_index(index).tobytes())


def read(path: Path) -> Any:
    """The index of a file whose checksum is right. Raises ValueError when this FAISS cannot read it."""
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise ValueError(f"this FAISS cannot read it ({str(error)[-80:]})") from error
