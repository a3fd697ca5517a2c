"""Reranking: the best hits again, by their pixels. Vectors find what looks alike; pixels tell copies apart.

A frame: copies of a film and still scenes all but tie by cosine. So the frames around the moments that were found are
decoded again, all of them and not only the sampled ones, and compared with the query pixel by pixel. That changes the
order only among hits that tie, and the second inside a hit.

A clip: two scenes of one place are alike to the encoder; whether the same things move at the same time tells them
apart. Only the likeliest few stretches of all hits are compared.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.frames import Frames
from ...media.preprocess import enough_side, to_pixels
from ...media.spec import InputSpec
from ..catalog import Item, unit_length
from ..collection import Collection
from ..matching import SURE, PictureAt, Segment, evidence_of, of_frame, variant_of, with_pixels
from .query import EmbeddedQuery
from .ranking import Hit, highest_of
from .tools import Tools

RERANKED = 8  # hits of a frame that are compared at most: ask for at least so many, whatever the limit
PICTURE = InputSpec(size=160, patch=160, dim=1, fit="squash")  # fine enough to tell a copy from its source
MAX_MOMENTS = 6  # sampled frames of one item around which is decoded
FRAMES_PER_SECOND = 60.0  # every frame of a usual video
LEAST_CORRELATION = 0.8  # below it the picture was cropped or turned: its pixels lie elsewhere and say nothing
MAX_STRETCHES = 4  # of all hits of a clip together
LEAST_CHANCE = 0.01  # by vectors, below which a stretch is not compared
AT_ONCE = 2


def rerank(collection: Collection, hits: list[Hit], query: EmbeddedQuery, tools: Tools) -> list[Hit]:
    """hits of the query, best first -> the same hits; as they were where there are no pixels to compare."""
    if query.target == "clip":
        return hits if query.picture_at is None else rerank_clip(hits, query.picture_at, tools)
    if query.picture is None:
        return hits
    return rerank_frame(collection, hits, query.as_frame, query.picture, tools)


@dataclass(frozen=True)
class _Match:
    """The frame of an item most like the query: correlation of pixels in -1..1, at seconds.

    The correlation is that with the query or with its mirror image, whichever is higher. picture: the frame itself,
    (P, P, 3) uint8; None where nothing could be read.
    """

    correlation: float
    seconds: float
    picture: NDArray[np.uint8] | None = None


def rerank_frame(
    collection: Collection, hits: list[Hit], vector: NDArray[np.float32], picture: NDArray[np.uint8], tools: Tools
) -> list[Hit]:
    """hits of a frame of `vector` (D,), best first; picture (H, W, 3) uint8, the query -> the same hits.

    Those that tie with the best come in the order of their pixels' agreement, each with the exact second of its best
    frame, and with the confidence that pixels give it. Where pixels do not agree at all (a cropped query, a file that
    is gone) a hit stays where it was found, behind those where they do.
    """
    tie = tools.calibration.rerank_tie
    if not hits or hits[0].score < tools.calibration.rerank_score:
        return hits
    tied = [hit for hit in hits[:RERANKED] if hit.score >= hits[0].score - tie]
    (picture,) = to_pixels(Frames(picture[None], np.zeros(1)), PICTURE)
    wanted = np.stack([_centred(picture), _centred(picture[:, ::-1])])
    matches = [_best_match(hit, _windows(collection, hit, vector, tie), wanted, tools) for hit in tied]
    agreement = [m.correlation if m.correlation >= LEAST_CORRELATION else -1.0 for m in matches]
    order = sorted(range(len(tied)), key=lambda i: -agreement[i])
    seen = [_seen(hit, match, picture, tools) for hit, match in zip(tied, matches, strict=True)]
    return [_at(seen[i], matches[i]) if agreement[i] > 0 else seen[i] for i in order] + hits[len(tied) :]


def _seen(hit: Hit, match: _Match, picture: NDArray[np.uint8], tools: Tools) -> Hit:
    """The hit with the confidence that its best frame's pixels give it, also as a crop."""
    if match.picture is None:
        return hit
    pixels = match.correlation
    if pixels < LEAST_CORRELATION:
        variant, agreement = variant_of(picture, match.picture)
        pixels = max(pixels, agreement) if variant else pixels
    seen = of_frame(hit.segments[0].likeness, pixels, tools.calibration)
    return replace(hit, confidence=seen, segments=[replace(hit.segments[0], confidence=seen), *hit.segments[1:]])


def _windows(collection: Collection, hit: Hit, vector: NDArray[np.float32], tie: float) -> list[tuple[float, float]]:
    """Stretches of an item to look at, in order: from the sample before to the sample after each of its best."""
    try:
        moments = collection.moments_of(hit.item.id)
    except NotFound:  # deleted in the meantime
        return []
    cosines = moments.vectors @ unit_length(vector[None])[0]
    best = np.argsort(-cosines, kind="stable")[:MAX_MOMENTS]
    merged: list[tuple[float, float]] = []
    for i in sorted(best[cosines[best] >= hit.score - tie].tolist()):
        start, end = float(moments.start_seconds[max(0, i - 1)]), float(moments.end_seconds[i])
        if merged and start <= merged[-1][1]:
            start = merged.pop()[0]
        merged.append((start, end))
    return merged


def _best_match(hit: Hit, windows: list[tuple[float, float]], wanted: NDArray[np.float32], tools: Tools) -> _Match:
    best = _Match(-1.0, hit.start_seconds)
    try:
        for frames in _frames_in(hit.item, windows, tools):
            pictures = to_pixels(frames, PICTURE)
            agreement = np.array([(wanted * _centred(picture)).sum(axis=(1, 2, 3)).max() for picture in pictures])
            place = int(agreement.argmax())
            if agreement[place] > best.correlation:
                best = _Match(float(agreement[place]), float(frames.seconds[place]), pictures[place])
    except (MediaError, NotFound, InvalidRequest):  # changed or gone since it was indexed: what was found stands
        return best
    return best


def _frames_in(item: Item, windows: list[tuple[float, float]], tools: Tools) -> Iterator[Frames]:
    small = enough_side(PICTURE)
    if item.kind == "image":
        yield from tools.decoder.read_frames(item.path, 1.0, tools.limits, shorter_side=small)
        return
    for start, end in windows:
        yield from tools.decoder.read_frames(
            item.path, FRAMES_PER_SECOND, tools.limits, start_seconds=start, end_seconds=end, shorter_side=small
        )


def _at(hit: Hit, match: _Match) -> Hit:
    """The hit, moved to the frame that was found; the interval keeps its length."""
    if hit.item.kind == "image" or match.seconds == hit.start_seconds:
        return hit
    end = min(match.seconds + hit.end_seconds - hit.start_seconds, max(hit.item.duration_seconds, hit.end_seconds))
    return replace(hit, start_seconds=match.seconds, end_seconds=end)


def _centred(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(P, P, 3) uint8 -> float32 of mean 0 and length 1 (all zero for one flat colour)."""
    values = pixels.astype(np.float32)
    values -= values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-6)


def rerank_clip(hits: Sequence[Hit], picture_at: PictureAt, tools: Tools) -> list[Hit]:
    """hits of a clip, picture_at: what the clip shows -> the same hits, those that are surely right first.

    Each stretch that was looked at has the confidence that its pixels give it, and is called mirrored where they say
    so. Where a file cannot be read it stays as it was found.
    """
    looks = _likeliest(hits)
    with ThreadPoolExecutor(AT_ONCE, "look") as pool:
        told = pool.map(lambda look: with_evidence(picture_at, hits[look[0]].item, look[2], tools), looks)
        segments = {(i, j): segment for (i, j, _), segment in zip(looks, told, strict=True)}
    return surest_first(
        _of_its_best(replace(hit, segments=[segments.get((i, j), s) for j, s in enumerate(hit.segments)]))
        for i, hit in enumerate(hits)
    )


def with_evidence(picture_at: PictureAt, item: Item, segment: Segment, tools: Tools) -> Segment:
    """The segment as the pixels of both sides tell it."""
    evidence = evidence_of(picture_at, item, segment, tools.limits, tools.decoder)
    if evidence is None or (segment.inset and evidence.variant != "crop"):  # what is around an inset is another film
        return segment
    mirrored = segment.mirrored if evidence.variant is None else evidence.variant == "mirrored"
    sure = None if segment.confidence is None else with_pixels(segment.confidence, evidence)
    return replace(segment, confidence=sure, mirrored=mirrored)


def surest_first(hits: Iterable[Hit]) -> list[Hit]:
    """Hits that are likely right before the others, each in the order of their scores."""
    return sorted(hits, key=lambda hit: (not _is_sure(hit), -hit.score))


def _is_sure(found: Hit | Segment) -> bool:
    return found.confidence is not None and found.confidence >= SURE


def _of_its_best(hit: Hit) -> Hit:
    """The hit with its surely right stretches first; it begins, ends and is scored as the first of them."""
    segments = sorted(hit.segments, key=lambda segment: (not _is_sure(segment), -segment.score))
    best = segments[0]
    return Hit(hit.item, best.score, best.start_seconds, best.end_seconds, segments, highest_of(segments))


def _likeliest(hits: Sequence[Hit]) -> list[tuple[int, int, Segment]]:
    """(place of the hit, place of the segment in it, the segment), the likeliest first; none without a confidence."""
    every = [
        (s.confidence, i, j, s)
        for i, hit in enumerate(hits)
        for j, s in enumerate(hit.segments)
        if s.confidence is not None and s.confidence > LEAST_CHANCE
    ]
    return [(i, j, s) for _, i, j, s in sorted(every, key=lambda look: -look[0])[:MAX_STRETCHES]]
