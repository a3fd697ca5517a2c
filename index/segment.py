"""A sealed segment: vectors of a span of ids, in a folder of files that never change. Writes and opens them.

    index/seg-FIRST-LAST-TOKEN/   every vector that was alive in the ids FIRST..LAST when it was made
        rows.f16       (N, D) fp16 little-endian, the catalog's own bytes, behind a head (rows.py)
        factors.f32    (N,) float32, which make products with them cosines
        ids.i64        (N,) int64 ascending
        codes.faiss    the approximate index of the rows, where it has one
        manifest.json  what it is, and size and CRC-32 of the other files; written last

A folder is made aside, flushed to disk and renamed, so that a name that looks like a segment is whole or damaged, never
half made. Rows of an approximate segment stay on disk and are mapped.
"""

import json
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import ann
from .aside import flush
from .catalog import Catalog
from .exact import Best, Block, Floats, Ids, best_rows, block_rows
from .narrow import MOST_SHARE, Reach, best_allowed, cheapest_reach, enough_for, measured_reaches
from .packing import unpack_rows
from .plan import Effort, IndexOptions, PartPlan
from .rows import CHUNK_ROWS, RowFile, write_rows
from .tail import Tail, empty_tail, places_of

FORMAT = 3  # 1: centres as float32; 2: rows without a head
MANIFEST, ROWS, IDS, CODES, FACTORS = "manifest.json", "rows.f16", "ids.i64", "codes.faiss", "factors.f32"
MAKING = ".making-"
EXACT_ROWS = 10_000  # up to here a scan of all rows in memory is quick enough
SPARSE = 16  # of so many rows at most one is wanted: then those are compared one by one, else whole blocks
LEAST_ROWS = 1_000  # an approximate index of fewer is not worth having
SLOW_MICROSECONDS = 200.0  # a search by an ivf, above which a graph is built instead
GRAPH_BYTES = 150  # of a row, beside its numbers
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
class Segment:
    """An open segment. alive (N,) bool, or None while all rows are; resident: its rows, where it is exact.

    asked_depth: for up to so many neighbours `levels` tell what people's queries find, beyond what made queries did.
    """

    folder: Path
    manifest: Manifest
    ids: Ids
    file: RowFile
    codes: Any
    refining: Any
    lists: NDArray[np.uint16] | None
    levels: tuple[ann.Level, ...]
    reaches: tuple[Reach, ...]
    resident: Tail | None
    alive: NDArray[np.bool_] | None = None
    asked_depth: int = 0

    def __len__(self) -> int:
        if self.resident is not None:
            return len(self.resident)
        return len(self.ids) if self.alive is None else int(np.count_nonzero(self.alive))

    @property
    def span(self) -> tuple[int, int]:
        return self.manifest.first_id, self.manifest.last_id

    @property
    def resident_bytes(self) -> int:
        """About how much memory it takes."""
        if self.resident is not None:
            return self.resident.nbytes
        return sum(size for size, _ in self.manifest.files.values()) + 2 * len(self.ids)

    def minus(self, ids: Ids) -> "Segment":
        """Without the rows of these ids."""
        places = places_of(self.ids, ids)
        if not len(places):
            return self
        if self.resident is not None:
            return replace(self, resident=self.resident.minus(ids))
        alive = np.ones(len(self.ids), np.bool_) if self.alive is None else self.alive.copy()
        alive[places] = False
        return replace(self, alive=alive)

    def search(
        self, query: Floats, k: int, allowed: Ids | None, effort: Effort, min_recall: float
    ) -> tuple[Floats, Ids]:
        """As VectorIndex.search, of these rows."""
        if self.resident is not None:
            effort.parts.append(PartPlan("exact", len(self), 0, len(self), 1.0))
            return self.resident.search(query, k, allowed)
        places = None if allowed is None else self._alive(places_of(self.ids, allowed))
        count = len(self) if places is None else len(places)
        if not effort.exact and count > SCANNED_ROWS and 2 * k <= count:
            found = self._asked(query, k, places, count, min_recall, effort)
            if found is not None:
                return found
        effort.parts.append(PartPlan("exact", count, 0, count, 1.0))
        return self._scanned(query, k, places)

    def _alive(self, places: Ids) -> Ids:
        return places if self.alive is None else places[self.alive[places]]

    def _mask(self, places: Ids | None) -> NDArray[np.bool_] | None:
        """Which rows (N,) may be answered; None: all."""
        if places is None:
            return self.alive
        mask = np.zeros(len(self.ids), np.bool_)
        mask[places] = True
        return mask

    def _asked(
        self, query: Floats, k: int, places: Ids | None, count: int, least: float, effort: Effort
    ) -> tuple[Floats, Ids] | None:
        """The best of what the codes lead to; None: no way is sure enough, or it led to fewer than k."""
        kind, depth = self.manifest.kind, k * len(self.ids) / count
        level = ann.cheapest(self.levels, depth, least)
        if places is not None and self.lists is not None and count * MOST_SHARE <= len(self.ids):
            reach = cheapest_reach(self.reaches, least)
            if reach is not None and (level is None or reach.cost(k, count, self.codes.nlist) < level.cost):
                enough = enough_for(reach.enough, k)
                effort.parts.append(PartPlan(kind, count, 0, min(enough, count), reach.recall, "sealing"))
                return self.answer(*best_allowed(self.codes, self.lists, self.file, query, k, places, enough))
        if level is None:
            return None
        wanted = ann.candidates_for(kind, k, level.spare)
        width = level.width
        if kind == "hnsw":  # what it finds is what it passes: all that are nearer than the k allowed ones
            width = max(width, ann.candidates_for(kind, ceil(depth), level.spare))
        cosines, found = ann.refined(self.refining, kind, query, k, wanted, width, self._mask(places))
        if found.min() < 0:
            return None
        measured_on: Literal["sealing", "queries"] = "queries" if depth <= self.asked_depth else "sealing"
        effort.parts.append(PartPlan(kind, count, width, wanted, level.recall_at(depth), measured_on))
        cosines *= self.file.factors[found]
        return self.answer(cosines, found)

    def answer(self, cosines: Floats, places: Ids) -> tuple[Floats, Ids]:
        """cosines (Q, k) and places (Q, k) in any order -> as VectorIndex.search."""
        rows, order = np.arange(len(places))[:, None], np.lexsort((places, -cosines))
        return np.maximum(np.minimum(cosines[rows, order], 1), -1), self.ids[places[rows, order]]

    def _scanned(self, query: Floats, k: int, places: Ids | None) -> tuple[Floats, Ids]:
        """Every row that may be answered, compared."""
        if places is not None and k <= len(places) and len(places) * len(query) <= len(self.ids) // SPARSE:
            found = [self.file.best(one, k, places) for one in query[:, None]]
            return self.answer(*map(np.concatenate, zip(*found, strict=True)))
        if places is not None and SPARSE * len(places) <= len(self.ids):
            pieces = np.split(places, range(CHUNK_ROWS, len(places), CHUNK_ROWS))
            return best_rows(query, ((self.file.at(piece), self.ids[piece]) for piece in pieces if len(piece)), k)
        mask, best = self._mask(places), Best(len(query), k)
        for rows, block in self.file.blocks(min(block_rows(len(query)), CHUNK_ROWS)):
            if mask is None:
                best.add(query @ rows.T, self.ids[block])
            elif (here := mask[block]).any():
                best.add(query @ rows[here].T, self.ids[block[here]])
        return best.result()


def make_segment(
    catalog: Catalog,
    folder: Path,
    span: tuple[int, int],
    dim: int,
    options: IndexOptions,
    stop: Callable[[], None],
) -> Path:
    """Writes the segment of the catalog's vectors with ids in span (first, last), and gives its folder.

    Memory is bounded by the sample and the codes. stop is called between pieces of work and raises to end them.
    Raises OSError when the disk refuses, StorageError when the catalog cannot be read; nothing is left then.
    """
    scratch = folder / f"{MAKING}{secrets.token_hex(4)}"
    scratch.mkdir(parents=True)
    try:
        _write_rows(catalog, scratch, span, dim, options, stop)
        final = folder / f"seg-{span[0]}-{span[1]}-{secrets.token_hex(4)}"
        scratch.rename(final)
        flush(folder)
        return final
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _write_rows(
    catalog: Catalog, scratch: Path, span: tuple[int, int], dim: int, options: IndexOptions, stop: Callable[[], None]
) -> None:
    held: list[NDArray[np.int64]] = []
    total = np.zeros(dim)
    with catalog.read() as db:
        seq = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'removed'").fetchone()
        found = db.execute("SELECT vector_id, vector FROM frames WHERE vector_id BETWEEN ? AND ?", span)

        def pieces() -> Iterator[bytes]:
            while chunk := found.fetchmany(CHUNK_ROWS):
                stop()
                raw = b"".join([row[1] for row in chunk])
                total[:] += unpack_rows(raw, dim).sum(axis=0)
                held.append(np.array([row[0] for row in chunk], np.int64))
                yield raw

        factors = write_rows(scratch / ROWS, dim, pieces())
    (scratch / FACTORS).write_bytes(factors.astype("<f4").tobytes())
    ids = np.concatenate(held) if held else np.empty(0, np.int64)
    (scratch / IDS).write_bytes(ids.astype("<i8").tobytes())
    kind = kind_for(len(ids), dim, options)
    levels: list[ann.Level] = []
    reaches: list[Reach] = []
    if kind != "exact":
        file = RowFile(scratch / ROWS, len(ids), dim, factors)
        levels, reaches = _write_codes(kind, file, dim, scratch, stop)
        if options.kind == "auto" and _graph_is_worth_it(levels, len(ids), dim, options):
            kind = "hnsw"
            levels, reaches = _write_codes(kind, file, dim, scratch, stop)
    manifest = Manifest(
        FORMAT,
        identity_of(catalog),
        dim,
        *span,
        len(ids),
        seq[0] if seq else 0,
        kind,
        (total / max(len(ids), 1)).tolist(),
        [asdict(level) for level in levels],
        [asdict(reach) for reach in reaches],
        {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(scratch.iterdir())},
    )
    (scratch / MANIFEST).write_text(json.dumps(asdict(manifest)))
    for path in (*scratch.iterdir(), scratch):
        flush(path)


def _write_codes(
    kind: str, file: RowFile, dim: int, scratch: Path, stop: Callable[[], None]
) -> tuple[list[ann.Level], list[Reach]]:
    """Builds the approximate index and measures it."""

    def rows() -> Iterator[Block]:
        for block in file.blocks(CHUNK_ROWS):
            stop()
            yield block

    shuffled = np.random.default_rng(0).permutation(file.count)
    asked = np.sort(shuffled[: min(ann.PROBES, file.count // 2)])  # not among those that teach the lists
    taught = np.sort(shuffled[len(asked) :][: ann.sample_rows(kind, file.count)])
    index = ann.build(kind, file.count, dim, file.at(taught), rows, stop)
    ann.write(index, scratch / CODES)
    probes = _probes(file, asked, rows)
    true = ann.true_places(probes, rows)
    levels = ann.measured(index, kind, probes, true, stop)
    lists = ann.lists_of(index) if kind == "ivf" else None
    return levels, [] if lists is None else measured_reaches(index, lists, probes, true, stop)


def _probes(file: RowFile, asked: Ids, rows: ann.Rows) -> Floats:
    """Queries made of the rows at `asked` (P,) and of two neighbours of each, in an order drawn by chance."""
    chance = np.random.default_rng(1)
    held = file.at(asked)
    near = ann.true_places(held, rows)[:, 1 : 1 + ann.DEPTHS[0]]  # the first is the row itself, or one just like it
    pairs = chance.permuted(near, axis=1)[:, :2]
    wanted, where = np.unique(pairs, return_inverse=True)
    others = file.at(wanted)[where.reshape(pairs.shape)]
    return chance.permutation(ann.made_probes(held, others))


def _graph_is_worth_it(levels: list[ann.Level], rows: int, dim: int, options: IndexOptions) -> bool:
    """Whether an ivf with these levels is so slow on these vectors that a graph is worth its time and memory."""
    level = ann.cheapest(levels, ann.DEPTHS[0], options.min_recall)
    return (level is None or level.cost > SLOW_MICROSECONDS) and rows * (dim + GRAPH_BYTES) <= options.memory_bytes


def kind_for(rows: int, dim: int, options: IndexOptions) -> str:
    """exact | hnsw | ivf for a segment of so many rows."""
    if options.kind == "exact" or rows < LEAST_ROWS:
        return "exact"
    if options.kind != "auto":
        return options.kind
    fits = rows <= EXACT_ROWS and 4 * rows * dim <= options.memory_bytes // 4
    return "exact" if fits else "ivf"


def open_segment(folder: Path, catalog: Catalog, dim: int) -> Segment:
    """The segment in `folder`, checked byte by byte, and against the catalog by a sample. Raises Damaged."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
        if (manifest.format, manifest.dim) != (FORMAT, dim) or manifest.identity != identity_of(catalog):
            raise Damaged("it belongs to another collection or another version of vicmae")
        for name, (size, checksum) in manifest.files.items():
            if (folder / name).stat().st_size != size or _checksum(folder / name) != checksum:
                raise Damaged(f"{name} is not what was written")
        ids = np.frombuffer((folder / IDS).read_bytes(), "<i8").astype(np.int64)
        factors = np.fromfile(folder / FACTORS, "<f4").astype(np.float32)
        if not len(ids) == len(factors) == manifest.rows:
            raise Damaged("its files do not fit one another")
        file = RowFile(folder / ROWS, manifest.rows, dim, factors)
        codes, refining, lists, resident = None, None, None, None
        if manifest.kind == "exact":
            raw = (folder / ROWS).read_bytes()
            resident = empty_tail(dim).plus(raw[len(raw) - 2 * dim * len(ids) :], ids)
        else:
            codes = ann.read(folder / CODES)
            refining = ann.refining(codes, file.mapped)
        if manifest.kind == "ivf":
            lists = ann.lists_of(codes)
        reaches = tuple(Reach(**reach) for reach in manifest.reaches)
        levels = sealed_levels(manifest)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise Damaged(f"it cannot be read ({error})") from error
    segment = Segment(folder, manifest, ids, file, codes, refining, lists, levels, reaches, resident)
    _check_sample(segment, catalog)
    return segment


def sealed_levels(manifest: Manifest) -> tuple[ann.Level, ...]:
    """What the sealing measured, with queries made of the segment's own vectors."""
    return tuple(ann.Level(**{**level, "recalls": tuple(level["recalls"])}) for level in manifest.levels)


def _check_sample(segment: Segment, catalog: Catalog) -> None:
    """Raises Damaged where the catalog is not the one, or an older state of the one, that the segment was made of."""
    places = np.unique(np.linspace(0, max(len(segment.ids) - 1, 0), min(16, len(segment.ids))).astype(np.int64))
    with catalog.read() as db:
        tops = dict(db.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('frames', 'removed')"))
        if tops.get("frames", 0) < segment.manifest.last_id or tops.get("removed", 0) < segment.manifest.removed_seq:
            raise Damaged("it is newer than the catalog, which must have been restored")
        for vector_id, row in zip(segment.ids[places].tolist(), segment.file.at(places), strict=True):
            stored = db.execute("SELECT vector FROM frames WHERE vector_id = ?", (vector_id,)).fetchone()
            if stored is None:
                known = db.execute("SELECT 1 FROM removed WHERE vector_id = ?", (vector_id,)).fetchone()
                if known is None:
                    raise Damaged("it holds vectors that the catalog never had")
            elif not np.array_equal(unpack_rows(stored[0], segment.manifest.dim)[0], row):
                raise Damaged("its vectors are not those of the catalog")


def identity_of(catalog: Catalog) -> str:
    """What tells one collection from another of the same name."""
    with catalog.read() as db:
        row = db.execute("SELECT fingerprint, created_at FROM collection").fetchone()
    return " ".join(row) if row else ""


def _checksum(path: Path) -> int:
    value = 0
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            value = zlib.crc32(piece, value)
    return value
