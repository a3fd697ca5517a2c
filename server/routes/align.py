"""POST /v1/collections/{c}/align: which stretches do two items share? By stored vectors and a few frames."""

from time import perf_counter

from anyio import to_thread
from fastapi import APIRouter

from ...index.search import Tools, align_items
from ..dependencies import ServicesDependency
from ..schemas.search import AlignAnswer, AlignRequest, Segment

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"])


@router.post("/align")
async def align(name: str, body: AlignRequest, services: ServicesDependency) -> AlignAnswer:
    """From when to when each of two items shows what the other shows: several stretches, both sides' times."""
    return await to_thread.run_sync(align_now, name, body, services)


def align_now(name: str, body: AlignRequest, services: ServicesDependency) -> AlignAnswer:
    began = perf_counter()
    collection = services.library.open(name)
    calibration = services.engine.calibration_of(collection.fingerprint)
    segments = align_items(
        collection,
        body.a,
        body.b,
        (body.a_start_seconds, body.a_end_seconds),
        (body.b_start_seconds, body.b_end_seconds),
        Tools(limits=services.limits, decoder=services.decoder, calibration=calibration),
    )
    schemas = [Segment.model_validate(segment, from_attributes=True) for segment in segments]
    return AlignAnswer(a=body.a, b=body.b, segments=schemas, timing={"index_ms": 1000 * (perf_counter() - began)})
