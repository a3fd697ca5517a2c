"""The approximate kinds, through FAISS: building one, asking one for candidates, and how wide to look for a recall.

Candidates are places (row numbers) of one segment and no answers: who asked compares them again with the stored rows.
FAISS splits work over OpenMP threads as the calling thread says; it is told each time: one for a few queries (requests
run side by side already), every core for many and for building. Its switches for matrix products are left alone.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from .exact import Best, Block, Floats, Ids

faiss: Any = untyped_faiss  # its stubs know neither its factories nor keyword parameters

DEPTHS = (10, 100, 1000)  # neighbours for which recall is measured
PROBES = 64  # vectors of a segment that ask for their neighbours
WIDTHS = {"ivf": (4, 8, 16, 32, 64, 128, 256, 512), "hnsw": (32, 64, 128, 256, 512, 1024)}
SPARES = (1, 2, 8)  # times the usual number of candidates
CODES_A_ROW = 50  # codes that are scanned in the time it takes to read and compare one stored row
GOOD_ENOUGH = 0.9995  # recall at the deepest depth beyond which no wider search is measured
HNSW_LINKS = 16
HNSW_BUILD_WIDTH = 100
TRAINING_ROWS_A_LIST = 25
MOST_LISTS = 4096
MANY_QUERIES = 8

Rows = Callable[[], Iterable[Block]]  # starts a pass over (rows (B, D), places (B,)) of a segment


@dataclass(frozen=True)
class Level:
    """How wide to search and how many times the usual candidates to take, and the recall measured at each of DEPTHS.

    cost: of a query, in stored rows read, about; it orders the levels.
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
        index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_BUILD_WIDTH
    else:
        # Centres are compared one by one: found through a graph (IVF…_HNSW16), recall stayed below 0.75 at depth 1,000.
        index = faiss.index_factory(dim, f"IVF{lists_for(count)},RaBitQfs", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter = 8
        index.cp.max_points_per_centroid = TRAINING_ROWS_A_LIST
        index.cp.min_points_per_centroid = 1  # no warnings: the sample is meant to be small
    index.train(sample)
    for block, _ in rows():
        stop()
        index.add(np.ascontiguousarray(block))
    return index


def lists_for(count: int) -> int:
    """A power of two near four times the square root."""
    return min(MOST_LISTS, int(2 ** max(4, round(np.log2(4 * max(count, 1) ** 0.5)))))


def sample_rows(kind: str, count: int) -> int:
    """How many rows build() wants as its sample."""
    return min(count, TRAINING_ROWS_A_LIST * lists_for(count) if kind == "ivf" else 10_000)


def measured(index: Any, kind: str, probes: Floats, places: Ids, rows: Rows) -> list[Level]:
    """Levels by cost. probes (P, D): rows of the index, at places (P,), each asked without itself."""
    best = Best(len(probes), DEPTHS[-1] + 1)
    for block, at in rows():
        best.add(probes @ block.T, at)
    true = np.array([row[row != place][: DEPTHS[-1]] for row, place in zip(best.result()[1], places, strict=True)])
    levels = []
    for width in WIDTHS[kind]:
        recalls = np.array([_recalls(index, kind, probes, true[:, :depth], width) for depth in DEPTHS])
        for spare, at_depths in zip(SPARES, recalls.T.tolist(), strict=True):
            cost = _scanned(index, kind, width) / CODES_A_ROW + candidates_for(kind, DEPTHS[0], spare)
            levels.append(Level(width, spare, cost, tuple(at_depths)))
        if recalls[:, 0].min() >= GOOD_ENOUGH or width >= getattr(index, "nlist", width + 1):
            break
    return sorted(levels, key=lambda level: level.cost)


def _scanned(index: Any, kind: str, width: int) -> float:
    """How many codes a query looks at, about."""
    if kind == "ivf":
        return float(index.ntotal * min(1.0, width / index.nlist))
    return float(width * HNSW_LINKS)


def _recalls(index: Any, kind: str, probes: Floats, true: Ids, width: int) -> list[float]:
    """The share of `true` (P, depth) among the candidates, which is what comparing again leaves, for each of SPARES."""
    depth = true.shape[1] + 1  # a probe finds itself, too
    found = candidates(index, kind, probes, candidates_for(kind, depth, SPARES[-1]), width)
    shares = []
    for spare in SPARES:
        taken = found[:, : candidates_for(kind, depth, spare)]
        hits = [np.isin(wanted[wanted >= 0], got) for wanted, got in zip(true, taken, strict=True)]
        shares.append(float(np.concatenate(hits).mean()) if (true >= 0).any() else 1.0)
    return shares


def candidates(
    index: Any, kind: str, query: Floats, count: int, width: int, allowed: NDArray[np.bool_] | None = None
) -> Ids:
    """query (Q, D) -> places (Q, count), nearest first as far as the codes tell; -1: none left. allowed (N,)."""
    faiss.omp_set_num_threads(1 if len(query) < MANY_QUERIES else os.cpu_count() or 1)
    selector = None
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    if kind == "hnsw":
        params = faiss.SearchParametersHNSW(efSearch=max(width, count), sel=selector)
    else:
        params = faiss.IVFRaBitQSearchParameters(nprobe=min(width, index.nlist), sel=selector)
        params.qb = 8
    return np.asarray(index.search(query, min(count, index.ntotal), params=params)[1], np.int64)


def write(index: Any, path: Path) -> None:
    """Raises OSError when the disk refuses."""
    path.write_bytes(faiss.serialize_index(index).tobytes())


def read(path: Path) -> Any:
    """The index of a file whose checksum is right. Raises ValueError when this FAISS cannot read it."""
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise ValueError(f"this FAISS cannot read it ({str(error)[-80:]})") from error
