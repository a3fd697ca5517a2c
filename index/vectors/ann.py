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

from ..catalog.packing import unit_length
from .exact import Best, Block, Floats, Ids
from .in_place import Only

faiss: Any = untyped_faiss  # its stubs know neither its factories nor keyword parameters

DEPTHS = (10, 100, 1000)  # neighbours for which recall is measured
PROBES = 256  # queries that are made of a segment's vectors, and ask for their neighbours
MOVED = 1.0  # of the difference of two neighbours: somewhat farther from a row than they are
DEEP_PROBES = 64  # those of them that ask for as many as the last of DEPTHS
WIDTHS = {
    "ivf": (2, 4, 6, 8, 12, 16, 32, 64, 128, 256, 512),
    "hnsw": (24, 32, 40, 48, 64, 80, 96, 128, 256, 512, 1024),
}
SPARES = {"ivf": (1, 2, 8), "hnsw": (1,)}  # times the usual number of candidates: bytes hardly need more
CENTRE_MICROSECONDS = 0.02  # to compare with the centre of a list
LIST_MICROSECONDS = 10.0  # to begin with a list
CODE_MICROSECONDS = 0.01  # to compare with a code of a list
LINK_MICROSECONDS = 0.2  # with one of a graph
ROW_MICROSECONDS = 0.15  # with a stored row
GOOD_ENOUGH = 0.9995  # recall at the deepest depth beyond which no wider search is measured
HNSW_LINKS = 16
HNSW_BUILD_WIDTH = 100
TRAINING_ROWS_A_LIST = 25
MOST_LISTS = 4096
LEAST_LIST_ROWS = 128  # about: to begin with a list costs as much as to scan so many rows
MANY_LISTS = 512
NUMBERS_A_CODE = 4  # of a centre, that four bits stand for
FAVOURED = 4  # times as many centres as lists are wanted
MANY_QUERIES = 8
LARGEST = 10.0  # number of a vector, in those that it has on average
WHOLE_NUMBERS = faiss.ScalarQuantizer.QT_8bit_direct_signed  # compared four times as quickly as QT_8bit

Rows = Callable[[], Iterable[Block]]  # starts a pass over (rows (B, D), places (B,)) of a segment


@dataclass(frozen=True)
class Codes:
    """An approximate index. scale: what a vector is multiplied by before FAISS is asked.

    A graph is an IndexPreTransform, which takes the mean of the rows from what is asked.
    """

    kind: str
    index: Any
    scale: np.float32

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def lists(self) -> int:
        """How many lists an ivf has."""
        return int(self.index.nlist)


@dataclass(frozen=True, eq=False)
class Level:
    """How wide to search and how many times the usual candidates to take, and the recall measured at each of DEPTHS.

    cost: of a query, in microseconds, about; it orders the levels. Two are never compared: hashing them is quick.
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


def build(kind: str, count: int, mean: Floats, sample: Floats, rows: Rows, stop: Callable[[], None]) -> Codes:
    """Codes of `count` rows, added block by block; mean (D,) is theirs; sample (S, D) of them teaches an ivf its lists.

    stop is called between blocks, and raises when the work is to end.
    """
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    return _graph(mean, rows, stop) if kind == "hnsw" else _lists(count, sample, rows, stop)


def _graph(mean: Floats, rows: Rows, stop: Callable[[], None]) -> Codes:
    """By distances, whose order is that of cosines: of near rows they suffer less from rounding than products do.

    What all rows share is taken off, so that the steps of a byte are finer.
    """
    scale = _scale(mean)
    graph = faiss.IndexHNSWSQ(len(mean), WHOLE_NUMBERS, HNSW_LINKS, faiss.METRIC_L2)
    graph.hnsw.efConstruction = HNSW_BUILD_WIDTH
    for block, _ in rows():
        stop()
        graph.add(whole(block - mean, scale))
    centring = faiss.CenteringTransform(len(mean))
    faiss.copy_array_to_vector(mean * scale, centring.mean)
    centring.is_trained = True
    index = faiss.IndexPreTransform(centring, graph)
    index.own_fields, centring.thisown, graph.thisown = True, False, False
    index.metric_type = faiss.METRIC_INNER_PRODUCT  # what refining() compares by; the graph within keeps its own
    return Codes("hnsw", index, scale)


def _lists(count: int, sample: Floats, rows: Rows, stop: Callable[[], None]) -> Codes:
    dim = sample.shape[1]
    scale = _scale(np.zeros(dim, np.float32))
    # Centres are compared one by one: found through a graph (IVF…_HNSW16), recall stayed below 0.75 at depth 1,000.
    index = faiss.index_factory(dim, f"IVF{lists_for(count)},RaBitQfs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = 8
    index.cp.max_points_per_centroid = TRAINING_ROWS_A_LIST
    index.cp.min_points_per_centroid = 1  # no warnings: the sample is meant to be small
    index.train(sample)
    centres = whole(index.quantizer.reconstruct_n(0, index.nlist), scale)
    index.quantizer.reset()
    index.quantizer.add(centres)
    for block, _ in rows():
        stop()
        index.add(whole(block, scale))
    flat, index.quantizer = index.quantizer, _of_centres(centres)  # many rows are quickest compared by a matrix product
    flat.thisown = True
    return Codes("ivf", index, scale)


def _of_centres(centres: Floats) -> Any:
    """What one query is compared with: centres as bytes, and where there are many only those that four bits favour."""
    count, dim = centres.shape
    small = faiss.IndexScalarQuantizer(dim, WHOLE_NUMBERS, faiss.METRIC_INNER_PRODUCT)
    small.add(centres)
    small.thisown = False  # but the ivf's, as all that is returned here
    if dim % NUMBERS_A_CODE or count < MANY_LISTS:
        return small
    rough = faiss.IndexPQFastScan(dim, dim // NUMBERS_A_CODE, 4, faiss.METRIC_INNER_PRODUCT)
    rough.pq.cp.min_points_per_centroid = 1  # no warnings here either
    rough.train(centres)
    rough.add(centres)
    both = faiss.IndexRefine(rough, small)
    both.k_factor = FAVOURED
    both.own_fields = both.own_refine_index = True
    rough.thisown = both.thisown = False
    return both


def whole(vectors: Floats, scale: np.float32) -> Floats:
    """Vectors (N, D) times the scale -> float32 of whole numbers from -127 to 127, which fit a byte as they are.

    All by one factor, so that cosines keep their order. A number so large that it does not fit is rare beyond a few
    dimensions, and is cut.
    """
    return np.asarray(np.clip(np.rint(vectors * scale), -127, 127), np.float32)


def _scale(mean: Floats) -> np.float32:
    """For vectors of unit length with that mean (D,), once it is taken off."""
    usual = (max(1e-4, 1 - float(mean @ mean)) / len(mean)) ** 0.5
    return np.float32(127 / min(1.0, LARGEST * usual))


def lists_for(count: int) -> int:
    """A power of two near four times the square root, fewer where lists would hold less than some hundred rows."""
    wanted = min(4 * max(count, 1) ** 0.5, max(count, 1) / LEAST_LIST_ROWS)
    return min(MOST_LISTS, int(2 ** max(4, round(np.log2(wanted)))))


def sample_rows(kind: str, count: int) -> int:
    """How many rows build() wants as its sample."""
    return min(count, TRAINING_ROWS_A_LIST * lists_for(count)) if kind == "ivf" else 0


def in_order(codes: Codes) -> Ids:
    """Numbers the rows of the codes anew, so that those that one search meets are neighbours; gives the old numbers.

    (N,): row i was the row result[i] before. In an ivf list after list; in a graph those that are met first come first.
    """
    if codes.kind == "ivf":
        order, start = [np.empty(0, np.int64)], 0
        for number, size in enumerate(_list_sizes(codes)):
            if size:
                held = faiss.rev_swig_ptr(codes.index.invlists.get_ids(number), size)
                order.append(held.copy())
                held[:] = np.arange(start, start + size)
                start += size
        return np.concatenate(order)
    graph = faiss.downcast_index(codes.index.index)
    met = _as_met(graph.hnsw, len(codes))
    graph.permute_entries(met)
    return met


def _as_met(hnsw: Any, count: int) -> Ids:
    """(N,): the rows by how many links they are from where a search begins."""
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    begins = faiss.vector_to_array(hnsw.offsets)[:-1].astype(np.int64)
    met, known = [], np.zeros(count, np.bool_)
    unmet = 0  # the first row that may not have been met
    front = np.array([hnsw.entry_point], np.int64)[: min(count, 1)]
    while len(front):
        known[front] = True
        met.append(front)
        linked = links[begins[front][:, None] + np.arange(hnsw.nb_neighbors(0))].ravel()
        linked = linked[linked >= 0]
        linked = linked[~known[linked]].astype(np.int64)
        front = linked[np.sort(np.unique(linked, return_index=True)[1])]
        if not len(front):  # the rest, if any, no link leads to
            while unmet < count and known[unmet]:
                unmet += 1
            front = np.arange(unmet, min(unmet + 1, count))
    return np.concatenate([np.empty(0, np.int64), *met])


def _list_sizes(codes: Codes) -> list[int]:
    return [codes.index.invlists.list_size(number) for number in range(codes.lists)]


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


def measured(codes: Codes, probes: Floats, true: Ids, stop: Callable[[], None]) -> list[Level]:
    """Levels by cost. probes (P, D), no rows of the index, ask for their nearest, true (P, T)."""
    levels = []
    for width in WIDTHS[codes.kind]:
        recalls = []
        for depth in DEPTHS:
            stop()
            asked = slice(DEEP_PROBES if depth == DEPTHS[-1] else PROBES)
            recalls.append(_recalls(codes, probes[asked], true[asked, :depth], width))
        for spare, at_depths in zip(SPARES[codes.kind], np.array(recalls).T.tolist(), strict=True):
            levels.append(Level(width, spare, cost(codes, width, spare), tuple(at_depths)))
        if min(recalls[0]) >= GOOD_ENOUGH * lower_bound(np.ones(len(probes[:PROBES]))) or width >= getattr(
            codes.index, "nlist", width + 1
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


def cost(codes: Codes, width: int, spare: int) -> float:
    """Microseconds of a query, about."""
    wanted = candidates_for(codes.kind, DEPTHS[0], spare)
    if codes.kind == "ivf":
        compared = len(codes) * min(1.0, width / codes.lists)
        looked_at = compared * CODE_MICROSECONDS + width * LIST_MICROSECONDS + codes.lists * CENTRE_MICROSECONDS
    else:
        looked_at = max(width, wanted) * HNSW_LINKS * LINK_MICROSECONDS
    return float(looked_at + wanted * ROW_MICROSECONDS)


def _recalls(codes: Codes, probes: Floats, true: Ids, width: int) -> list[float]:
    """The share of `true` (P, depth) among the candidates, which is what comparing again leaves, for each of SPARES."""
    depth = true.shape[1]
    bounds = []
    for spare in SPARES[codes.kind]:  # each asked by itself: a graph finds more the more it is asked for
        found = candidates(codes, probes, candidates_for(codes.kind, depth, spare), width)
        hits = [np.isin(wanted[wanted >= 0], got) for wanted, got in zip(true, found, strict=True)]
        bounds.append(lower_bound(np.array([hit.mean() if len(hit) else 1.0 for hit in hits])))
    return bounds


def candidates(codes: Codes, query: Floats, count: int, width: int) -> Ids:
    """query (Q, D) -> places (Q, count), nearest first as far as the codes tell; -1: none left."""
    count = min(count, len(codes))
    params = _parameters(codes.kind, max(width, count) if codes.kind == "hnsw" else width, None)
    return _asked(codes.index, query * codes.scale, count, params)[1]


def refining(codes: Codes, rows: Any) -> Any:
    """What refined() asks: candidates by the codes, compared by FAISS with the rows (RowFile.mapped)."""
    both = faiss.IndexRefine(codes.index, rows)
    both.own_fields = both.own_refine_index = False
    return both


def refined(
    both: Any, codes: Codes, query: Floats, k: int, count: int, width: int, only: Only | None = None
) -> tuple[Floats, Ids]:
    """query (Q, D) -> products with the stored rows (Q, k), places (Q, k), of the best of `count`; -1, last: none left.

    only: the rows that may be answered; None: all.
    """
    wide = max(width, count) if codes.kind == "hnsw" else width
    params = _refining_parameters(codes.kind, wide, count / k, only)
    products, places = _asked(both, query * codes.scale, k, params)
    products /= codes.scale
    return products, places


def _asked(index: Any, query: Floats, k: int, params: Any) -> tuple[Floats, Ids]:
    """As index.search, without what its wrapper checks: that takes a tenth of a search."""
    faiss.omp_set_num_threads(1 if len(query) < MANY_QUERIES else os.cpu_count() or 1)
    scores, places = np.empty((len(query), k), np.float32), np.empty((len(query), k), np.int64)
    index.search_c(len(query), faiss.swig_ptr(query), k, faiss.swig_ptr(scores), faiss.swig_ptr(places), params)
    return scores, places


def _refining_parameters(kind: str, width: int, factor: float, only: Only | None) -> Any:
    if only is None:
        return _usual_parameters(kind, width, factor)
    params = _parameters(kind, width, only.selector)
    return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=params)


@lru_cache(256)
def _usual_parameters(kind: str, width: int, factor: float) -> Any:
    return faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=_parameters(kind, width, None))


def _parameters(kind: str, width: int, selector: Any) -> Any:
    if kind == "hnsw":
        return faiss.SearchParametersHNSW(efSearch=width, sel=selector)
    params = faiss.IVFRaBitQSearchParameters(nprobe=width, sel=selector)
    params.qb = 8
    return params


def write(codes: Codes, path: Path) -> None:
    """Raises OSError when the disk refuses."""
    path.write_bytes(faiss.serialize_index(codes.index).tobytes())


def read(path: Path, kind: str, mean: Floats) -> Codes:
    """The codes of a file whose checksum is right. Raises ValueError when this FAISS cannot read it."""
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise ValueError(f"this FAISS cannot read it ({str(error)[-80:]})") from error
    return Codes(kind, index, _scale(mean if kind == "hnsw" else np.zeros_like(mean)))
