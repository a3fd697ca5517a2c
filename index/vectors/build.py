"""Makes a sealed segment of the catalog's vectors with ids in a span: its files, its codes, and what they promise.

A folder is made aside, flushed to disk and renamed, so that a name that looks like a segment is whole or damaged, never
half made. Opening and searching it is segment.py's.
"""

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..atomic import flush
from ..catalog.database import Catalog
from ..catalog.frames import vectors_between, version
from ..catalog.packing import unpack_rows
from . import ann
from .exact import Block, Floats, Ids
from .narrow import Reach, measured_reaches
from .plan import IndexOptions
from .rows import CHUNK_ROWS, RowFile, write_reordered, write_rows
from .segment import CODES, FACTORS, FORMAT, IDS, MANIFEST, ROWS, SKETCH, Manifest, checksum, identity_of
from .sketch import SAMPLE_ROWS, read_sketch, write_sketch

MAKING = ".making-"
BY_ID = "by-id.f16"  # the rows while the order in which they will lie is not known
EXACT_ROWS = 10_000  # up to here a scan of all rows in memory is quick enough
LEAST_ROWS = 1_000  # an approximate index of fewer is not worth having
SLOW_MICROSECONDS = 200.0  # a search by an ivf, above which a graph is built instead
GRAPH_BYTES = 150  # of a row, beside its numbers


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
        removals = version(db).removals

        def pieces() -> Iterator[bytes]:
            for ids, raw in vectors_between(db, span):
                stop()
                total[:] += unpack_rows(raw, dim).sum(axis=0)
                held.append(ids)
                yield raw

        factors = write_rows(scratch / BY_ID, dim, pieces())
    ids = np.concatenate(held) if held else np.empty(0, np.int64)
    mean = total / max(len(ids), 1)
    by_id = RowFile(scratch / BY_ID, len(ids), dim, factors)
    kind = kind_for(len(ids), dim, options)
    order, levels, reaches = np.arange(len(ids)), list[ann.Level](), list[Reach]()
    if kind == "exact":
        (scratch / BY_ID).rename(scratch / ROWS)
    else:
        order, levels, reaches = _write_codes(kind, by_id, mean, scratch, stop)
        if options.kind == "auto" and _graph_is_worth_it(levels, len(ids), dim, options):
            kind = "hnsw"
            order, levels, reaches = _write_codes(kind, by_id, mean, scratch, stop)
        (scratch / BY_ID).unlink()
    (scratch / FACTORS).write_bytes(factors[order].astype("<f4").tobytes())
    (scratch / IDS).write_bytes(ids[order].astype("<i8").tobytes())
    manifest = Manifest(
        FORMAT,
        identity_of(catalog),
        dim,
        *span,
        len(ids),
        removals,
        kind,
        mean.tolist(),
        [asdict(level) for level in levels],
        [asdict(reach) for reach in reaches],
        {path.name: [path.stat().st_size, checksum(path)] for path in sorted(scratch.iterdir())},
    )
    (scratch / MANIFEST).write_text(json.dumps(asdict(manifest)))
    for path in (*scratch.iterdir(), scratch):
        flush(path)


def _write_codes(
    kind: str, by_id: RowFile, mean: NDArray[np.float64], scratch: Path, stop: Callable[[], None]
) -> tuple[Ids, list[ann.Level], list[Reach]]:
    """Writes the approximate index and the rows in its order, and measures it; gives which row of by_id is the i-th."""

    def rows(file: RowFile) -> Iterator[Block]:
        for block in file.blocks(CHUNK_ROWS):
            stop()
            yield block

    shuffled = np.random.default_rng(0).permutation(by_id.count)
    asked = np.sort(shuffled[: min(ann.PROBES, by_id.count // 2)])  # not among those that teach the lists
    taught = np.sort(shuffled[len(asked) :][: ann.sample_rows(kind, by_id.count)])
    centre = mean.astype(np.float32)
    codes = ann.build(kind, by_id.count, centre, by_id.at(taught), lambda: rows(by_id), stop)
    order = ann.in_order(codes)
    ann.write(codes, scratch / CODES)
    write_reordered(scratch / ROWS, by_id, order)
    file = RowFile(scratch / ROWS, by_id.count, len(mean), by_id.factors[order])
    probes = _probes(by_id, asked, lambda: rows(by_id))
    true = ann.true_places(probes, lambda: rows(file))
    levels = ann.measured(codes, probes, true, stop)
    write_sketch(scratch / SKETCH, by_id.at(np.sort(shuffled[:SAMPLE_ROWS])), rows(file))
    return order, levels, measured_reaches(read_sketch(scratch / SKETCH), file.count, probes, true, stop)


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
