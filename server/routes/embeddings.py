"""POST /v1/embeddings (OpenAI's shape) and /v1/embeddings/upload: media in, vectors out, nothing stored."""

import base64
from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.routing import Route

from ...errors import InvalidRequest, NotFound
from ...media.reader import Source
from ..embedding_formats import CONTENT, render_embeddings, requested_format
from ..inference.pipeline import Embedded
from ..inference.request_context import RequestContext
from ..media_input.data_urls import media_bytes
from ..media_input.multipart import read_form
from ..schemas.base import Timing
from ..schemas.embeddings import (
    Embedding,
    Embeddings,
    EmbeddingsRequest,
    EmbeddingsUsage,
    EncodingFormat,
    FrameEmbedding,
)
from ..services import Here, Services, opened, run_in_pipeline

router = APIRouter(prefix="/v1/embeddings", tags=["embeddings"])

Accept = Annotated[str, Header(include_in_schema=False)]

UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                    "model": {"type": "string"},
                    "encoding_format": {"type": "string", "enum": ["float", "base64"]},
                    "frames": {"type": "boolean", "description": "also give each frame's vector and second"},
                },
            }
        }
    },
}
FRAMES = {
    "name": "frames",
    "in": "query",
    "schema": {"type": "boolean", "default": False},
    "description": "also give each frame's vector and second",
}


@router.post("", response_model=Embeddings, responses=CONTENT)
async def embeddings(wish: EmbeddingsRequest, request: Request, here: Here, accept: Accept = "") -> Response:
    """Pictures and short clips as data URLs (or addresses, from hosts the server may fetch from) -> one vector each."""
    check_model(here, wish.model)
    dim = here.engine.spec.dim
    if wish.dimensions not in (None, dim):
        raise InvalidRequest(f"This model gives vectors of {dim} dimensions, not {wish.dimensions}.")
    inputs = wish.input if isinstance(wish.input, list) else [wish.input]
    if not 1 <= len(inputs) <= here.settings.max_batch_inputs:
        raise InvalidRequest(f"input holds {len(inputs)} entries; 1 to {here.settings.max_batch_inputs} fit.")
    inputs = await here.fetcher.fill_in(inputs)

    def work(context: RequestContext) -> Embeddings:
        sources = (media_bytes(value, f"input[{i}]") for i, value in enumerate(inputs))
        return embed(here, sources, wish.encoding_format, False, context)

    return render_embeddings(requested_format(accept), await run_in_pipeline(here, request, work))


@router.post(
    "/upload",
    response_model=Embeddings,
    responses=CONTENT,
    openapi_extra={"requestBody": UPLOAD_BODY, "parameters": [FRAMES]},
)
async def embeddings_upload(request: Request) -> Response:
    """Files of the multipart field `file` -> one vector each, with `frames=true` one a sampled frame too."""
    here = opened(request)
    async with read_form(request, here.incoming, here.settings.max_batch_inputs, keeps=False) as form:
        form.only("model", "encoding_format", "frames")
        check_model(here, form.fields.get("model"))
        encoding = encoding_of(form.fields.get("encoding_format", "float"))
        wanted = flag_of("frames", form.fields.get("frames", request.query_params.get("frames", "")))
        sources = [upload.source for upload in form.files]
        if not sources:
            raise InvalidRequest("Expected at least one file in the multipart field 'file', got none.")
        answer = await run_in_pipeline(here, request, lambda context: embed(here, sources, encoding, wanted, context))
        return render_embeddings(requested_format(request.headers.get("accept", "")), answer)


# What is asked most is asked without FastAPI's own way to a function, which costs more than all else of it together.
UPLOAD_ROUTE = Route("/v1/embeddings/upload", embeddings_upload, methods=["POST"])


def embed(
    here: Services, sources: Iterable[Source], encoding: EncodingFormat, with_frames: bool, context: RequestContext
) -> Embeddings:
    """The answer for these sources, in order. Runs inside a trip."""
    data: list[Embedding] = []
    images = frames = 0
    for index, embedded in enumerate(here.pipeline.embed_many(sources, context)):
        images += embedded.info.kind == "image"
        frames += len(embedded.vectors)
        data.append(
            Embedding(
                index=index,
                embedding=encoded(embedded.clip, encoding),
                kind=embedded.info.kind,
                frames=frame_embeddings(embedded, encoding) if with_frames else None,
            )
        )
    return Embeddings(
        data=data,
        model=here.engine.name,
        usage=EmbeddingsUsage(images=images, frames=frames),
        timing=Timing(**context.timing),
    )


def frame_embeddings(embedded: Embedded, encoding: EncodingFormat) -> list[FrameEmbedding]:
    return [
        FrameEmbedding(start_seconds=float(second), embedding=encoded(vector, encoding))
        for second, vector in zip(embedded.seconds, embedded.vectors, strict=True)
    ]


def encoded(vector: NDArray[np.float32], encoding: EncodingFormat) -> list[float] | str:
    """(D,) float32 -> numbers, or base64 of little-endian float32 as OpenAI's clients expect it."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def check_model(here: Services, name: str | None) -> None:
    """NotFound unless `name` is the served model, or none."""
    if name is not None and name != here.engine.name:
        raise NotFound(f"The model {name!r} is not served here; this server runs {here.engine.name!r}.")


def encoding_of(text: str) -> EncodingFormat:
    if text not in ("float", "base64"):
        raise InvalidRequest(f"encoding_format must be float or base64, got {text!r}.")
    return "base64" if text == "base64" else "float"


def flag_of(name: str, text: str) -> bool:
    """A form field that says yes or no."""
    words: Sequence[tuple[str, ...]] = (("false", "0", "no", ""), ("true", "1", "yes", "on"))
    for value, spellings in enumerate(words):
        if text.strip().lower() in spellings:
            return bool(value)
    raise InvalidRequest(f"{name} must be true or false, got {text!r}.")
