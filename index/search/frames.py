"""Answering a picture: hits of the whole of it are verified first, and where none of them is it, those of its parts."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.frames import Frames
from ...media.preprocess import to_pixels
from ...media.spec import InputSpec
from ..collection import Collection
from ..matching import not_verified
from .hypotheses import Hypothesis, hypotheses
from .moment import at_the_frame, elsewhere, nearest_stored
from .query import EmbeddedQuery
from .ranking import Hit, best_first
from .tools import Floats, Tools
from .verification import STRONG, Verifier, is_strong, refuted

CANDIDATES = 20  # hits that are looked at, at most
OF_THE_WHOLE = 8  # of them of the whole picture, where its parts are tried too
ALIKE = 0.9  # correlation from which two hits agree equally well: stored frames lie a little beside the query's
FILMS = 3  # verified ones of which the frames around are looked at too
OTHER_MOMENTS = 2  # of each film, that are looked at where nothing was verified
FIRST = 2  # hits of the whole picture that are looked at before its parts are tried

Picture = NDArray[np.uint8]  # (H, W, 3)
Find = Callable[[Floats, Sequence[Hypothesis]], list[Hit]]  # vectors (H, D), one a hypothesis -> hits, best first


def verified_frames(
    collection: Collection, hits: list[Hit], query: EmbeddedQuery, find: Find, tools: Tools
) -> list[Hit]:
    """hits of the whole picture, best first -> verified ones first, perhaps others than those; then the rest.

    As they were where the query has no picture. find: what other vectors find.
    """
    picture = _picture_of(query)
    if picture is None or not hits:
        return hits
    with Verifier(collection, picture, tools) as verifier:
        with tools.stage("verify_ms"):
            looked = verifier.look(hits[:FIRST])
        is_settled = query.item_id is not None or any(map(is_strong, looked))
        following = hits
        if not is_settled:
            parts = find(*_asked_as(picture, collection.spec, tools))
            following = best_first([*hits[:OF_THE_WHOLE], *parts])
        with tools.stage("verify_ms"):
            looked += verifier.look(_not_yet(following, looked)[: CANDIDATES - len(looked)], looked)
            if not any(hit.verified for hit in looked):
                others = [moment for hit in looked for moment in elsewhere(hit)[:OTHER_MOMENTS]]
                looked += verifier.look(others[:CANDIDATES])
            films = sorted((hit for hit in looked if hit.verified and hit.item.kind == "video"), key=_rank)[-FILMS:]
            looked += [nearest_stored(collection, hit, verifier) for hit in films]
            best, *others = assembled(hits, looked)
            if best.verified and best.item.kind == "video" and not verifier.is_over:
                best = at_the_frame(best, picture, tools)
    return [best, *others]


def _picture_of(query: EmbeddedQuery) -> Picture | None:
    """What is to be compared; None for a vector, for many frames, and for an item that cannot be read."""
    if query.picture is not None or query.picture_at is None or len(query.vectors) != 1:
        return query.picture
    try:
        return query.picture_at(float(query.seconds[0]))
    except (MediaError, NotFound, InvalidRequest):
        return None


def _asked_as(picture: Picture, spec: InputSpec, tools: Tools) -> tuple[Floats, list[Hypothesis]]:
    """The vectors (H, D) of all that a picture is asked as beside the whole of it, embedded in one batch."""
    with tools.stage("decode_ms"):
        others = hypotheses(picture)
        parts = [Frames(each.cut_from(picture)[None], np.zeros(1)) for each in others]
        pixels = np.concatenate([to_pixels(part, spec) for part in parts])
    (vectors,) = tools.embed([pixels])
    return vectors, others


def _not_yet(hits: Sequence[Hit], looked: Sequence[Hit]) -> list[Hit]:
    """Those of the hits that were not looked at in just this way."""
    known = {(hit.item.id, hit.start_seconds, hit.hypothesis) for hit in looked}
    return [hit for hit in hits if (hit.item.id, hit.start_seconds, hit.hypothesis) not in known]


def assembled(hits: Sequence[Hit], looked: Sequence[Hit]) -> list[Hit]:
    """What was verified, then the hits of the whole picture with what was seen of them; each the surest first."""
    told: dict[str, Hit] = {}
    for hit in looked:
        known = told.get(hit.item.id)
        if known is None or _rank(hit) > _rank(known):
            told[hit.item.id] = hit
    verified = sorted((hit for hit in told.values() if hit.verified), key=_rank, reverse=True)
    others = [hit for hit in hits if hit.item.id not in told or not told[hit.item.id].verified]
    seen = [refuted(hit) if _was_refuted(told.get(hit.item.id)) else hit for hit in others]
    return [*verified, *sorted(seen, key=_doubt)]


def _doubt(hit: Hit) -> float:
    """The surer the less; without a confidence as after a look that did not find it the same."""
    return -(not_verified(None) if hit.confidence is None else hit.confidence)


def _rank(hit: Hit) -> tuple[float, float, int, float]:
    """The surer a verified hit the higher; of equally sure ones that agree as well, the larger file."""
    found = hit.verification
    if not hit.verified or found is None:
        return -1.0 if hit.verified is None else 0.0, 0.0, 0, hit.score
    pixels = hit.item.width * hit.item.height
    return min(hit.confidence or 0.0, STRONG), round(min(found.correlation, ALIKE), 1), pixels, found.correlation


def _was_refuted(hit: Hit | None) -> bool:
    return hit is not None and hit.verified is False
