"""The page, the health checks and the model: what the server says about itself."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from ..dependencies import ServicesDependency
from ..observability.metrics import CONTENT_TYPE
from ..problems import of_status, respond
from ..schemas.models import Model, Models

router = APIRouter()

PAGE = Path(__file__).parent.parent / "page"
DOCS = Path(fastapi_offline.__file__).parent / "static"  # Swagger UI, which FastAPI's own page would fetch from afar

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/", include_in_schema=False)
def page(request: Request) -> FileResponse:
    """The web app."""
    return FileResponse(
        PAGE / "index.html",
        headers={"content-security-policy": PAGE_POLICY, "cache-control": "no-cache"},
    )


# Swagger UI writes its own styles and draws with data URLs.
DOCS_POLICY = PAGE_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


@router.get("/docs", include_in_schema=False)
def docs() -> FileResponse:
    """The API's description, to read and to try."""
    headers = {"content-security-policy": DOCS_POLICY, "cache-control": "no-cache"}
    return FileResponse(PAGE / "docs.html", headers=headers)


@router.get("/livez", tags=["health"])
def livez() -> JSONResponse:
    """200 as long as the process answers."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", tags=["health"])
def readyz(request: Request) -> Response:
    """200 when the model is warm and jobs are being worked on; 503 before, while shutting down, and while the engine
    gives other vectors than the trained model."""
    state = request.app.state
    if not state.ready:
        return respond(of_status(503, "The server is starting or stopping.", {"retry-after": "2"}), request.scope)
    if state.services.is_working():
        return JSONResponse({"status": "ready"})
    why = "The engine or the job worker does not work as it should; the server's log says more. Restart the server."
    return respond(of_status(503, why), request.scope)


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
def metrics(services: ServicesDependency) -> Response:
    """What runs and how faithfully, in Prometheus' text format."""
    return Response(services.metrics.text(), media_type=CONTENT_TYPE)


@router.get("/v1/models", tags=["embeddings"])
def models(services: ServicesDependency) -> Models:
    """The one model that runs, in OpenAI's list shape."""
    engine = services.engine
    model = Model(
        id=engine.name,
        fingerprint=engine.fingerprint,
        dim=engine.spec.dim,
        size=engine.spec.size,
        runtime=engine.runtime,
        device=engine.device,
        precision=engine.precision,
        explains=engine.gives_patches,
    )
    return Models(data=[model])
