"""POST /v1/embeddings (OpenAI's shape) and /v1/embeddings/upload: media in, vectors out, nothing stored."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.routing import Route

from ...errors import InvalidRequest, NotFound, naming
from ...media.reader import Source
from ..dependencies import ServicesDependency, get_services, run_in_pipeline
from ..embedding_formats import CONTENT, render_embeddings, requested_format
from ..inference.pipeline import Embedded
from ..inference.request_context import RequestContext
from ..media_input.data_urls import media_bytes
from ..media_input.multipart import read_form
from ..openapi import FILE, form_body
from ..schemas.base import Timing
from ..schemas.embeddings import (
    Embedding,
    Embeddings,
    EmbeddingsRequest,
    EmbeddingsUsage,
    EncodingFormat,
    FrameEmbedding,
)
from ..services import Services

router = APIRouter(prefix="/v1/embeddings", tags=["embeddings"])

Accept = Annotated[str, Header(include_in_schema=False)]

WITH_FRAMES = "also give each frame's vector and second"
UPLOAD_BODY = form_body(
    required=["file"],
    file={"type": "array", "items": FILE},
    model={"type": "string"},
    encoding_format={"type": "string", "enum": ["float", "base64"]},
    frames={"type": "boolean", "description": WITH_FRAMES},
)
FRAMES = {
    "name": "frames",
    "in": "query",
    "schema": {"type": "boolean", "default": False},
    "description": WITH_FRAMES,
}


@router.post("", response_model=Embeddings, responses=CONTENT)
async def embeddings(
    body: EmbeddingsRequest, request: Request, services: ServicesDependency, accept: Accept = ""
) -> Response:
    """Pictures and short clips as data URLs (or addresses, from hosts the server may fetch from) -> one vector each."""
    check_model(services, body.model)
    dim = services.engine.spec.dim
    if body.dimensions not in (None, dim):
        raise InvalidRequest(f"This model gives vectors of {dim} dimensions, not {body.dimensions}.")
    inputs = body.input if isinstance(body.input, list) else [body.input]
    if not 1 <= len(inputs) <= services.settings.max_batch_inputs:
        raise InvalidRequest(f"input holds {len(inputs)} entries; 1 to {services.settings.max_batch_inputs} fit.")
    fields = await services.fetcher.fill_in({f"input[{i}]": value for i, value in enumerate(inputs)})

    def work(context: RequestContext) -> Embeddings:
        return embed(services, decoded(fields), body.encoding_format, False, context)

    return render_embeddings(requested_format(accept), await run_in_pipeline(services, request, work))


@router.post(
    "/upload",
    response_model=Embeddings,
    responses=CONTENT,
    openapi_extra={"requestBody": UPLOAD_BODY, "parameters": [FRAMES]},
)
async def embeddings_upload(request: Request) -> Response:
    """Files of the multipart field `file` -> one vector each, with `frames=true` one a sampled frame too."""
    services = get_services(request)
    async with read_form(request, services.incoming, services.settings.max_batch_inputs, keeps=False) as form:
        form.only("model", "encoding_format", "frames")
        check_model(services, form.fields.get("model"))
        encoding = encoding_of(form.fields.get("encoding_format", "float"))
        wanted = flag_of("frames", form.fields.get("frames", request.query_params.get("frames", "")))
        sources = [(f"file[{i}]", upload.source) for i, upload in enumerate(form.files)]
        if not sources:
            raise InvalidRequest("Expected at least one file in the multipart field 'file', got none.")
        answer = await run_in_pipeline(
            services, request, lambda context: embed(services, sources, encoding, wanted, context)
        )
        return render_embeddings(requested_format(request.headers.get("accept", "")), answer)


# The busiest route does without FastAPI's own dispatch, which costs more than the rest of the framework together.
UPLOAD_ROUTE = Route("/v1/embeddings/upload", embeddings_upload, methods=["POST"])


def decoded(fields: Mapping[str, Any]) -> Iterator[tuple[str, Source]]:
    """The bytes of each field, by its name. Raises InvalidRequest, which names the field."""
    for field, value in fields.items():
        with naming(field):
            source = media_bytes(value)
        yield field, source


def embed(
    services: Services,
    sources: Iterable[tuple[str, Source]],
    encoding: EncodingFormat,
    with_frames: bool,
    context: RequestContext,
) -> Embeddings:
    """The answer for these sources, each with its field's name, in order. Runs in the pipeline."""
    data: list[Embedding] = []
    images = frames = 0
    for index, embedded in enumerate(services.pipeline.embed_many(sources, context)):
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
        model=services.engine.name,
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


def check_model(services: Services, name: str | None) -> None:
    """NotFound unless `name` is the served model, or none."""
    if name is not None and name != services.engine.name:
        raise NotFound(f"The model {name!r} is not served here; this server runs {services.engine.name!r}.")


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
