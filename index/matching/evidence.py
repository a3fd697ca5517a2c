"""What pixels say about two stretches that alignment laid on each other. Compares no vectors.

A few moments of both are decoded and compared, and so is how they change from one moment to the next: two takes of one
scene look alike, but nothing moves in them at the same time.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.decoding import Decoder
from ...media.limits import MediaLimits
from ...media.reader import Source
from ..catalog import Item
from .alignment import Segment
from .pixels import SAME, Variant, correlation, small_grey, variant_among

COMPARED_SIDE = 192  # pixels of the shorter side, below which no picture is shrunk
AROUND_SECONDS = 0.6  # of the other side around a moment: sampled times are that uncertain
AROUND_FPS = 10.0
ROUNDS = ((0.25, 0.75), (0.5,))  # where in a stretch is looked; the second round where the first one leaves doubt
UNCLEAR = (0.15, 0.6)  # motion between these leaves doubt: of other takes it is near 0, of the same one 0.7 and more
MOVES = 4.0  # of 255: least spread of a change between two moments, below which nothing moves
CROPS_EVERY = 3  # of the pictures around a moment: crops are dear to look for
PICTURES_KEPT = 16  # of one file, 200 kB each: hits of one clip are mostly looked at at the same moments of it
AGREE_AT = (0.25, 0.5, 0.75)  # where in a shared stretch two items are compared

Picture = NDArray[np.uint8]  # (H, W, 3)
Pictures = list[Picture]
PictureAt = Callable[[float], Picture]  # the picture that the query shows at a second


@dataclass(frozen=True)
class Evidence:
    """How two stretches agree, in -1..1.

    pixels  correlation of the pictures, the median of the looks
    motion  correlation of how they change between the looks; None where nothing moves, or one is a crop of the other
    variant how one is a copy of the other, where that can be told
    """

    pixels: float
    motion: float | None
    variant: Variant | None


def pictures_of(source: Source, limits: MediaLimits, decoder: Decoder) -> PictureAt:
    """What a file shows at a second; the moments asked for last are decoded once. Raises as decoder.frame_at does."""

    @lru_cache(PICTURES_KEPT)
    def picture_at(seconds: float) -> Picture:
        picture: Picture = decoder.frame_at(source, seconds, limits, COMPARED_SIDE).data[0]
        return picture

    return picture_at


def evidence_of(
    picture_at: PictureAt, item: Item, segment: Segment, limits: MediaLimits, decoder: Decoder
) -> Evidence | None:
    """picture_at: of the query's side of `segment`; None where one of the two cannot be read."""
    look = _looks_at(picture_at, item, segment, limits, decoder)
    looked: dict[float, tuple[Picture, Pictures]] = {}
    try:
        for shares in ROUNDS:
            for share in shares:
                looked[share] = look(share)
            evidence = compared(*zip(*(looked[share] for share in sorted(looked)), strict=True))
            if _is_clear(evidence):
                break
    except (MediaError, NotFound, InvalidRequest):  # gone or changed since it was indexed: the vectors stand
        return None
    return evidence


def agreement(a: Item, b: Item, segment: Segment, limits: MediaLimits, decoder: Decoder) -> tuple[bool, Variant | None]:
    """Whether pixels of a (the query's side) and b agree at most of AGREE_AT, and how.

    (True, None) when a file cannot be read to tell.
    """
    shares = AGREE_AT if a.kind == "video" else (0.0,)
    look = _looks_at(pictures_of(a.path, limits, decoder), b, segment, limits, decoder)
    told: list[Variant | None] = []
    try:
        for share in shares:
            if told and 2 * max(Counter(told).values()) > len(shares):
                break  # whatever the rest says
            told.append(variant_among(*look(share))[0])
    except (MediaError, NotFound, InvalidRequest):  # gone or changed since it was indexed: the vectors stand
        return True, None
    ranked = Counter(variant for variant in told if variant is not None).most_common()
    if 2 * sum(count for _, count in ranked) < len(shares):
        return False, None
    return True, ranked[0][0]


def _looks_at(
    picture_at: PictureAt, item: Item, segment: Segment, limits: MediaLimits, decoder: Decoder
) -> Callable[[float], tuple[Picture, Pictures]]:
    """What the query shows at a share of the segment, and what the item shows around there: times are uncertain."""
    still = pictures_of(item.path, limits, decoder)

    def look(share: float) -> tuple[Picture, Pictures]:
        picture = picture_at(
            segment.query_start_seconds + share * (segment.query_end_seconds - segment.query_start_seconds)
        )
        if item.kind == "image":
            return picture, [still(0.0)]
        seconds = segment.start_seconds + share * (segment.end_seconds - segment.start_seconds)
        start, end = max(0.0, seconds - AROUND_SECONDS), seconds + AROUND_SECONDS
        frames = decoder.read_frames(
            item.path, AROUND_FPS, limits, start_seconds=start, end_seconds=end, shorter_side=COMPARED_SIDE
        )
        return picture, [each for chunk in frames for each in chunk.data]

    return look


def _is_clear(evidence: Evidence) -> bool:
    """Whether another look would hardly change it."""
    return evidence.variant == "crop" or (evidence.motion is not None and not UNCLEAR[0] < evidence.motion < UNCLEAR[1])


def compared(wanted: Sequence[Picture], found: Sequence[Pictures]) -> Evidence:
    """wanted: a picture a look; found: for each the neighbouring pictures among which it should be."""
    ours = [small_grey(picture) for picture in wanted]
    theirs = [np.stack([small_grey(picture) for picture in pictures]) for pictures in found]
    ways: dict[Variant, list[NDArray[np.float32]]] = {"same": theirs, "mirrored": [t[:, :, ::-1] for t in theirs]}
    best: dict[Variant, tuple[float, float | None]] = {}
    for variant, pictures in ways.items():
        agreement = [[correlation(mine, other) for other in near] for mine, near in zip(ours, pictures, strict=True)]
        chosen = [near[int(np.argmax(each))] for near, each in zip(pictures, agreement, strict=True)]
        best[variant] = float(np.median([max(each) for each in agreement])), _motion(ours, chosen)
    variant = max(best, key=lambda way: best[way][0])
    pixels, motion = best[variant]
    if pixels >= SAME:
        return Evidence(pixels, motion, variant)
    if motion is not None and motion >= UNCLEAR[1]:
        return Evidence(pixels, motion, None)
    told = [variant_among(picture, _thinned(near)) for picture, near in zip(wanted, found, strict=True)]
    agreeing = [(way, value) for way, value in told if way is not None]
    if 2 * len(agreeing) > len(told):
        return Evidence(float(np.median([value for _, value in told])), None, agreeing[0][0])
    return Evidence(pixels, motion, None)


def _thinned(near: Pictures) -> Pictures:
    """The middle one and some around it."""
    return near[len(near) // 2 % CROPS_EVERY :: CROPS_EVERY]


def _motion(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> float | None:
    """How alike the changes between neighbouring looks are; the median of those in which something moves."""
    told = []
    for i, j in pairwise(range(len(ours))):
        mine, other = ours[j] - ours[i], theirs[j] - theirs[i]
        if max(mine.std(), other.std()) >= MOVES:
            told.append(correlation(mine, other))
    return float(np.median(told)) if told else None
