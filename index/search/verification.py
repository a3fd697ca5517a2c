"""Verification of a picture's hits: is it the same picture, and where in both?

Vectors find what looks alike; local features and a registration say what is the same picture (matching/geometry.py).
Looked at are stored pictures, the likeliest first, in a few threads and within a time budget; what could not be looked
at stays as it was found and says so.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ..collection import Collection
from ..matching import (
    Features,
    Quad,
    Verification,
    is_same_picture,
    not_verified,
    of_verified,
    query_features_of,
    verify,
)
from .hypotheses import Hypothesis
from .ranking import Hit
from .regions import WHOLE, Region
from .shown import features_at
from .tools import Tools

AT_ONCE = 2  # threads; OpenCV works outside the interpreter's lock
LEAST_INLIERS = 6  # with 4 and 5 points, 3 of 90 strangers were taken for a picture of 4,398 items
STRONG = 0.95  # confidence of a verified hit, from which nothing better is looked for
FULL: Quad = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
IDENTICAL = Verification(np.eye(3), False, 0, 1.0, 1.0, 0.0, 1.0, (), FULL, FULL)


class Verifier:
    """Looks at hits of one picture. Its time budget begins when it is made."""

    def __init__(self, collection: Collection, picture: NDArray[np.uint8], tools: Tools) -> None:
        """picture (H, W, 3), the whole query."""
        self._collection = collection
        self._tools = tools
        self._ends = monotonic() + tools.verify_budget_seconds
        self._pool = ThreadPoolExecutor(AT_ONCE, "verify")
        self._features: Callable[[Region], Features] = cache(
            lambda region: query_features_of(Hypothesis(region).cut_from(picture))
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def is_over(self) -> bool:
        """Whether the time budget is used up."""
        return monotonic() > self._ends

    def look(self, hits: Sequence[Hit], before: Sequence[Hit] = ()) -> list[Hit]:
        """hits, best first -> those of them that were looked at, or are known to be the same picture anyway.

        After a strong one, also of those looked at before, only those are looked at that score about as well.
        """
        told: list[Hit] = []
        for first in range(0, len(hits), AT_ONCE):
            if self.is_over or self._is_enough([*before, *told], hits[first]):
                break
            told += self.look_at_all(hits[first : first + AT_ONCE])
        return told

    def look_at_all(self, hits: Sequence[Hit]) -> list[Hit]:
        """The same hits, each as its stored picture tells it."""
        self._features(WHOLE)  # all threads need it at once
        return list(self._pool.map(self._looked_at, hits))

    def _looked_at(self, hit: Hit) -> Hit:
        """The part of the query that found it is compared with the stored picture, and the whole query."""
        if hit.verified:
            return hit
        stored = features_at(self._collection, hit.item, hit.start_seconds, self._tools)
        if stored is None:
            return hit
        for region in dict.fromkeys((hit.hypothesis.region, WHOLE)):
            found = verify(self._features(region), stored)
            if is_found(found):
                return _told(hit, of_verified(found), True, in_whole(found, region))
        return refuted(hit)

    def _is_enough(self, told: Sequence[Hit], following: Hit) -> bool:
        strong = [hit.score for hit in told if is_strong(hit)]
        return bool(strong) and following.score < max(strong) - self._tools.calibration.rerank_tie


def is_found(found: Verification | None) -> TypeGuard[Verification]:
    """Whether a search takes it for the same picture: a search compares so many that the fewest points do not do."""
    return found is not None and found.inliers >= LEAST_INLIERS and is_same_picture(found)


def is_strong(hit: Hit) -> bool:
    """Whether it is verified so well that nothing better is looked for."""
    return hit.verified is True and (hit.confidence or 0.0) >= STRONG


def identical(hit: Hit) -> Hit:
    """The hit as one of the very bytes that are looked for: certain, whatever else is seen."""
    return _told(hit, 1.0, True, IDENTICAL)


def refuted(hit: Hit) -> Hit:
    """The hit, after no registration said that it is the same picture."""
    return _told(hit, not_verified(hit.confidence), False, None)


def in_whole(found: Verification, region: Region) -> Verification:
    """What was found of a region of the query, told in shares of the whole query."""
    if region == WHOLE:
        return found
    wide, high = region.right - region.left, region.bottom - region.top
    to_region = np.array([(1 / wide, 0, -region.left / wide), (0, 1 / high, -region.top / high), (0, 0, 1)])
    place: Quad = tuple((region.left + x * wide, region.top + y * high) for x, y in found.query_region)
    return replace(
        found, transform=found.transform @ to_region, coverage=found.coverage * wide * high, query_region=place
    )


def _told(hit: Hit, confidence: float, verified: bool, found: Verification | None) -> Hit:
    best, *others = hit.segments
    mirrored = found is not None and found.mirrored
    segments = [replace(best, confidence=confidence, mirrored=mirrored, verified=verified), *others]
    return replace(hit, segments=segments, confidence=confidence, verified=verified, verification=found)
