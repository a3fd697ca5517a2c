"""Exported vectors as Parquet, a row a frame, written and read a row group at a time. Needs pyarrow.

The item's facts stand beside each frame, its metadata as JSON text; `vicmae` in the schema's metadata is
exchange_rows.Contents's about, as JSON.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..catalog import Moments, Transaction, frame_columns, unpack_vectors
from .exchange_rows import CHUNK_ROWS, FACTS, FRAME, Contents, Facts, runs, split

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
def read(path: Path) -> Iterator[Contents]:
    """The file, a batch of rows at a time."""
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as held:
        yield json.loads((held.schema_arrow.metadata or {})[b"vicmae"]), _pieces(held)


def _pieces(held: Any) -> Iterator[tuple[Facts, Moments]]:
    for batch in held.iter_batches(CHUNK_ROWS):
        edges = runs(np.array(batch.column("id").to_pylist(), object))
        facts = batch.select([*FACTS, "metadata"]).take(pa.array(edges[:-1])).to_pylist()
        frame = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in FRAME if name != "vectors"}
        vectors = batch.column("vectors").flatten().to_numpy(zero_copy_only=False)
        frame["vectors"] = vectors.reshape(edges[-1], -1)
        yield from split(({**own, "metadata": json.loads(own["metadata"])} for own in facts), edges, frame)
