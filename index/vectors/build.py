"""Builds a sealed segment of the catalog's vectors with ids in a span.

A folder is made aside, flushed to disk and renamed: what has a segment's name is whole or damaged, never half made.
"""

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..atomic import flush
from ..catalog import (
    Catalog,
    Transaction,
    count_between,
    halves,
    unpack_rows,
    vectors_between,
    vectors_with_ids,
    version,
)
from . import ivf
from .plan import IndexOptions
from .segment import FORMAT, MANIFEST, VECTORS, Manifest, identity_of
from .topk import Floats

BUILDING = ".making-"  # begins the name of a folder that is no segment yet


def make_segment(
    catalog: Catalog, folder: Path, span: tuple[int, int], dim: int, options: IndexOptions, stop: Callable[[], None]
) -> Path:
    """Writes the segment of the catalog's vectors with ids in span (first, last), and gives its folder.

    Takes as much memory as the segment has bytes. stop is called between pieces of work and raises to end them.
    Raises OSError when the disk refuses, StorageError when the catalog cannot be read; nothing is left then.
    """
    scratch = folder / f"{BUILDING}{secrets.token_hex(4)}"
    scratch.mkdir(parents=True)
    try:
        _write(catalog, scratch, span, dim, options, stop)
        final = folder / f"seg-{span[0]}-{span[1]}-{secrets.token_hex(4)}"
        scratch.rename(final)
        flush(folder)
        return final
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _write(
    catalog: Catalog, scratch: Path, span: tuple[int, int], dim: int, options: IndexOptions, stop: Callable[[], None]
) -> None:
    with catalog.read() as db:
        removals = version(db).removals
        rows = count_between(db, span)
        lists = ivf.lists_for(rows, options.kind)
        sample = _sample(db, span, rows, ivf.sample_rows(lists), dim)
        stop()
        index = ivf.empty_index(dim, lists, sample)
        total = np.zeros(dim)
        for ids, raw in vectors_between(db, span):
            stop()
            total += unpack_rows(raw, dim).sum(axis=0, dtype=np.float64)
            ivf.use_threads(len(ids))
            index.add_with_ids(halves(raw).reshape(-1, dim), ids - span[0])
    width, recall = ivf.chosen_width(index, sample[: ivf.PROBES], options.min_recall, stop) if lists > 1 else (1, 1.0)
    size_bytes, crc32 = ivf.write(index, scratch / VECTORS)
    mean = total / max(index.ntotal, 1)
    about = identity_of(catalog), dim, *span, index.ntotal, removals
    manifest = Manifest(FORMAT, *about, lists, width, recall, mean.tolist(), size_bytes, crc32)
    (scratch / MANIFEST).write_text(json.dumps(asdict(manifest)))
    for path in (*scratch.iterdir(), scratch):
        flush(path)


def _sample(db: Transaction, span: tuple[int, int], rows: int, count: int, dim: int) -> Floats:
    """About so many (S, D) float32 of the vectors of the span, whose ids have gaps; by chance, but always the same."""
    chance, size = np.random.default_rng(0), span[1] - span[0] + 1
    ids = np.sort(chance.permutation(size)[: count * size // max(rows, 1)]) + span[0]
    pieces = [halves(raw).reshape(-1, dim) for _, raw in vectors_with_ids(db, ids)]
    return np.asarray(chance.permutation(np.concatenate([np.empty((0, dim), np.float32), *pieces])))
