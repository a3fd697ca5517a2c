"""Exported vectors as Parquet, a row a frame, written and read a row group at a time. Needs pyarrow.

The item's facts stand beside each frame, its metadata as JSON text; `vicmae` in the schema's metadata is
exchange_rows.Read's about, as JSON.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..catalog import Transaction, frame_columns, unpack_vectors
from .exchange_rows import CHUNK_ROWS, FACTS, Facts, Frames, Read

KINDS = {
    "size_bytes": pa.int64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "duration_seconds": pa.float64(),
    "frames_per_second": pa.float64(),
    "start_seconds": pa.float64(),
    "end_seconds": pa.float64(),
    "informative": pa.float32(),
}
COLUMNS = (*FACTS, "metadata", "start_seconds", "end_seconds", "informative")


def write(db: Transaction, about: dict[str, Any], file: BinaryIO) -> None:
    """Row group by row group, in the order of the vectors."""
    dim = about["spec"]["dim"]
    fields = [(name, KINDS.get(name, pa.string())) for name in COLUMNS]
    schema = pa.schema([*fields, ("vectors", pa.list_(pa.float32(), dim))], {"vicmae": json.dumps(about)})
    with pq.ParquetWriter(file, schema) as writer:
        for chunk in frame_columns(db, (*COLUMNS, "vector")):
            *columns, blobs = zip(*chunk, strict=True)
            arrays = [pa.array(values, kind) for values, (_, kind) in zip(columns, fields, strict=True)]
            flat = pa.array(unpack_vectors(list(blobs), dim).reshape(-1))
            writer.write_batch(pa.record_batch([*arrays, pa.FixedSizeListArray.from_arrays(flat, dim)], schema=schema))


@contextmanager
def read(path: Path) -> Iterator[Read]:
    """The file, a batch of rows at a time."""
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as held:
        about = json.loads((held.schema_arrow.metadata or {})[b"vicmae"])
        yield Read(about, _pieces(held))


def _pieces(held: Any) -> Iterator[tuple[Facts, Frames]]:
    for batch in held.iter_batches(CHUNK_ROWS):
        ids = np.array(batch.column("id").to_pylist(), object)
        edges = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
        facts = batch.select([*FACTS, "metadata"]).take(pa.array(edges[:-1])).to_pylist()
        starts, ends, informative = (
            batch.column(name).to_numpy(zero_copy_only=False)
            for name in ("start_seconds", "end_seconds", "informative")
        )
        flat = batch.column("vectors").flatten().to_numpy(zero_copy_only=False)
        vectors = flat.astype(np.float32).reshape(len(ids), -1)
        for own, first, last in zip(facts, edges, edges[1:], strict=False):
            part = slice(first, last)
            frames = Frames(
                starts[part].astype(np.float64),
                ends[part].astype(np.float64),
                informative[part].astype(np.float32),
                vectors[part],
            )
            yield {**own, "metadata": json.loads(own["metadata"])}, frames
