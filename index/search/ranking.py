"""Ranking: candidates in, hits out, by their stored vectors. One hit an item, best first. Knows no files.

Candidates come from FAISS; what is answered is computed again from the stored vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...export.calibration import Calibration
from ..catalog import Item, Moments
from ..matching import (
    Segment,
    Timeline,
    Verification,
    align,
    discount_rivals,
    likeness,
    of_frame,
    of_stretch,
    rarity,
    shots_of,
    variety,
)
from .candidates import Candidates
from .hypotheses import Hypothesis
from .query import EmbeddedQuery

MAX_MOMENTS = 5
MAX_LOOKS = 6  # frames of one item that may be looked at for a picture, beside those around the best
APART_SECONDS = 1.0
MIN_WEIGHT = 0.05  # of an uninformative frame, so that a wholly black clip still finds something

Floats = NDArray[np.float32]
Rendition = Literal["plain", "mirrored", "inset"]  # a clip's frames as they are, or pictures made of them


@dataclass(frozen=True)
class Hit:
    """An item that was found, and the seconds where it is most like the query.

    score     cosine of the best frame; for a clip as alignment.align says
    segments  the best stretch first, then others, distinct in time; at least one, at most five. For a frame: one a shot
    confidence  the chance that this is where the query was seen, 0..1 (matching/confidence.py); None: not calibrated
    verified  whether it was looked at and is the same picture or footage; None: it was not, or could not be, looked at
    verification  of a picture: how it lies in what is stored
    hypothesis  as what the query's picture was nearest
    moments  of a picture: when the item's most similar frames begin and end, the best first, APART_SECONDS apart
    """

    item: Item
    score: float
    start_seconds: float
    end_seconds: float
    segments: list[Segment]
    confidence: float | None
    verified: bool | None = None
    verification: Verification | None = None
    hypothesis: Hypothesis = Hypothesis()
    moments: tuple[tuple[float, float], ...] = ()


def frame_hits(
    vectors: Floats, hypotheses: Sequence[Hypothesis], candidates: Candidates, mean: Floats, calibration: Calibration
) -> list[Hit]:
    """vectors (H, D) of unit length, one a hypothesis; mean (D,) of all frames -> a hit for each candidate, best first.

    Each is told by the hypothesis that has the most similar frame of it.
    """
    hits = []
    for item, moments in candidates:
        every = np.clip(moments.vectors @ vectors.T, -1, 1)
        best, asked_as = (int(place) for place in np.unravel_index(every.argmax(), every.shape))
        cosines = every[:, asked_as]
        alike = likeness(cosines, vectors[asked_as] @ mean, calibration)
        hits.append(
            Hit(
                item,
                float(cosines[best]),
                float(moments.start_seconds[best]),
                float(moments.end_seconds[best]),
                _strong_moments(cosines, alike, moments, mean, calibration),
                of_frame(float(alike[best]), calibration),
                hypothesis=hypotheses[asked_as],
                moments=_apart_in_time(cosines, moments),
            )
        )
    return best_first(hits)


def clip_hits(
    query: EmbeddedQuery, candidates: Candidates, mean: Floats, limit: int, calibration: Calibration
) -> list[Hit]:
    """query, whose vectors have unit length -> the best `limit` candidates as hits, best first.

    Black and flat frames of the clip weigh less, and so do frames that many more items hold than hold the rest of the
    clip: a shared intro is no sign of the same footage. Items in which nothing runs along score near 0.
    """
    return [_with_chances(hit, calibration) for hit in aligned_hits(query, candidates, mean, limit, calibration)]


def aligned_hits(
    query: EmbeddedQuery, candidates: Candidates, mean: Floats, limit: int, calibration: Calibration
) -> list[Hit]:
    """As clip_hits, with what alignment says in the place of confidence: what the curve of stretches is fitted to."""
    renditions = renditions_of(query)
    every = list(renditions.values())
    similarities = list(_similarities(every, [moments for _, moments in candidates]))
    informative = np.ones(len(query.seconds), np.float32) if query.informative is None else query.informative
    weights = informative * rarity(every, mean, similarities, calibration)
    clip = clip_timeline(query.seconds, weights, query.end_seconds)
    hits = []
    for (item, moments), found in zip(candidates, similarities, strict=True):
        segments = _aligned(renditions, found, mean, clip, moments, calibration)
        best = segments[0]
        hits.append(Hit(item, best.score, best.start_seconds, best.end_seconds, segments, best.confidence))
    hits = best_first(hits)[:limit]

    def variety_of(segment: Segment) -> float:
        is_shown = (query.seconds >= segment.query_start_seconds) & (query.seconds < segment.query_end_seconds)
        return variety(query.vectors[is_shown], mean, calibration)

    told = discount_rivals([hit.segments for hit in hits], variety_of, calibration)
    return [replace(hit, segments=segments) for hit, segments in zip(hits, told, strict=True)]


def renditions_of(query: EmbeddedQuery) -> dict[Rendition, Floats]:
    """The vectors (Q, D) of a clip's frames as they are, and of the pictures made of them."""
    given: dict[Rendition, Floats | None] = {"plain": query.vectors, "mirrored": query.mirrored, "inset": query.inset}
    return {rendition: vectors for rendition, vectors in given.items() if vectors is not None}


def clip_timeline(
    seconds: NDArray[np.float64], informative: Floats | NDArray[np.float64], end_seconds: float | None = None
) -> Timeline:
    """A clip's side of an alignment: each frame stands until the next one, the last at most as long as is usual."""
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    end = float(seconds[-1]) + step
    if end_seconds is not None and end_seconds > seconds[-1]:
        end = min(end, end_seconds)
    return Timeline(seconds, np.append(seconds[1:], end), _weights(informative))


def item_timeline(moments: Moments) -> Timeline:
    """An item's side of an alignment."""
    return Timeline(moments.start_seconds, moments.end_seconds, _weights(moments.informative))


def with_chance(segment: Segment, calibration: Calibration) -> Segment:
    """A segment of alignment.align with the chance in the place of its confidence."""
    return replace(segment, confidence=of_stretch(segment.confidence or 0.0, calibration))


def highest_of(segments: list[Segment]) -> float | None:
    """The confidence of the surest one; None where none has any."""
    return max((segment.confidence for segment in segments if segment.confidence is not None), default=None)


def best_first(hits: list[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: -hit.score)


def _similarities(renditions: list[Floats], items: list[Moments]) -> Iterator[list[Floats]]:
    """For each item the cosines (Q, T) of each rendition: one large product, since many small ones cost more."""
    if not items:
        return
    every = np.concatenate([moments.vectors for moments in items])
    ends = np.cumsum([len(moments.vectors) for moments in items])[:-1]
    yield from map(list, zip(*(np.split(vectors @ every.T, ends, axis=1) for vectors in renditions), strict=True))


def _aligned(
    renditions: dict[Rendition, Floats],
    similarities: list[Floats],
    mean: Floats,
    clip: Timeline,
    moments: Moments,
    calibration: Calibration,
) -> list[Segment]:
    """similarities: the cosines (Q, T) of each rendition. That whose frames find the more similar ones is aligned."""
    found = [float(clip.weights @ similarity.max(axis=1)) for similarity in similarities]
    best = int(np.argmax(found))  # the plain one where they tie
    rendition, vectors = list(renditions.items())[best]
    segments = align(similarities[best], vectors @ mean, clip, item_timeline(moments), calibration)
    return [replace(segment, mirrored=rendition == "mirrored", inset=rendition == "inset") for segment in segments]


def _with_chances(hit: Hit, calibration: Calibration) -> Hit:
    """The hit with what chance its segments have."""
    sure = [with_chance(segment, calibration) for segment in hit.segments]
    return replace(hit, segments=sure, confidence=highest_of(sure))


def _strong_moments(
    cosines: Floats, alike: Floats, moments: Moments, mean: Floats, calibration: Calibration
) -> list[Segment]:
    """One moment a shot: its frames nearly as similar as the best, the top quarter from the median to the best."""
    best = cosines.max()
    strong = np.flatnonzero(cosines >= best - (best - np.median(cosines)) / 4)
    cuts = np.flatnonzero(np.diff(shots_of(moments.vectors, mean, calibration)[strong])) + 1
    segments = []
    for part in np.split(strong, cuts):
        score, nearest = float(cosines[part].max()), float(alike[part].max())
        start, end = float(moments.start_seconds[part[0]]), float(moments.end_seconds[part[-1]])
        segments.append(Segment(0.0, 0.0, start, end, score, nearest, of_frame(nearest, calibration)))
    return sorted(segments, key=lambda segment: -segment.score)[:MAX_MOMENTS]


def _apart_in_time(cosines: Floats, moments: Moments) -> tuple[tuple[float, float], ...]:
    """(start, end) seconds of the most similar frames, at most MAX_LOOKS of them, no two nearer than APART_SECONDS."""
    starts, ends = moments.start_seconds, moments.end_seconds
    chosen: list[int] = []
    for place in np.argsort(-cosines, kind="stable").tolist():
        if all(abs(starts[place] - starts[other]) >= APART_SECONDS for other in chosen):
            chosen.append(place)
        if len(chosen) == MAX_LOOKS:
            break
    return tuple((float(starts[place]), float(ends[place])) for place in chosen)


def _weights(informative: Floats | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(informative, MIN_WEIGHT, 1).astype(np.float64)
