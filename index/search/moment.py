"""The exact moment of a film at which a verified picture was seen.

A film is stored as a few frames a second. So the stored frames around the one that was found are looked at as well, and
then, where the film itself can be read, every frame of it around the best of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ..collection import Collection
from ..matching import Verification, correlation, laid_on, mapped
from .ranking import Hit
from .tools import Tools
from .verification import Verifier

CLEAR = 0.1  # residual of the frame that was found, beyond which other moments of the film are looked at too
AROUND = 2  # stored frames to each side of the one that was found
ABOUT_AS_MANY = 0.8  # of the most points: among these frames the correlation chooses
FRAMES_PER_SECOND = 60.0  # every frame of a usual video
COMPARED_SIDE = 160  # pixels of the query's longer side
SMOOTHING = 1.0  # pixels: so that a codec's noise does not choose

NEARLY = 0.1  # of the picture's side, at each corner

Picture = NDArray[np.uint8]  # (H, W, 3)
Transform = NDArray[np.float64]  # (3, 3), of shares of width and height

UNIT = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
_QUARTER = np.array([(0.0, -1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])  # about the middle of the unit square
_MIRROR = np.array([(-1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
WHOLES = [np.linalg.matrix_power(_QUARTER, turns) @ way for turns in range(4) for way in (np.eye(3), _MIRROR)]


def nearest_stored(collection: Collection, hit: Hit, verifier: Verifier) -> Hit:
    """A verified hit of a film at the stored frame that agrees best: by points first, then by correlation."""
    try:
        moments = collection.moments_of(hit.item.id)
    except NotFound:  # deleted in the meantime
        return hit
    if hit.verification is not None and hit.verification.residual > CLEAR and not verifier.is_over:
        hit = _nearest([hit, *verifier.look_at_all(elsewhere(hit))])
    found = int(np.argmin(np.abs(moments.start_seconds - hit.start_seconds)))
    around = [
        (float(moments.start_seconds[i]), float(moments.end_seconds[i]))
        for i in range(max(0, found - AROUND), min(len(moments.start_seconds), found + AROUND + 1))
        if not np.array_equal(moments.vectors[i], moments.vectors[found])  # else one picture stands for both
    ]
    return hit if verifier.is_over else _nearest([hit, *verifier.look_at_all(moved(hit, around))])


def elsewhere(hit: Hit) -> list[Hit]:
    """The hit at the other frames of its item that are most similar by vectors."""
    return moved(hit, [each for each in hit.moments if each[0] != hit.start_seconds])


def moved(hit: Hit, moments: Iterable[tuple[float, float]]) -> list[Hit]:
    """The hit at each of these moments, (start, end) in seconds; not looked at yet."""
    plain = replace(hit, verified=None, verification=None)
    return [replace(plain, start_seconds=start, end_seconds=end) for start, end in moments]


def _nearest(looked: Sequence[Hit]) -> Hit:
    """The one with most points; of those that have about as many, the one that correlates best. The first at least."""
    told = [(seen.verification, seen) for seen in looked if seen.verified and seen.verification is not None]
    most = max((verification.inliers for verification, _ in told), default=0)
    nearest = [each for each in told if each[0].inliers >= ABOUT_AS_MANY * most]
    return max(nearest, key=lambda each: each[0].correlation)[1] if nearest else looked[0]


def at_the_frame(hit: Hit, picture: Picture, tools: Tools) -> Hit:
    """A verified hit of a film at the very frame that shows the query's picture (H, W, 3), and as long as before.

    Looked for from one stored frame before to one after: neighbours agree too where a camera moves. As it was where the
    film cannot be read.
    """
    if hit.verification is None:
        return hit
    step = 1 / hit.item.frames_per_second if hit.item.frames_per_second > 0 else 0.0
    start, end = max(0.0, hit.start_seconds - step), hit.end_seconds + step
    second = exact_second(picture, hit.verification, hit, start, end, tools)
    if second is None:
        return hit
    last = max(hit.item.duration_seconds, hit.end_seconds)
    return replace(hit, start_seconds=second, end_seconds=min(second + hit.end_seconds - hit.start_seconds, last))


def exact_second(
    picture: Picture, found: Verification, hit: Hit, start: float, end: float, tools: Tools
) -> float | None:
    """When the film shows the picture between start and end, seconds; None where it cannot be read."""
    height, width = picture.shape[:2]
    scale = min(1.0, COMPARED_SIDE / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    query = _smooth(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
    transform = _snapped(found.transform)
    best, second = -1.0, None
    try:
        for frames in tools.decoder.read_frames(
            hit.item.path,
            FRAMES_PER_SECOND,
            tools.limits,
            start_seconds=start,
            end_seconds=end,
            shorter_side=COMPARED_SIDE,
        ):
            for shown, shown_seconds in zip(frames.data, frames.seconds.tolist(), strict=True):
                agreement = _agreement(query, shown, transform)
                if agreement > best:
                    best, second = agreement, shown_seconds
    except (MediaError, NotFound, InvalidRequest):  # changed or gone since it was indexed: what was found stands
        return None
    return second


def _snapped(transform: Transform) -> Transform:
    """The transform, or the whole picture as it is, turned or mirrored, where it is nearly that.

    It was found on a stored frame a little before or after: where the camera moves, it holds that movement too.
    """
    corners = mapped(transform, UNIT)
    for whole in WHOLES:
        if np.abs(mapped(whole, UNIT) - corners).max() <= NEARLY:
            return np.asarray(whole, np.float64)
    return transform


def _agreement(query: NDArray[np.uint8], shown: Picture, transform: NDArray[np.float64]) -> float:
    """query (h, w) grey -> its correlation with what the shown picture (H, W, 3) has there, -1..1."""
    height, width = query.shape
    laid, inside = laid_on((width, height), _smooth(shown), transform)
    return correlation(query[inside].astype(np.float32), laid[inside]) if inside.any() else -1.0


def _smooth(picture: Picture) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), SMOOTHING), np.uint8)
