"""Refining: which file exactly, and which frame of it. Vectors find what looks alike; pixels tell copies apart.

Copies of a film and still scenes all but tie by cosine. So the frames around the moments that were found are decoded
again, all of them and not only the sampled ones, and compared with the query pixel by pixel. It changes the order only
among hits that tie, and the second inside a hit. Knows no engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.decoding import HERE, Decoder
from ...media.frames import Frames
from ...media.limits import MediaLimits
from ...media.preprocess import enough_side, to_pixels
from ...media.spec import InputSpec
from ..catalog.items import Item
from ..catalog.packing import unit_length
from ..collection import Collection
from ..matching import confidence
from ..matching.pixels import variant_of
from .search import Hit

PICTURE = InputSpec(size=160, patch=160, dim=1, fit="squash")  # fine enough to tell a copy from its source
LEAST_SCORE = 0.9  # below it the hit is another picture, and pixels have nothing to say
TIE = 0.02  # of cosine: copies and frames of a still scene lie within it
CANDIDATES = 8  # hits that are looked at: ask search_frame for at least so many, whatever the limit
MAX_MOMENTS = 6  # sampled frames of one item around which is decoded
FRAMES_PER_SECOND = 60.0  # every frame of a usual video
LEAST_CORRELATION = 0.8  # below it the picture was cropped or turned: its pixels lie elsewhere and say nothing


@dataclass(frozen=True)
class Match:
    """The frame of an item most like the query: correlation of pixels in -1..1, at seconds.

    The correlation is that with the query or with its mirror image, whichever is higher. picture: the frame itself,
    (P, P, 3) uint8; None where nothing could be read.
    """

    correlation: float
    seconds: float
    picture: NDArray[np.uint8] | None = None


def refine(
    collection: Collection,
    hits: list[Hit],
    vector: NDArray[np.float32],
    picture: NDArray[np.uint8],
    limits: MediaLimits,
    decoder: Decoder = HERE,
) -> list[Hit]:
    """hits of search_frame for `vector` (D,), best first; picture (P, P, 3) uint8, the query -> the same hits.

    Those that tie with the best come in the order of their pixels' agreement, each with the exact second of its best
    frame, and with the confidence that pixels give it. Where pixels do not agree at all (a cropped query, a file that
    is gone) a hit stays where it was found, behind those where they do.
    """
    if not hits or hits[0].score < LEAST_SCORE:
        return hits
    tied = [hit for hit in hits[:CANDIDATES] if hit.score >= hits[0].score - TIE]
    wanted = np.stack([_centred(picture), _centred(picture[:, ::-1])])
    matches = [_best_match(hit, _windows(collection, hit, vector), wanted, limits, decoder) for hit in tied]
    agreement = [m.correlation if m.correlation >= LEAST_CORRELATION else -1.0 for m in matches]
    order = sorted(range(len(tied)), key=lambda i: -agreement[i])
    seen = [_seen(hit, match, picture) for hit, match in zip(tied, matches, strict=True)]
    return [_at(seen[i], matches[i]) if agreement[i] > 0 else seen[i] for i in order] + hits[len(tied) :]


def _seen(hit: Hit, match: Match, picture: NDArray[np.uint8]) -> Hit:
    """The hit with the confidence that its best frame's pixels give it, also as a crop."""
    if match.picture is None:
        return hit
    pixels = match.correlation
    if pixels < LEAST_CORRELATION:
        variant, agreement = variant_of(picture, match.picture)
        pixels = max(pixels, agreement) if variant else pixels
    seen = confidence.of_frame(hit.segments[0].likeness, pixels)
    return replace(hit, confidence=seen, segments=[replace(hit.segments[0], confidence=seen), *hit.segments[1:]])


def _windows(collection: Collection, hit: Hit, vector: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Stretches of an item to look at, in order: from the sample before to the sample after each of its best."""
    try:
        moments = collection.moments_of(hit.item.id)
    except NotFound:  # deleted in the meantime
        return []
    cosines = moments.vectors @ unit_length(vector[None])[0]
    best = np.argsort(-cosines, kind="stable")[:MAX_MOMENTS]
    merged: list[tuple[float, float]] = []
    for i in sorted(best[cosines[best] >= hit.score - TIE].tolist()):
        start, end = float(moments.start_seconds[max(0, i - 1)]), float(moments.end_seconds[i])
        if merged and start <= merged[-1][1]:
            start = merged.pop()[0]
        merged.append((start, end))
    return merged


def _best_match(
    hit: Hit,
    windows: list[tuple[float, float]],
    wanted: NDArray[np.float32],
    limits: MediaLimits,
    decoder: Decoder,
) -> Match:
    best = Match(-1.0, hit.start_seconds)
    try:
        for frames in _frames_in(hit.item, windows, limits, decoder):
            pictures = to_pixels(frames, PICTURE)
            agreement = np.array([(wanted * _centred(picture)).sum(axis=(1, 2, 3)).max() for picture in pictures])
            place = int(agreement.argmax())
            if agreement[place] > best.correlation:
                best = Match(float(agreement[place]), float(frames.seconds[place]), pictures[place])
    except (MediaError, NotFound, InvalidRequest):  # changed or gone since it was indexed: what was found stands
        return best
    return best


def _frames_in(
    item: Item, windows: list[tuple[float, float]], limits: MediaLimits, decoder: Decoder
) -> Iterator[Frames]:
    small = enough_side(PICTURE)
    if item.kind == "image":
        yield from decoder.read_frames(item.path, 1.0, limits, shorter_side=small)
        return
    for start, end in windows:
        yield from decoder.read_frames(
            item.path, FRAMES_PER_SECOND, limits, start_seconds=start, end_seconds=end, shorter_side=small
        )


def _at(hit: Hit, match: Match) -> Hit:
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
