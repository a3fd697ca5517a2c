"""A sealed segment: vectors of a span of ids, in a folder of files that never change. Opens and searches them.

    index/seg-FIRST-LAST-TOKEN/   every vector that was alive in the ids FIRST..LAST when it was made (build.py)
        rows.f16       (N, D) fp16 little-endian, the catalog's own bytes, behind a head (rows.py)
        factors.f32    (N,) float32, which make products with them cosines
        ids.i64        (N,) int64
        codes.faiss    the approximate index of the rows, where it has one
        sketch.faiss   half a byte for some numbers of each row (sketch.py), where it has one
        manifest.json  what it is, and size and CRC-32 of the other files; written last

All in the order in which the approximate index meets them, so that what one search reads lies together; ascending by id
where there is none. Rows stay on disk and are mapped.
"""

import json
import zlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import ceil
from operator import gt
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..catalog.database import Catalog
from ..catalog.frames import vectors_with_ids, version, was_removed
from ..catalog.identity import read_identity
from ..catalog.packing import unpack_rows
from . import ann
from .chosen import Chosen
from .exact import Best, Floats, Ids, best_rows, block_rows
from .id_ranges import Allowed
from .in_place import IN_PLACE_SHARE, MANY_QUERIES, Only, best_in_place
from .narrow import Reach, cheapest_reach, enough_for
from .places import Places, places_by
from .plan import Effort, PartPlan
from .rows import CHUNK_ROWS, RowFile
from .sketch import Sketch, read_sketch

FORMAT = 5  # 1: centres as float32; 2: rows without a head; 3: rows in the order of their ids; 4: no sketch
MANIFEST, ROWS, IDS, CODES, FACTORS = "manifest.json", "rows.f16", "ids.i64", "codes.faiss", "factors.f32"
SKETCH = "sketch.faiss"
SCANNED_ROWS = 1000  # of allowed ones, up to which comparing them all is about as quick as asking the codes


class Damaged(Exception):
    """A segment that cannot be used. `str(error)` says why; what it held is in the catalog."""


@dataclass(frozen=True)
class Manifest:
    """What a segment's folder says of itself. identity: of the collection; removed_seq: removals it already knows."""

    format: int
    identity: str
    dim: int
    first_id: int
    last_id: int
    rows: int
    removed_seq: int
    kind: str
    mean: list[float]
    levels: list[dict[str, Any]]
    reaches: list[dict[str, Any]]
    files: dict[str, list[int]]


@dataclass(frozen=True)
class _Way:
    """How the codes are asked, which is told so. cost: microseconds, about."""

    plan: PartPlan
    cost: float


@lru_cache(256)
def _way(
    levels: tuple[ann.Level, ...], kind: str, k: int, sure: int, rows: int, count: int, least: float, asked_depth: int
) -> _Way | None:
    """For the k nearest of `count` rows out of all, `least` of the first `sure`; None: no level is sure enough."""
    depth = sure * rows / count
    level = ann.cheapest(levels, depth, least)
    if level is None:
        return None
    width, wanted = _extent(kind, level, k, depth)
    measured_on: Literal["sealing", "queries"] = "queries" if depth <= asked_depth else "sealing"
    return _Way(PartPlan(kind, count, width, wanted, level.recall_at(depth), measured_on), level.cost)


def _extent(kind: str, level: ann.Level, k: int, depth: float) -> tuple[int, int]:
    """How wide, and how many candidates, for k answers that are among the `depth` nearest of all rows."""
    width = level.width
    if kind == "hnsw":  # what it finds is what it passes: all that are nearer than the k allowed ones
        width = max(width, ann.candidates_for(kind, ceil(depth), level.spare))
    return width, ann.candidates_for(kind, k, level.spare)


@dataclass(frozen=True)
class Segment:
    """An open segment. alive (N,) bool, or None while all rows are; codes, refining, sketch: None where it is exact.

    asked_depth: for up to so many neighbours `levels` tell what people's queries find, not only what made ones did.
    """

    folder: Path
    manifest: Manifest
    places: Places
    file: RowFile
    codes: ann.Codes | None
    refining: Any
    sketch: Sketch | None
    levels: tuple[ann.Level, ...]
    reaches: tuple[Reach, ...]
    alive: NDArray[np.bool_] | None = None
    asked_depth: int = 0

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return len(self.places) if self.alive is None else int(np.count_nonzero(self.alive))

    @cached_property
    def _only_alive(self) -> Only | None:
        return None if self.alive is None else Only(self.alive)

    @property
    def span(self) -> tuple[int, int]:
        return self.manifest.first_id, self.manifest.last_id

    @property
    def resident_bytes(self) -> int:
        """About how much memory it takes, most of it mapped."""
        return sum(size for size, _ in self.manifest.files.values())

    def minus(self, ids: Ids) -> "Segment":
        """Without the rows of these ids."""
        places = self.places.of(ids)
        if not len(places):
            return self
        alive = np.ones(len(self.places), np.bool_) if self.alive is None else self.alive.copy()
        alive[places] = False
        return replace(self, alive=alive)

    def search(
        self, query: Floats, k: int, allowed: Allowed | None, effort: Effort, min_recall: float
    ) -> tuple[Floats, Ids]:
        """As VectorIndex.search, of these rows."""
        chosen = None if allowed is None else self._chosen(allowed)
        if chosen is not None and chosen.count == len(self):
            chosen = None  # all of them: to be told so would only take time
        count = len(self) if chosen is None else chosen.count
        if self.codes is not None and not effort.exact and count > SCANNED_ROWS and 2 * k <= count:
            found = self._asked(self.codes, query, k, chosen, count, min_recall, effort)
            if found is not None:
                return found
        effort.parts.append(PartPlan("exact", count, 0, count, 1.0))
        return self._scanned(query, k, chosen)

    def _chosen(self, allowed: Allowed) -> Chosen:
        """Which rows those are; what was found out about them before is still known."""
        known = allowed.known.get(self.file)
        if known is None:
            places = self.places.of(allowed.within(*self.span))
            chosen = Chosen(places if self.alive is None else places[self.alive[places]], len(self.places))
        else:
            alive, chosen = known
            if self.alive is not None and alive != len(self):
                chosen = chosen.among(self.alive)
        if self.span[1] <= allowed.seen:
            allowed.known.put(self.file, len(self), chosen)
        return chosen

    def _asked(
        self, codes: ann.Codes, query: Floats, k: int, chosen: Chosen | None, count: int, least: float, effort: Effort
    ) -> tuple[Floats, Ids] | None:
        """The best of what the codes lead to; None: no way is sure enough, or it led to fewer than k."""
        sure = effort.depth_of(k)
        way = _way(self.levels, codes.kind, k, sure, len(codes), count, least, self.asked_depth)
        if chosen is not None and chosen.places is not None and self.sketch is not None:
            reach = cheapest_reach(self.reaches, least)
            if reach is not None and (way is None or reach.cost(sure, count) < way.cost):
                enough = max(k, enough_for(reach.enough, sure))
                effort.parts.append(PartPlan("sketch", count, 0, min(enough, count), reach.recall, "sealing"))
                return self.answer(*chosen.nearly(self.sketch, self.file, query, k, enough))
        if way is None:
            return None
        only = self._only_alive if chosen is None else chosen.only
        found = self._led_to(codes, query, k, way.plan.width, way.plan.candidates, only)
        if found is None:
            return None
        effort.parts.append(way.plan)
        return self.answer(*found)

    def at_level(self, codes: ann.Codes, level: ann.Level, query: Floats, k: int) -> tuple[Floats, Ids] | None:
        """cosines (Q, k) and places (Q, k), in any order, of a search so wide; None: it led to fewer than k."""
        width, wanted = _extent(codes.kind, level, k, k * len(codes) / len(self))
        return self._led_to(codes, query, k, width, wanted, self._only_alive)

    def _led_to(
        self, codes: ann.Codes, query: Floats, k: int, width: int, wanted: int, only: Only | None
    ) -> tuple[Floats, Ids] | None:
        """As at_level, of the rows that may be answered."""
        cosines, found = ann.refined(self.refining, codes, query, k, wanted, width, only)
        if min(found[:, -1].tolist()) < 0:
            return None
        cosines *= self.file.factors[found]
        return cosines, found

    def answer(self, cosines: Floats, places: Ids) -> tuple[Floats, Ids]:
        """cosines (Q, k) and places (Q, k) in any order -> as VectorIndex.search."""
        ids = self.places.ids_at(places)
        if len(ids) == 1:  # mostly it is as it should be, and of ten numbers a list tells sooner than an array
            only = cosines[0].tolist()
            if -1 <= only[-1] and only[0] <= 1 and all(map(gt, only, only[1:])):
                return cosines, ids
        rows, order = np.arange(len(ids))[:, None], np.lexsort((ids, -cosines))
        return np.maximum(np.minimum(cosines[rows, order], 1), -1), ids[rows, order]

    def _scanned(self, query: Floats, k: int, chosen: Chosen | None) -> tuple[Floats, Ids]:
        """Every row that may be answered, compared."""
        if chosen is not None and chosen.places is not None:
            found = chosen.exactly(self.file, query, k)
            if found is not None:
                cosines, ids = self.answer(*found)
                return cosines[:, :k], ids[:, :k]
            pieces = np.split(chosen.places, range(CHUNK_ROWS, chosen.count, CHUNK_ROWS))
            return best_rows(
                query, ((self.file.at(piece), self.places.ids_at(piece)) for piece in pieces if len(piece)), k
            )
        best = Best(len(query), k)
        only = self._only_alive if chosen is None else chosen.only
        if len(query) < MANY_QUERIES and k <= IN_PLACE_SHARE * (len(self) if chosen is None else chosen.count):
            there = best_in_place(self.file.mapped, self.file.factors, self.file.extremes, query, k, only)
            if there is not None:
                best.add(there[0], self.places.ids_at(there[1]))
                return best.result()
        mask = None if only is None else only.mask
        for rows, block in self.file.blocks(min(block_rows(len(query)), CHUNK_ROWS)):
            if mask is None:
                best.add(query @ rows.T, self.places.ids_at(block))
            elif (here := mask[block]).any():
                best.add(query @ rows[here].T, self.places.ids_at(block[here]))
        return best.result()


def open_segment(folder: Path, catalog: Catalog, dim: int) -> Segment:
    """The segment in `folder`, checked byte by byte, and against the catalog by a sample. Raises Damaged."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
        if (manifest.format, manifest.dim) != (FORMAT, dim) or manifest.identity != identity_of(catalog):
            raise Damaged("it belongs to another collection or another version of vicmae")
        for name, (size, crc) in manifest.files.items():
            if (folder / name).stat().st_size != size or checksum(folder / name) != crc:
                raise Damaged(f"{name} is not what was written")
        ids = np.fromfile(folder / IDS, "<i8").astype(np.int64)
        factors = np.fromfile(folder / FACTORS, "<f4").astype(np.float32)
        if not len(ids) == len(factors) == manifest.rows:
            raise Damaged("its files do not fit one another")
        file = RowFile(folder / ROWS, manifest.rows, dim, factors)
        mapped = file.mapped  # now, since the folder's name may be gone when the first search comes
        codes, refining, sketch = None, None, None
        if manifest.kind != "exact":
            codes = ann.read(folder / CODES, manifest.kind, np.array(manifest.mean, np.float32))
            refining, sketch = ann.refining(codes, mapped), read_sketch(folder / SKETCH)
        reaches = tuple(Reach(**reach) for reach in manifest.reaches)
        levels = sealed_levels(manifest)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise Damaged(f"it cannot be read ({error})") from error
    segment = Segment(folder, manifest, places_by(ids), file, codes, refining, sketch, levels, reaches)
    _check_sample(segment, catalog)
    return segment


def sealed_levels(manifest: Manifest) -> tuple[ann.Level, ...]:
    """What the sealing measured, with queries made of the segment's own vectors."""
    return tuple(ann.Level(**{**level, "recalls": tuple(level["recalls"])}) for level in manifest.levels)


def _check_sample(segment: Segment, catalog: Catalog) -> None:
    """Raises Damaged where the catalog is not the one, or an older state of the one, that the segment was made of."""
    places = np.unique(np.linspace(0, max(segment.file.count - 1, 0), min(16, segment.file.count)).astype(np.int64))
    with catalog.read() as db:
        now = version(db)
        if now.last_vector_id < segment.manifest.last_id or now.removals < segment.manifest.removed_seq:
            raise Damaged("it is newer than the catalog, which must have been restored")
        for vector_id, row in zip(segment.places.ids_at(places).tolist(), segment.file.at(places), strict=True):
            stored = [raw for _, raw in vectors_with_ids(db, np.array([vector_id], np.int64))]
            if not stored:
                if not was_removed(db, vector_id):
                    raise Damaged("it holds vectors that the catalog never had")
            elif not np.array_equal(unpack_rows(stored[0], segment.manifest.dim)[0], row):
                raise Damaged("its vectors are not those of the catalog")


def identity_of(catalog: Catalog) -> str:
    """What tells one collection from another of the same name."""
    with catalog.read() as db:
        identity = read_identity(db)
    return f"{identity.fingerprint} {identity.created_at}" if identity else ""


def checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            value = zlib.crc32(piece, value)
    return value
