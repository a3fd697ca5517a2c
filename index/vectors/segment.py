"""A sealed segment: the vectors of a span of ids, in a folder of two files that never change. Opens and searches them.

index/seg-FIRST-LAST-TOKEN/   every vector that was alive in the ids FIRST..LAST when it was built (build.py)
    vectors.faiss  a FAISS index of the rows as fp16 with their ids, less FIRST (ivf.py); mapped
    manifest.json  what it is, the width to search it with, size and CRC-32 of the other file; written last
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import Catalog, read_identity, removed_after, vectors_with_ids, version
from . import ivf
from .id_ranges import Allowed, selector_of
from .plan import PartPlan
from .topk import Floats, Found, Ids, nothing_found

FORMAT = 6  # to 5: earlier releases, several files a segment; those are built anew
MANIFEST, VECTORS = "manifest.json", "vectors.faiss"
NEARLY_ALL = 0.7  # of the rows: where fewer may be answered, the width that was measured among all says nothing
SAMPLE = 16  # vectors that are compared with the catalog


class Damaged(Exception):
    """A segment that cannot be used. `str(error)` says why; what it held is in the catalog."""


@dataclass(frozen=True)
class Manifest:
    """What a segment's folder says of itself.

    identity: of the collection; removed_seq: the last removal it already knows; width: lists to search, with which the
    recall of the ten nearest was measured; mean (D,): of its vectors.
    """

    format: int
    identity: str
    dim: int
    first_id: int
    last_id: int
    rows: int
    removed_seq: int
    lists: int
    width: int
    recall: float
    mean: list[float]
    size_bytes: int
    crc32: int


@dataclass(frozen=True)
class Segment:
    """An open segment. gone (G,) int64 ascending: ids that were removed since it was built."""

    folder: Path
    manifest: Manifest
    index: Any
    gone: Ids

    def __len__(self) -> int:
        return self.manifest.rows - len(self.gone)

    @property
    def span(self) -> tuple[int, int]:
        return self.manifest.first_id, self.manifest.last_id

    @property
    def kind(self) -> str:
        return "exact" if self.manifest.lists == 1 else "ivf"

    def minus(self, ids: Ids) -> "Segment":
        """Without these ids; those of the span must have been in it when it was built."""
        here = ids[slice(*np.searchsorted(ids, (self.span[0], self.span[1] + 1)))]
        return replace(self, gone=np.union1d(self.gone, here)) if len(here) else self

    def search(self, query: Floats, k: int, allowed: Allowed | None, exact: bool) -> tuple[Found, PartPlan]:
        """query (Q, D) float32 unit length -> cosines (Q, k) and ids (Q, k), -1: none left; and how it was found.

        All rows that may be answered are compared where `exact` is asked for, where they are much fewer than all, and
        for more answers than the recall was measured for.
        """
        rows, lists = self.manifest.rows, self.manifest.lists
        count, selector = len(self), self._alive
        if allowed is not None:
            mask = self._alive_among(allowed)
            chosen = int(np.count_nonzero(mask))
            if chosen == 0:
                return nothing_found(len(query), k), PartPlan("exact", 0)
            if chosen != count:  # else it is as without a filter
                count, selector = chosen, selector_of(mask)
        is_wide = exact or k > ivf.DEPTHS[-1] or count < NEARLY_ALL * rows
        width = lists if is_wide else self.manifest.width
        scores, places = ivf.search(self.index, query, k, width, selector)
        if width < lists and (places < 0).any():
            width = lists
            scores, places = ivf.search(self.index, query, k, width, selector)
        found = scores, np.where(places < 0, -1, places + self.manifest.first_id)
        if width == lists:
            return found, PartPlan("exact", count)
        return found, PartPlan("ivf", count, width, self.manifest.recall)

    def sample(self) -> tuple[Ids, NDArray[np.float16]]:
        """At most SAMPLE rows (S, D) from lists all over the index, and their ids (S,)."""
        lists = list(ivf.rows_by_list(self.index))
        if not lists:
            return np.empty(0, np.int64), np.empty((0, self.manifest.dim), np.float16)
        several = [lists[i] for i in np.unique(np.linspace(0, len(lists) - 1, SAMPLE).astype(int))]
        most = SAMPLE // len(several)
        places = [np.unique(np.linspace(0, len(ids) - 1, most).astype(int)) for ids, _ in several]
        ids = np.concatenate([ids[some] for (ids, _), some in zip(several, places, strict=True)])
        rows = np.concatenate([rows[some] for (_, rows), some in zip(several, places, strict=True)])
        return ids + self.manifest.first_id, rows

    def _alive_among(self, allowed: Allowed | None) -> NDArray[np.bool_]:
        """(S,) for each id of the span whether it may be answered."""
        first, last = self.span
        mask = np.full(last - first + 1, allowed is None)
        if allowed is not None:
            mask[allowed.within(first, last) - first] = True
        mask[self.gone - first] = False
        return mask

    @cached_property
    def _alive(self) -> Any:
        """The selector of what is not removed; None while all is there."""
        return selector_of(self._alive_among(None)) if len(self.gone) else None


def open_segment(folder: Path, catalog: Catalog, dim: int) -> Segment:
    """The segment in `folder`, checked byte by byte, and against the catalog by a sample. Raises Damaged."""
    try:
        told = json.loads((folder / MANIFEST).read_text())
        if told.get("format") != FORMAT:
            raise Damaged(f"it is of format {told.get('format')}, and this version of vicmae reads format {FORMAT}")
        manifest = Manifest(**told)
        if manifest.dim != dim or manifest.identity != identity_of(catalog):
            raise Damaged("it belongs to another collection")
        if ivf.checksum(folder / VECTORS) != (manifest.size_bytes, manifest.crc32):
            raise Damaged(f"{VECTORS} is not what was written")
        index = ivf.read(folder / VECTORS)
        if (index.ntotal, index.d, index.nlist) != (manifest.rows, dim, manifest.lists):
            raise Damaged("its files do not fit one another")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"it cannot be read ({error})") from error
    segment = Segment(folder, manifest, index, np.empty(0, np.int64))
    _check_sample(segment, catalog)
    return segment


def _check_sample(segment: Segment, catalog: Catalog) -> None:
    """Raises Damaged where the catalog is not the one, or an older state of the one, that the segment was made of."""
    ids, rows = segment.sample()
    held = dict(zip(ids.tolist(), rows, strict=True))
    with catalog.read() as db:
        now = version(db)
        if now.last_vector_id < segment.manifest.last_id or now.removals < segment.manifest.removed_seq:
            raise Damaged("it is newer than the catalog, which must have been restored")
        stored = {
            vector_id: row
            for ids, raw in vectors_with_ids(db, np.sort(ids))
            for vector_id, row in zip(ids.tolist(), np.frombuffer(raw, "<f2").reshape(len(ids), -1), strict=True)
        }
        missing = held.keys() - stored.keys()
        if missing - set(removed_after(db, segment.manifest.removed_seq, segment.span).tolist()):
            raise Damaged("it holds vectors that the catalog never had")
    if not all(np.array_equal(row, held[vector_id]) for vector_id, row in stored.items()):
        raise Damaged("its vectors are not those of the catalog")


def identity_of(catalog: Catalog) -> str:
    """What tells one collection from another of the same name."""
    with catalog.read() as db:
        told = read_identity(db)
    return f"{told.fingerprint} {told.created_at}" if told else ""
