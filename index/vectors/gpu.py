"""Copies of segments on a graphics card, through FAISS: which card, how they lie on it, and their search.

What the card does not hold, cannot answer or fails at is searched as if there were no card. Never ran on one so far:
docs/index.md tells what did run.
"""

import logging
import re
from dataclasses import dataclass, replace
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
GRAPH_DEGREE = 64  # of a CAGRA graph, as FAISS has it unless told; while it is built, twice as many beside it
GRAPH_WIDTH = 256  # paths that a search of it keeps
LEAST_RECALL = 0.95  # of what the segment finds for some of its own rows; a copy that finds less is not used


@dataclass(frozen=True)
class Copy:
    """A segment on a card, searched as `plan` says. ids (N,): of its rows, where the index knows none."""

    index: Any
    size_bytes: int
    plan: PartPlan
    ids: Ids | None = None
    params: Any = None

    def search(self, query: Floats, k: int) -> Found:
        """query (Q, D) -> cosines (Q, k) about as exact as fp16, and ids less the segment's first (Q, k); -1: none."""
        scores, places = self.index.search(query, k, params=self.params)
        return scores, places if self.ids is None else np.where(places < 0, -1, self.ids[places])


class Card:
    """A graphics card with copies of segments. Any thread may use it: they take turns, as FAISS wants it there."""

    def __init__(self, number: int, kind: CardKind, most_bytes: int) -> None:
        self.kind, self.most_bytes = kind, most_bytes
        self._number = number
        self._resources = faiss.StandardGpuResources()
        self._resources.setTempMemory(SCRATCH_BYTES)
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
                try:
                    self._held[segment.folder] = self._copied(segment)
                except Exception as error:  # whatever it is, searches can do without a card
                    self._give_up(segment, error)

    def search(self, segment: Segment, query: Floats, k: int) -> tuple[Found, PartPlan] | None:
        """As Segment.search among all its rows; None: the card cannot answer it."""
        copy = self._held.get(segment.folder)
        wanted = min(k + len(segment.gone), segment.manifest.rows)  # those removed are still on the card
        if copy is None or wanted > MOST_CANDIDATES or k > len(segment):
            return None
        try:
            with self._lock:
                scores, ids = copy.search(query, wanted)
        except Exception as error:  # as in hold()
            self._give_up(segment, error)
            return None
        ids = np.where(ids < 0, -1, ids + segment.manifest.first_id)
        found = best_of([(scores, np.where(np.isin(ids, segment.gone), -1, ids))], len(query), k)
        return None if (found[1] < 0).any() else (found, replace(copy.plan, rows=len(segment)))

    def __len__(self) -> int:
        """How many copies are on it."""
        return len(self._held)

    def close(self) -> None:
        """Frees the card. Calling it twice is allowed."""
        with self._lock:
            self._wanted, self._held = {}, {}

    def _copied(self, segment: Segment) -> Copy:
        """Raises ValueError where it does not fit or finds something else than the segment, and whatever FAISS does."""
        manifest = segment.manifest
        size = 2 * manifest.size_bytes  # at most, also while it is made
        if self.kind == "cagra":
            size = manifest.size_bytes + 4 * 3 * GRAPH_DEGREE * manifest.rows
        if SCRATCH_BYTES + size + sum(copy.size_bytes for copy in self._held.values()) > self.most_bytes:
            raise ValueError(f"there is no room for its {size} bytes")
        copy = self._put(segment, size)
        rows = segment.sample()[1].astype(np.float32)
        k = min(ivf.NEIGHBOURS, manifest.rows)
        true = ivf.search(segment.index, rows, k, copy.plan.width or manifest.lists)[1]
        found = copy.search(rows, k)[1]
        recall = np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]) if len(rows) else 1.0
        if recall < LEAST_RECALL:
            raise ValueError(f"it finds {recall:.3f} of the nearest there")
        return copy

    def _put(self, segment: Segment, size: int) -> Copy:
        manifest, count = segment.manifest, len(segment)
        if self.kind == "ivf" and manifest.lists > 1:  # one list would be searched by one block of threads
            index = faiss.index_cpu_to_gpu(self._resources, self._number, segment.index)
            params = faiss.SearchParametersIVF(nprobe=manifest.width)
            return Copy(index, size, PartPlan("gpu-ivf", count, manifest.width, manifest.recall), params=params)
        ids, rows = zip(*ivf.rows_by_list(segment.index), strict=True)
        if self.kind == "cagra":
            config = faiss.GpuIndexCagraConfig()
            config.device = self._number
            graph = faiss.GpuIndexCagra(self._resources, manifest.dim, faiss.METRIC_INNER_PRODUCT, config)
            graph.train(np.concatenate(rows), numeric_type=faiss.Float16)
            params = faiss.SearchParametersCagra()
            params.itopk_size = GRAPH_WIDTH
            return Copy(graph, size, PartPlan("gpu-cagra", count, 0, LEAST_RECALL), np.concatenate(ids), params)
        config = faiss.GpuIndexFlatConfig()
        config.device, config.useFloat16 = self._number, True
        flat = faiss.GpuIndexFlatIP(self._resources, manifest.dim, config)
        for some in rows:
            flat.add(some.astype(np.float32))
        return Copy(flat, size, PartPlan("gpu-flat", count, 0, 1.0), np.concatenate(ids))

    def _give_up(self, segment: Segment, reason: Exception) -> None:
        self._held.pop(segment.folder, None)
        self._refused.add(segment.folder)
        log.warning("%s is searched without cuda:%d from now on: %s", segment.folder, self._number, str(reason)[-200:])


def open_card(device: str, kind: CardKind, most_bytes: int) -> Card | None:
    """The card that `device` names, ready; None and errors as find_card."""
    number = find_card(device, kind)
    return None if number is None else Card(number, kind, most_bytes)


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
