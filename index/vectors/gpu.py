"""Copies of segments on a graphics card, through FAISS: which card, how they lie on it, and their search.

They are there beside the segments: what the card does not hold, cannot answer or fails at is searched as if there were
no card. Never ran on a card so far: docs/index.md tells what did run.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import faiss as untyped_faiss
import numpy as np

from ...errors import InvalidRequest
from . import ivf
from .plan import PartPlan
from .segment import Segment
from .topk import Floats, Found, Ids, best_of

faiss: Any = untyped_faiss  # its stubs know nothing of cards
log = logging.getLogger(__name__)

CardKind = Literal["flat", "ivf", "cagra"]

DEVICE = re.compile(r"cpu|auto|cuda(?::(\d+))?")
MOST_CANDIDATES = 2048  # that FAISS selects on a card (faiss/gpu/impl/IndexUtils.cpp)
SCRATCH_BYTES = 2**28  # that FAISS keeps on the card to work with
GRAPH_DEGREE = 64  # of a CAGRA graph; while it is built, twice as many beside it
GRAPH_WIDTH = 256  # paths that a search of it keeps
LEAST_RECALL = 0.95  # of what the segment finds for some of its own rows; a copy that finds less is not used
SOME_ROWS = 10_000  # copied at once


@dataclass(frozen=True)
class Copy:
    """A segment on a card. ids (N,): of the rows in their order, where the index knows no ids itself."""

    kind: CardKind
    index: Any
    width: int
    ids: Ids | None
    size_bytes: int

    def search(self, query: Floats, k: int) -> Found:
        """query (Q, D) -> cosines (Q, k) as exact as fp16, and ids less the segment's first (Q, k); -1: none left."""
        params = None
        if self.kind == "ivf":
            params = faiss.SearchParametersIVF(nprobe=self.width)
        elif self.kind == "cagra":
            params = faiss.SearchParametersCagra()
            params.itopk_size = GRAPH_WIDTH
        scores, places = self.index.search(query, k, params=params)
        return scores, places if self.ids is None else np.where(places < 0, -1, self.ids[places])


Put = Callable[[Segment], Copy]


class Card:
    """A graphics card with copies of segments. Any thread may use it: they take turns, as FAISS wants it there."""

    def __init__(self, name: str, most_bytes: int, size_of: Callable[[Segment], int], put: Put) -> None:
        """put: copies a segment. size_of: the bytes of the card that this takes at most."""
        self.name, self.most_bytes = name, most_bytes
        self._size_of, self._put = size_of, put
        self._lock = Lock()  # over everything that FAISS does on the card
        self._wanted: dict[Path, tuple[Segment, ...]] = {}
        self._held: dict[Path, Copy] = {}
        self._refused: set[Path] = set()

    def hold(self, owner: Path, segments: tuple[Segment, ...]) -> None:
        """From now on these are the segments of the index in the folder `owner`: they are copied, others dropped."""
        if self._wanted.get(owner, ()) is segments:
            return
        with self._lock:
            self._wanted[owner] = segments
            wanted = {one.folder: one for held in self._wanted.values() for one in held}
            self._held = {folder: copy for folder, copy in self._held.items() if folder in wanted}
            self._refused &= wanted.keys()
            missing = [one for folder, one in wanted.items() if folder not in self._held.keys() | self._refused]
            for segment in sorted(missing, key=len, reverse=True):
                self._copy(segment)

    def search(self, segment: Segment, query: Floats, k: int) -> tuple[Found, PartPlan] | None:
        """As Segment.search among all its rows; None: the card cannot answer it."""
        copy, wanted = self._held.get(segment.folder), k + len(segment.gone)  # those removed are still on the card
        if copy is None or min(wanted, segment.manifest.rows) > MOST_CANDIDATES or k > len(segment):
            return None
        try:
            with self._lock:
                scores, ids = copy.search(query, min(wanted, segment.manifest.rows))
        except Exception as error:  # whatever it is, searches can do without a card
            self._give_up(segment, error)
            return None
        ids = np.where(ids < 0, -1, ids + segment.manifest.first_id)
        found = best_of([(scores, np.where(np.isin(ids, segment.gone), -1, ids))], len(query), k)
        if (found[1] < 0).any():
            return None
        is_wide = copy.kind == "flat"
        recall = 1.0 if is_wide else segment.manifest.recall if copy.kind == "ivf" else LEAST_RECALL
        return found, PartPlan(f"gpu-{copy.kind}", len(segment), 0 if is_wide else copy.width, recall)

    def status(self) -> dict[str, Any]:
        """What is on it."""
        held = dict(self._held)
        size = sum(each.size_bytes for each in held.values())
        return {"device": self.name, "segments": len(held), "bytes": size}

    def close(self) -> None:
        """Frees the card. Calling it twice is allowed."""
        with self._lock:
            self._wanted, self._held = {}, {}

    def _copy(self, segment: Segment) -> None:
        size = self._size_of(segment)
        if SCRATCH_BYTES + size + sum(each.size_bytes for each in self._held.values()) > self.most_bytes:
            self._refused.add(segment.folder)
            log.warning("%s is not put on %s: there is no room for its %d bytes", segment.folder, self.name, size)
            return
        try:
            copy = self._put(segment)
            rows = segment.sample()[1].astype(np.float32)
            k = min(ivf.NEIGHBOURS, segment.manifest.rows)
            width = copy.width if copy.kind == "ivf" else segment.manifest.lists
            true = ivf.search(segment.index, rows, k, width)[1]
            found = copy.search(rows, k)[1]
            recall = np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]) if len(rows) else 1.0
            if recall < LEAST_RECALL:
                raise ValueError(f"it finds {recall:.3f} of the nearest there")
            self._held[segment.folder] = copy
        except Exception as error:  # as in search()
            self._give_up(segment, error)

    def _give_up(self, segment: Segment, error: Exception) -> None:
        self._held.pop(segment.folder, None)
        self._refused.add(segment.folder)
        log.warning("%s is searched without %s from now on: %s", segment.folder, self.name, str(error)[-200:])


def open_card(device: str, kind: CardKind, most_bytes: int) -> Card | None:
    """The card that `device` names, ready; None for cpu, and for auto where there is none. Raises as find_card."""
    number = find_card(device, kind)
    if number is None:
        return None
    return Card(f"cuda:{number}", most_bytes, lambda segment: bytes_on_card(segment, kind), puts(number, kind))


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


def bytes_on_card(segment: Segment, kind: CardKind) -> int:
    """About how much of a card's memory a copy takes at most, also while it is made."""
    size = segment.manifest.size_bytes
    return size + 4 * 3 * GRAPH_DEGREE * segment.manifest.rows if kind == "cagra" else 2 * size


def puts(number: int, kind: CardKind) -> Put:
    """How segments get onto the card of that number; all of them share its scratch memory."""
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH_BYTES)

    def put(segment: Segment) -> Copy:
        size, width, lists = bytes_on_card(segment, kind), segment.manifest.width, segment.manifest.lists
        if kind == "ivf" and lists > 1:  # of one list, which one block of threads would search, a flat index is made
            return Copy(kind, faiss.index_cpu_to_gpu(resources, number, segment.index), width, None, size)
        ids, rows = zip(*ivf.rows_by_list(segment.index), strict=True)
        if kind == "cagra":
            config = faiss.GpuIndexCagraConfig()
            config.device, config.graph_degree = number, GRAPH_DEGREE
            config.intermediate_graph_degree = 2 * GRAPH_DEGREE
            graph = faiss.GpuIndexCagra(resources, segment.manifest.dim, faiss.METRIC_INNER_PRODUCT, config)
            graph.train(np.concatenate(rows), numeric_type=faiss.Float16)
            return Copy(kind, graph, GRAPH_WIDTH, np.concatenate(ids), size)
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16 = number, True
        flat = faiss.GpuIndexFlatIP(resources, segment.manifest.dim, config)
        for some in rows:
            for first in range(0, len(some), SOME_ROWS):
                flat.add(some[first : first + SOME_ROWS].astype(np.float32))
        return Copy("flat", flat, 0, np.concatenate(ids), size)

    return put
