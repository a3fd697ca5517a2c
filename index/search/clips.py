"""Verification of a clip's stretches: do both sides show the same pictures, at the same time, and from when to when?

Two scenes of one place are alike to an encoder, and takes of one scene even agree in most of their pictures. So a few
moments of a stretch are registered (matching/geometry.py), and where things move they must move alike.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ..catalog import Item
from ..collection import Collection
from ..matching import (
    SURE,
    Features,
    Segment,
    Verification,
    features_of,
    motion_of,
    of_looks,
    query_features_of,
    verify,
)
from .film_frames import frames_like
from .query import EmbeddedQuery, PictureAt
from .ranking import Hit, highest_of
from .shown import features_at
from .tools import Tools
from .verification import is_found

MAX_STRETCHES = 6  # of all hits together, the likeliest first
LEAST_CHANCE = 0.1  # by vectors, below which no stretch is looked at once one is sure
FIRST_PLACES = (0.3, 0.7)  # where in a stretch is looked, as shares of it; where neither holds, nowhere else
PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)
CLEAR = 0.1  # residual of a frame beside which no other is looked at
LEAST_HELD = 0.5  # of the places that could be looked at
TRIM_SECONDS = 0.5  # to which the ends of a stretch are found, where it does not hold to its ends
AT_ONCE = 2


@dataclass(frozen=True)
class Look:
    """One place of a stretch: what the query and the item show there, and how they lie on each other.

    found  None where no registration says that it is the same picture
    """

    query: Features
    stored: Features
    found: Verification | None

    @property
    def inliers(self) -> int:
        return 0 if self.found is None else self.found.inliers


def verified_clips(collection: Collection, hits: list[Hit], query: EmbeddedQuery, tools: Tools) -> list[Hit]:
    """hits of a clip, best first -> the same hits, those that are surely right first.

    As they were where the query has no pictures. Only the likeliest stretches are looked at, within the time budget.
    """
    if query.picture_at is None:
        return hits
    ends = monotonic() + tools.verify_budget_seconds
    looks = Looks(collection, query.picture_at, query.seconds, tools)
    segments: dict[tuple[int, int], Segment] = {}
    likeliest = _likeliest(hits)
    with tools.stage("verify_ms"), ThreadPoolExecutor(AT_ONCE, "look") as pool:
        for first in range(0, len(likeliest), AT_ONCE):
            part = likeliest[first : first + AT_ONCE]
            before = [hits[i].segments[j] for i, j in part]
            is_enough = max(s.confidence or 0.0 for s in before) < LEAST_CHANCE and any(
                map(_is_sure, segments.values())
            )
            if is_enough or monotonic() > ends:
                break
            told = pool.map(looks.verified, [hits[i].item for i, _ in part], before)
            segments |= zip(part, told, strict=True)
    return surest_first(
        [
            of_its_best(replace(hit, segments=[segments.get((i, j), s) for j, s in enumerate(hit.segments)]))
            for i, hit in enumerate(hits)
        ]
    )


class Looks:
    """Looks at stretches that share a query; its pictures are decoded and described once."""

    def __init__(
        self, collection: Collection, picture_at: PictureAt, seconds: NDArray[np.float64], tools: Tools
    ) -> None:
        """seconds (T,): when the query's frames are shown, of which picture_at gives the pictures."""
        self._collection = collection
        self._picture_at = picture_at
        self._tools = tools
        self._seconds = seconds
        self._query_at: Callable[[float], Features] = cache(lambda second: query_features_of(picture_at(second)))

    def verified(self, item: Item, segment: Segment) -> Segment:
        """The segment as the pictures of both sides tell it; as it was where they cannot be read."""
        looks = self._at_all(item, segment, FIRST_PLACES, around=False)
        if _is_sure(segment) or any(look.found is not None for look in looks.values()):
            looks = self._at_all(item, segment, PLACES, around=True)
        if not looks:
            return segment
        held = [(look.query, look.stored, look.found) for look in looks.values() if look.found is not None]
        found = [each for _, _, each in held]
        if len(held) < LEAST_HELD * len(looks):
            return replace(segment, confidence=of_looks(segment.confidence, [], None), verified=False)
        return replace(
            self._trimmed(item, segment, {share: look.found is not None for share, look in looks.items()}),
            confidence=of_looks(segment.confidence, found, motion_of(held)),
            mirrored=2 * sum(each.mirrored for each in found) > len(found),
            verified=True,
        )

    def _at_all(self, item: Item, segment: Segment, shares: Sequence[float], around: bool) -> dict[float, Look]:
        """By share of the segment, where both sides can be read."""
        looks = {share: self._at(item, segment, share, around) for share in shares}
        return {share: look for share, look in looks.items() if look is not None}

    def _at(self, item: Item, segment: Segment, share: float, around: bool = True) -> Look | None:
        """What both sides show at about this share of the segment; None where one of them cannot be read.

        around: whether the item's frames beside the nearest one are looked at too, where that is not clearly the same;
        and, where vectors are sure and none of those is, the film's own frames: much may move in half a second
        """
        wanted = segment.query_start_seconds + share * (segment.query_end_seconds - segment.query_start_seconds)
        second = float(self._seconds[np.abs(self._seconds - wanted).argmin()])
        try:
            query = self._query_at(second)
        except (MediaError, NotFound, InvalidRequest):
            return None
        told: Look | None = None
        for stored in self._shown(item, _near(item, segment, second)[: None if around else 1]):
            told = _better(told, _looked(query, stored))
            if told.found is not None and told.found.residual <= CLEAR:
                return told
        if around and _is_sure(segment) and item.kind == "video" and (told is None or told.found is None):
            for frame in frames_like(self._picture_at(second), item, _same_second(segment, second), self._tools):
                told = _better(told, _looked(query, features_of(frame)))
        return told

    def _shown(self, item: Item, seconds: Sequence[float]) -> Iterator[Features]:
        """What the item shows at these seconds, of those of which a picture can be read."""
        for second in seconds:
            stored = features_at(self._collection, item, second, self._tools)
            if stored is not None:
                yield stored

    def _trimmed(self, item: Item, segment: Segment, holds: dict[float, bool]) -> Segment:
        """The segment from where it holds first to where it holds last; holds: whether it does, by share of it."""
        held = [share for share, does in holds.items() if does]
        before = [share for share, does in holds.items() if not does and share < held[0]]
        after = [share for share, does in holds.items() if not does and share > held[-1]]
        first = self._edge(item, segment, before[-1], held[0]) if before else 0.0
        last = self._edge(item, segment, after[0], held[-1]) if after else 1.0
        lasts = segment.query_end_seconds - segment.query_start_seconds
        item_lasts = segment.end_seconds - segment.start_seconds
        return replace(
            segment,
            query_start_seconds=segment.query_start_seconds + first * lasts,
            query_end_seconds=segment.query_start_seconds + last * lasts,
            start_seconds=segment.start_seconds + first * item_lasts,
            end_seconds=segment.start_seconds + last * item_lasts,
        )

    def _edge(self, item: Item, segment: Segment, fails: float, holds: float) -> float:
        """The share at which a segment begins or ends to hold, between one where it fails and one where it holds."""
        lasts = segment.query_end_seconds - segment.query_start_seconds
        while abs(holds - fails) * lasts > TRIM_SECONDS:
            look = self._at(item, segment, (holds + fails) / 2)
            if look is not None and look.found is not None:
                holds = (holds + fails) / 2
            else:
                fails = (holds + fails) / 2
        return holds


def _looked(query: Features, stored: Features) -> Look:
    found = verify(query, stored)
    return Look(query, stored, found if is_found(found) else None)


def _better(one: Look | None, other: Look) -> Look:
    return other if one is None or other.inliers > one.inliers else one


def _same_second(segment: Segment, query_second: float) -> float:
    """When the item shows what the query shows at that second."""
    lasts = max(segment.query_end_seconds - segment.query_start_seconds, 1e-6)
    share = (query_second - segment.query_start_seconds) / lasts
    return max(0.0, segment.start_seconds + share * (segment.end_seconds - segment.start_seconds))


def _near(item: Item, segment: Segment, query_second: float) -> list[float]:
    """Seconds of the item to look at for one of the query: the stored frame that is nearest, and those beside it."""
    if item.kind == "image":
        return [0.0]
    second = _same_second(segment, query_second)
    step = 1 / item.frames_per_second if item.frames_per_second > 0 else 0.0
    nearest = second + step / 2  # a stored frame stands from the second at which it is shown on
    return [max(0.0, each) for each in (nearest, nearest - step, nearest + step)]


def surest_first(hits: Sequence[Hit]) -> list[Hit]:
    """Hits that are likely right before the others, each in the order of their scores."""
    return sorted(hits, key=lambda hit: (not _is_sure(hit), -hit.score))


def of_its_best(hit: Hit) -> Hit:
    """The hit with its surely right stretches first; it begins, ends and is scored as the first of them."""
    segments = sorted(hit.segments, key=lambda segment: (not _is_sure(segment), -segment.score))
    best = segments[0]
    return replace(
        hit,
        score=best.score,
        start_seconds=best.start_seconds,
        end_seconds=best.end_seconds,
        segments=segments,
        confidence=highest_of(segments),
        verified=best.verified,
    )


def _is_sure(found: Hit | Segment) -> bool:
    return found.confidence is not None and found.confidence >= SURE


def _likeliest(hits: Sequence[Hit]) -> list[tuple[int, int]]:
    """(place of the hit, place of the segment in it), the likeliest first."""
    every = [
        (segment.confidence or 0.0, segment.score, i, j)
        for i, hit in enumerate(hits)
        for j, segment in enumerate(hit.segments)
        if not segment.verified  # as those of the very file are
    ]
    return [(i, j) for _, _, i, j in sorted(every, key=lambda each: (-each[0], -each[1]))[:MAX_STRETCHES]]
