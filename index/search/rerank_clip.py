"""Refining a clip's hits: are the stretches that vectors found the same footage? Their pixels are compared.

Two scenes of one place are alike to the encoder; whether the same things move at the same time tells them apart. Only
the likeliest few stretches of all hits are looked at. Knows no engine.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...media.decoding import HERE, Decoder
from ...media.limits import MediaLimits
from ...media.reader import Source
from ..catalog.items import Item
from ..matching import confidence
from ..matching.alignment import Segment
from ..matching.evidence import evidence_of
from .search import Hit

MAX_LOOKED = 4  # stretches of all hits together
WORTH_A_LOOK = 0.01  # chance by vectors
AT_ONCE = 2


def refine_clip(hits: Sequence[Hit], source: Source, limits: MediaLimits, decoder: Decoder = HERE) -> list[Hit]:
    """hits of search_clip, source: the clip that was asked for -> the same hits, those that are surely right first.

    Each stretch that was looked at has the confidence that its pixels give it, and is called mirrored where they say
    so. Where a file cannot be read it stays as it was found.
    """
    looks = _worth_a_look(hits)
    with ThreadPoolExecutor(AT_ONCE, "look") as pool:
        told = pool.map(lambda look: looked_at(source, hits[look[0]].item, look[2], limits, decoder), looks)
        segments = {(i, j): segment for (i, j, _), segment in zip(looks, told, strict=True)}
    return surest_first(
        _of_its_best(replace(hit, segments=[segments.get((i, j), s) for j, s in enumerate(hit.segments)]))
        for i, hit in enumerate(hits)
    )


def looked_at(source: Source, item: Item, segment: Segment, limits: MediaLimits, decoder: Decoder) -> Segment:
    """The segment as the pixels of both sides tell it."""
    evidence = evidence_of(source, item, segment, limits, decoder)
    if evidence is None or (segment.inset and evidence.variant != "crop"):  # what is around an inset is another film
        return segment
    mirrored = segment.mirrored if evidence.variant is None else evidence.variant == "mirrored"
    return replace(segment, confidence=confidence.with_pixels(segment.confidence, evidence), mirrored=mirrored)


def surest_first(hits: Iterable[Hit]) -> list[Hit]:
    """Hits that are likely right before the others, each in the order of their scores."""
    return sorted(hits, key=lambda hit: (hit.confidence < confidence.SURE, -hit.score))


def _of_its_best(hit: Hit) -> Hit:
    """The hit with its surely right stretches first; it begins, ends and is scored as the first of them."""
    segments = sorted(hit.segments, key=lambda segment: (segment.confidence < confidence.SURE, -segment.score))
    best = segments[0]
    highest = max(segment.confidence for segment in segments)
    return Hit(hit.item, best.score, best.start_seconds, best.end_seconds, segments, highest)


def _worth_a_look(hits: Sequence[Hit]) -> list[tuple[int, int, Segment]]:
    """(place of the hit, place of the segment in it, the segment), the likeliest first."""
    every = [(i, j, s) for i, hit in enumerate(hits) for j, s in enumerate(hit.segments) if s.confidence > WORTH_A_LOOK]
    return sorted(every, key=lambda look: -look[2].confidence)[:MAX_LOOKED]
