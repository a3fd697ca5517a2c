"""Vectors of one segment on a graphics card, through FAISS: which card, how they lie on it, what a search finds there.

Found are places (row numbers) and no answers: who asked compares those again with the stored rows. Knows no queue; an
index on a card belongs to one thread (card.py). Never ran on a card so far: docs/index.md tells what did run.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import faiss as untyped_faiss
import numpy as np

from ...errors import InvalidRequest
from . import ann
from .exact import Floats, Ids

faiss: Any = untyped_faiss  # its stubs know neither its factories nor keyword parameters

CardKind = Literal["flat", "ivf", "cagra"]

DEVICE = re.compile(r"cpu|auto|cuda(?::(\d+))?")
WIDTHS: dict[CardKind, tuple[int, ...]] = {
    "flat": (0,),
    "ivf": (2, 4, 8, 16, 32, 64, 128, 256, 512),  # lists probed
    "cagra": (64, 128, 256, 512),  # paths kept
}
MOST_CANDIDATES = 2048  # that FAISS selects on a card (faiss/gpu/impl/IndexUtils.cpp)
SCRATCH_BYTES = 2**28  # that FAISS keeps on the card to work with
GRAPH_DEGREE = 64  # of a CAGRA graph; while it is built, twice as many beside it


@dataclass
class Vectors:
    """Rows of one segment on a card, as a FAISS index. Only the queue's thread touches it.

    gathered: rows that wait for the last one, since a graph is built of all at once.
    """

    kind: CardKind
    index: Any
    gathered: list[Any] = field(default_factory=list)

    def add(self, rows: Floats) -> None:
        if self.kind == "cagra":
            self.gathered.append(rows.astype(np.float16))
        else:
            self.index.add(rows)

    def finish(self) -> None:
        """After the last add."""
        if self.kind == "cagra":
            self.index.train(np.concatenate(self.gathered), numeric_type=faiss.Float16)
            self.gathered.clear()
        elif hasattr(self.index, "reclaimMemory"):  # of an ivf on a card: what its lists grew too far
            self.index.reclaimMemory()

    def search(self, query: Floats, count: int, width: int) -> Ids:
        """query (Q, D) -> places (Q, count) of rows, nearest first as far as the card tells; -1: none left."""
        if self.kind == "flat":
            return np.asarray(self.index.search(query, count)[1], np.int64)
        if self.kind == "ivf":
            params = faiss.SearchParametersIVF(nprobe=width)
            return np.asarray(self.index.search(query, count, params=params)[1], np.int64)
        params = faiss.SearchParametersCagra()
        params.itopk_size = width
        return np.asarray(self.index.search(query, count, params=params, numeric_type=faiss.Float16)[1], np.int64)


Make = Callable[[int, int], Vectors]  # numbers of a vector, lists of an ivf -> empty Vectors


def find_card(device: str, kind: CardKind) -> int | None:
    """The number of the card that `device` names; None for cpu, and for auto where there is no card.

    Raises InvalidRequest where there is no such card, or FAISS cannot build that kind on it.
    """
    named = DEVICE.fullmatch(device)
    if named is None:
        raise InvalidRequest(f"index_device is {device!r}; expected cpu, auto, cuda or cuda:N.")
    knows_cards = hasattr(faiss, "StandardGpuResources")
    cards = faiss.get_num_gpus() if knows_cards else 0
    if device == "cpu" or (device == "auto" and not cards):
        return None
    number = int(named[1] or 0)
    if number >= cards:
        why = "" if knows_cards else " The faiss-cpu that is installed knows none at all: faiss-gpu would."
        raise InvalidRequest(
            f"index_device is {device!r}, and FAISS finds {cards} graphics cards. Say cpu or auto.{why}"
        )
    if kind == "cagra" and not hasattr(faiss, "GpuIndexCagra"):
        raise InvalidRequest(
            "index_device_kind is 'cagra', which needs faiss-gpu-cuvs in the place of this FAISS. Say flat or ivf."
        )
    return number


def makes(number: int, kind: CardKind) -> Make:
    """How vectors get onto the card of that number; all of them share its scratch memory."""
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH_BYTES)
    return lambda dim, lists: _empty(resources, number, kind, dim, lists)


def _empty(resources: Any, number: int, kind: CardKind, dim: int, lists: int) -> Vectors:
    """Vectors on the card of that number, half floats all of them."""
    if kind == "flat":
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16 = number, True
        return Vectors(kind, faiss.GpuIndexFlatIP(resources, dim, config))
    if kind == "ivf":
        config = faiss.GpuIndexIVFScalarQuantizerConfig()
        config.device = number
        half, product = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        return Vectors(kind, faiss.GpuIndexIVFScalarQuantizer(resources, dim, lists, half, product, False, config))
    config = faiss.GpuIndexCagraConfig()
    config.device, config.graph_degree, config.intermediate_graph_degree = number, GRAPH_DEGREE, 2 * GRAPH_DEGREE
    return Vectors(kind, faiss.GpuIndexCagra(resources, dim, faiss.METRIC_INNER_PRODUCT, config))


def bytes_on_card(kind: CardKind, rows: int, dim: int) -> int:
    """About how much of a card's memory that many vectors take at most, also while they are copied."""
    halves = 2 * dim * rows
    if kind == "flat":
        return halves
    if kind == "ivf":  # lists double when they are full; a row's id takes 8
        return 2 * (halves + 8 * rows) + 4 * dim * ann.lists_for(rows)
    return halves + 4 * 3 * GRAPH_DEGREE * rows


def candidates_for(k: int) -> int:
    """How many are compared with the query again for k answers: halves round, and a query is halves on a card too."""
    return 2 * k + 32


def most_candidates(kind: CardKind, width: int) -> int:
    return min(width, MOST_CANDIDATES) if kind == "cagra" else MOST_CANDIDATES


def measured(vectors: Vectors, queries: Floats, true: Ids, lists: int) -> tuple[ann.Level, ...]:
    """queries (P, D), no rows, and the places of their nearest, true (P, T) -> what each width finds, narrow first."""
    levels = []
    for width in WIDTHS[vectors.kind]:
        if vectors.kind == "ivf" and width > lists:
            break
        recalls = []
        for depth in ann.DEPTHS:
            count = min(candidates_for(depth), most_candidates(vectors.kind, width))
            found = vectors.search(queries, count, width)
            shares = [np.isin(row[:depth], places).mean() for row, places in zip(true, found, strict=True)]
            recalls.append(ann.lower_bound(np.array(shares)))
        levels.append(ann.Level(width, 1, float(width), tuple(recalls)))
        if min(recalls[:2]) >= ann.GOOD_ENOUGH * ann.lower_bound(np.ones(len(queries))):
            break
    return tuple(levels)
