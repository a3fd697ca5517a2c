"""A sealed segment: vectors of a span of ids, in a folder of files that never change. Writes and opens them.

    index/seg-FIRST-LAST-TOKEN/   every vector that was alive in the ids FIRST..LAST when it was made
        rows.f16       (N, D) fp16 little-endian, the catalog's own bytes
        ids.i64        (N,) int64 ascending
        codes.faiss    the approximate index of the rows, where it has one
        manifest.json  what it is, and size and CRC-32 of the other files; written last

A folder is made aside, flushed to disk and renamed, so that a name that looks like a segment is whole or damaged, never
half made. Rows of an approximate segment stay on disk and are read where they are needed.
"""

import json
import os
import secrets
import shutil
import weakref
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import ann
from .catalog import Catalog
from .exact import Best, Block, Floats, Ids, best_rows, block_rows
from .packing import unpack_rows
from .plan import Effort, IndexOptions, PartPlan
from .tail import Tail, places_of

FORMAT = 1
MANIFEST, ROWS, IDS, CODES = "manifest.json", "rows.f16", "ids.i64", "codes.faiss"
MAKING = ".making-"
EXACT_ROWS = 10_000  # up to here a scan of all rows in memory is quick enough
LEAST_ROWS = 1_000  # an approximate index of fewer is not worth having
SCANNED_ROWS = 1_000  # of allowed ones, up to which reading them all is quicker than asking the codes
CHUNK_ROWS = 10_000
DENSE = 16  # of so many rows at least one is wanted: then the whole file is read in large pieces


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
    files: dict[str, list[int]]


class RowFile:
    """rows.f16, read piece by piece; the file stays open, also when its name is gone."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self.count, self._dim = count, dim

    def at(self, places: Ids) -> Floats:
        """places (P,) ascending -> rows (P, D) float32 unit length."""
        size, file = 2 * self._dim, self._file
        if DENSE * len(places) < self.count:
            return unpack_rows(b"".join([os.pread(file, size, size * place) for place in places.tolist()]), self._dim)
        picked = []
        for start in range(0, self.count, CHUNK_ROWS):
            here = places[slice(*np.searchsorted(places, (start, start + CHUNK_ROWS)))]
            raw = os.pread(file, size * min(CHUNK_ROWS, self.count - start), size * start)
            picked.append(np.frombuffer(raw, "<f2").reshape(-1, self._dim)[here - start])
        return unpack_rows(b"".join(part.tobytes() for part in picked), self._dim)

    def blocks(self, rows_a_block: int) -> Iterator[Block]:
        """All rows with their places."""
        size = 2 * self._dim
        for start in range(0, self.count, rows_a_block):
            end = min(start + rows_a_block, self.count)
            raw = os.pread(self._file, size * (end - start), size * start)
            yield unpack_rows(raw, self._dim), np.arange(start, end)


@dataclass(frozen=True)
class Segment:
    """An open segment. alive (N,) bool, or None while all rows are; resident: its rows, where it is exact."""

    folder: Path
    manifest: Manifest
    ids: Ids
    file: RowFile
    codes: Any
    levels: tuple[ann.Level, ...]
    resident: Tail | None
    alive: NDArray[np.bool_] | None = None

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
            return int(self.resident.rows.nbytes + self.ids.nbytes)
        return int(self.ids.nbytes) + self.manifest.files[CODES][0]

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
        chosen, count = self._chosen(allowed)
        level = None
        if not effort.exact and count > SCANNED_ROWS and 2 * k <= count:
            depth = k * len(self.ids) / count
            level = ann.cheapest(self.levels, depth, min_recall)
        if level is not None:
            found = self._asked(query, k, chosen, level)
            if (found[1][:, -1] >= 0).all():  # else k exist but the codes did not lead to them
                depth = k * len(self.ids) / count
                wanted = ann.candidates_for(self.manifest.kind, k, level.spare)
                effort.parts.append(PartPlan(self.manifest.kind, count, level.width, wanted, level.recall_at(depth)))
                return found
        effort.parts.append(PartPlan("exact", count, 0, count, 1.0))
        return self._scanned(query, k, chosen, count)

    def _chosen(self, allowed: Ids | None) -> tuple[NDArray[np.bool_] | None, int]:
        """Which rows (N,) may be answered, None: all; and how many they are."""
        if allowed is None:
            return self.alive, len(self)
        chosen = np.zeros(len(self.ids), np.bool_)
        chosen[places_of(self.ids, allowed)] = True
        if self.alive is not None:
            chosen &= self.alive
        return chosen, int(np.count_nonzero(chosen))

    def _asked(self, query: Floats, k: int, chosen: NDArray[np.bool_] | None, level: ann.Level) -> tuple[Floats, Ids]:
        """The best of what the codes lead to, compared with the stored rows."""
        kind = self.manifest.kind
        places = ann.candidates(self.codes, kind, query, ann.candidates_for(kind, k, level.spare), level.width, chosen)
        if len(query) == 1:  # the way of nearly all searches, with the fewest steps
            wanted = np.sort(places[places >= 0])
            similarity = self.file.at(wanted) @ query[0]
            order = np.argsort(-similarity, kind="stable")[:k]
            scores, ids = np.full((1, k), -1, np.float32), np.full((1, k), -1, np.int64)
            scores[0, : len(order)] = np.clip(similarity[order], -1, 1)
            ids[0, : len(order)] = self.ids[wanted[order]]
            return scores, ids
        wanted, where = np.unique(places, return_inverse=True)
        rows = self.file.at(np.maximum(wanted, 0))
        similarity = np.take_along_axis(query @ rows.T, where.reshape(places.shape), axis=1)
        similarity[places < 0] = -np.inf
        best = Best(len(query), k)
        best.add(similarity, self.ids[np.maximum(places, 0)])
        return best.result()

    def _scanned(self, query: Floats, k: int, chosen: NDArray[np.bool_] | None, count: int) -> tuple[Floats, Ids]:
        """Every row that may be answered, compared."""
        if count == 0:
            return best_rows(query, [], k)
        if chosen is not None and (count <= SCANNED_ROWS or DENSE * count <= len(self.ids)):
            places = np.flatnonzero(chosen)
            pieces = np.split(places, range(CHUNK_ROWS, count, CHUNK_ROWS))
            return best_rows(query, ((self.file.at(piece), self.ids[piece]) for piece in pieces), k)
        best = Best(len(query), k)
        for rows, places in self.file.blocks(min(block_rows(len(query)), CHUNK_ROWS)):
            if chosen is None:
                best.add(query @ rows.T, self.ids[places])
            elif (here := chosen[places]).any():
                best.add(query @ rows[here].T, self.ids[places[here]])
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
        _flush(folder)
        return final
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _write_rows(
    catalog: Catalog, scratch: Path, span: tuple[int, int], dim: int, options: IndexOptions, stop: Callable[[], None]
) -> None:
    held: list[NDArray[np.int64]] = []
    total = np.zeros(dim)
    with catalog.read() as db, open(scratch / ROWS, "wb") as file:
        seq = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'removed'").fetchone()
        found = db.execute("SELECT vector_id, vector FROM frames WHERE vector_id BETWEEN ? AND ?", span)
        while chunk := found.fetchmany(CHUNK_ROWS):
            stop()
            raw = b"".join([row[1] for row in chunk])
            file.write(raw)
            total += unpack_rows(raw, dim).sum(axis=0)
            held.append(np.array([row[0] for row in chunk], np.int64))
    ids = np.concatenate(held) if held else np.empty(0, np.int64)
    (scratch / IDS).write_bytes(ids.astype("<i8").tobytes())
    kind = kind_for(len(ids), dim, options)
    levels: list[ann.Level] = []
    if kind != "exact":
        levels = _write_codes(kind, RowFile(scratch / ROWS, len(ids), dim), dim, scratch / CODES, stop)
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
        {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(scratch.iterdir())},
    )
    (scratch / MANIFEST).write_text(json.dumps(asdict(manifest)))
    for path in (*scratch.iterdir(), scratch):
        _flush(path)


def _write_codes(kind: str, file: RowFile, dim: int, path: Path, stop: Callable[[], None]) -> list[ann.Level]:
    """Builds the approximate index and measures it."""

    def rows() -> Iterator[Block]:
        for block in file.blocks(CHUNK_ROWS):
            stop()
            yield block

    def some(count: int) -> Ids:
        return np.linspace(0, file.count - 1, min(count, file.count)).astype(np.int64)

    index = ann.build(kind, file.count, dim, file.at(some(ann.sample_rows(kind, file.count))), rows, stop)
    stop()
    ann.write(index, path)
    probes = some(ann.PROBES)
    return ann.measured(index, kind, file.at(probes), probes, rows)


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
        file = RowFile(folder / ROWS, manifest.rows, dim)
        if len(ids) != manifest.rows or manifest.files[ROWS][0] != 2 * dim * manifest.rows:
            raise Damaged("its files do not fit one another")
        codes, resident = None, None
        if manifest.kind == "exact":
            rows = np.concatenate([np.empty((0, dim), np.float32), *(block for block, _ in file.blocks(CHUNK_ROWS))])
            resident = Tail(rows, ids, np.ones(len(ids), np.bool_))
        else:
            codes = ann.read(folder / CODES)
        levels = tuple(ann.Level(**{**level, "recalls": tuple(level["recalls"])}) for level in manifest.levels)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Damaged(f"it cannot be read ({error})") from error
    segment = Segment(folder, manifest, ids, file, codes, levels, resident)
    _check_sample(segment, catalog)
    return segment


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


def _flush(path: Path) -> None:
    """path, a file or a folder, is on disk when this returns."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
