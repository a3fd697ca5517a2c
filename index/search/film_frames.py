"""A film's own frames around a second, read from its file: stored pictures lie too far apart where much moves."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest, MediaError, NotFound
from ...media.frames import Picture
from ..catalog import Item
from ..pictures import SIDE
from .tools import Tools

AROUND_SECONDS, AROUND_FPS = 0.6, 30.0
NEAREST = 2  # frames that are worth a comparison
SMALL = 32  # pixels a side: frames are ranked by their correlation at this size


def frames_like(picture: Picture, item: Item, seconds: float, tools: Tools) -> list[Picture]:
    """picture (H, W, 3) -> the NEAREST of the film's frames (h, w, 3) around that second, the most alike first; none
    where its file cannot be read."""
    start, end = max(0.0, seconds - AROUND_SECONDS), seconds + AROUND_SECONDS
    try:
        chunks = tools.decoder.read_frames(
            item.path, AROUND_FPS, tools.limits, start_seconds=start, end_seconds=end, shorter_side=SIDE
        )
        frames = [frame for chunk in chunks for frame in chunk.data]
    except (MediaError, NotFound, InvalidRequest):  # gone or changed since it was indexed
        return []
    wanted = _small(picture)
    likeness = [
        max(float((wanted * small).mean()), float((wanted * small[:, ::-1]).mean())) for small in map(_small, frames)
    ]
    return [frames[place] for place in np.argsort(likeness)[::-1][:NEAREST]]


def _small(picture: Picture) -> NDArray[np.float32]:
    """(SMALL, SMALL), of mean 0 and spread 1."""
    grey = cv2.cvtColor(cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    values = np.asarray(grey, np.float32)
    return np.asarray((values - values.mean()) / (values.std() + 1.0), np.float32)
