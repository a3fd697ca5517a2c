"""POST /v1/collections/{c}/align: which stretches do two items share? By stored vectors and a few frames."""

from time import perf_counter

from anyio import to_thread
from fastapi import APIRouter

from ...index.search.pairwise import align_items
from ..schemas.search import AlignAnswer, AlignRequest, Segment
from ..services import Here

router = APIRouter(prefix="/v1/collections/{name}", tags=["search"])


@router.post("/align")
async def align(name: str, wish: AlignRequest, here: Here) -> AlignAnswer:
    """From when to when each of two items shows what the other shows: several stretches, both sides' times."""
    return await to_thread.run_sync(aligned, name, wish, here)


def aligned(name: str, wish: AlignRequest, here: Here) -> AlignAnswer:
    began = perf_counter()
    segments = align_items(
        here.library.open(name),
        wish.a,
        wish.b,
        (wish.a_start_seconds, wish.a_end_seconds),
        (wish.b_start_seconds, wish.b_end_seconds),
        here.limits,
        here.decoder,
    )
    shown = [Segment.model_validate(segment, from_attributes=True) for segment in segments]
    return AlignAnswer(a=wish.a, b=wish.b, segments=shown, timing={"index_ms": 1000 * (perf_counter() - began)})
