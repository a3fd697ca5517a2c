"""Embeddings for bulk readers: a JSON object a line, or an Arrow stream, as the Accept header asks. Knows no media."""

import base64
import io
from collections.abc import Iterator
from typing import Literal

import numpy as np
from fastapi.responses import Response
from numpy.typing import NDArray

from ..errors import InvalidRequest
from .schemas.embeddings import Embedding, Embeddings

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
Form = Literal["json", "ndjson", "arrow"]
CONTENT: dict[int | str, dict[str, object]] = {
    200: {
        "content": {
            NDJSON: {"schema": {"type": "string", "description": "a line each of `data`"}},
            ARROW: {"schema": {"type": "string", "format": "binary", "description": "a row each vector"}},
        }
    }
}


def requested_format(accept: str) -> Form:
    """The form that an Accept header asks for; JSON unless it names one of the others."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    return "ndjson" if NDJSON in kinds else "arrow" if ARROW in kinds else "json"


def render_embeddings(form: Form, answer: Embeddings) -> Response:
    """The answer in that form. Raises InvalidRequest for Arrow where pyarrow is not installed."""
    if form == "ndjson":
        lines = (row.model_dump_json(exclude_none=True) for row in answer.data)
        return Response("".join(f"{line}\n" for line in lines), media_type=NDJSON)
    if form == "arrow":
        return Response(_arrow(answer), media_type=ARROW)
    return Response(answer.model_dump_json(), media_type="application/json")


def _arrow(answer: Embeddings) -> bytes:
    """index int32, kind, start_seconds float64 (null for a whole file, else of a frame), embedding float32[D]."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InvalidRequest(
            "Arrow needs pyarrow, which this server lacks (pip install '.[parquet]'). Ask for JSON or NDJSON."
        ) from error
    rows = [row for one in answer.data for row in _vectors(one)]
    vectors = np.stack([vector for *_, vector in rows])
    table = pa.table(
        {
            "index": pa.array([row[0] for row in rows], pa.int32()),
            "kind": pa.array([row[1] for row in rows], pa.string()),
            "start_seconds": pa.array([row[2] for row in rows], pa.float64()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        }
    )
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _vectors(one: Embedding) -> Iterator[tuple[int, str, float | None, NDArray[np.float32]]]:
    yield one.index, one.kind, None, _array(one.embedding)
    for frame in one.frames or ():
        yield one.index, one.kind, frame.start_seconds, _array(frame.embedding)


def _array(embedding: list[float] | str) -> NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return np.asarray(embedding, np.float32)
