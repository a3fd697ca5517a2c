"""Looking at two items where they share a stretch: do their pixels agree, and how? Compares no vectors.

Vectors find what looks alike, also two scenes of one place, and the shipped model takes a mirrored frame for the frame
itself; pixels tell.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.decoding import Decoder
from ...media.limits import MediaLimits
from ..catalog.items import Item
from .alignment import Segment
from .pixels import Variant, variant_among

LOOKS = (0.25, 0.5, 0.75)  # where in a shared stretch the pixels are compared
LOOK_SECONDS = 0.6  # of the other side around such a moment: sampled times are that uncertain
LOOK_FPS = 10.0
COMPARED_SIDE = 192  # pixels


def look(a: Item, b: Item, best: Segment, limits: MediaLimits, decoder: Decoder) -> tuple[bool, Variant | None]:
    """Whether pixels agree at most of LOOKS, and how; (True, None) when a file cannot be read to tell."""
    shares = LOOKS if a.kind == "video" else (0.0,)
    told: list[Variant | None] = []
    try:
        for share in shares:
            if told and 2 * max(Counter(told).values()) > len(shares):
                break  # whatever the rest says
            at_a = best.query_start_seconds + share * (best.query_end_seconds - best.query_start_seconds)
            at_b = best.start_seconds + share * (best.end_seconds - best.start_seconds)
            told.append(_variant_near(a, at_a, b, at_b, limits, decoder))
    except (MediaError, NotFound, InvalidRequest):  # gone or changed since it was indexed: the vectors stand
        return True, None
    ranked = Counter(variant for variant in told if variant is not None).most_common()
    if 2 * sum(count for _, count in ranked) < len(shares):
        return False, None
    return True, ranked[0][0]


def _variant_near(a: Item, at_a: float, b: Item, at_b: float, limits: MediaLimits, decoder: Decoder) -> Variant | None:
    """How a's picture at its second is found among b's around its second."""
    wanted = decoder.frame_at(a.path, at_a, limits, COMPARED_SIDE).data[0]
    return variant_among(wanted, pictures_around(b, at_b, limits, decoder))[0]


def pictures_around(item: Item, seconds: float, limits: MediaLimits, decoder: Decoder) -> list[NDArray[np.uint8]]:
    """The item's pictures (H, W, 3) around a second, as sampled times are uncertain; a picture is itself at any."""
    if item.kind == "image":
        return [decoder.frame_at(item.path, 0.0, limits, COMPARED_SIDE).data[0]]
    frames = decoder.read_frames(
        item.path,
        LOOK_FPS,
        limits,
        start_seconds=max(0.0, seconds - LOOK_SECONDS),
        end_seconds=seconds + LOOK_SECONDS,
        shorter_side=COMPARED_SIDE,
    )
    return [picture for chunk in frames for picture in chunk.data]
