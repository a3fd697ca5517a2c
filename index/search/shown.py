"""The picture that an item shows at a second: the stored one, else the one in its file, else none.

Whoever compares or shows pictures asks here. The file is opened only where no picture is stored. The features by which
pictures are compared come from a cache bounded in bytes: they are some times as large as the picture, and made again in
the time of one comparison, so that they are not stored.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import CorruptMedia, InvalidRequest, MediaError, NotFound
from ...media.frames import Picture
from ..catalog import Item
from ..collection import Collection
from ..matching import Features, features_of
from ..pictures import SIDE, StoredPicture
from .tools import Tools

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FilePicture:
    """As StoredPicture, of a frame decoded from the item's file, which is shown at start_seconds; end_seconds: the
    same, since it is not known until when it stands."""

    item_id: str
    key: str
    start_seconds: float
    end_seconds: float
    picture: Picture

    def pixels(self) -> Picture:
        """(H, W, 3) RGB, no side shrunk below that of a stored picture."""
        return self.picture


Shown = StoredPicture | FilePicture


def picture_shown(collection: Collection, item_id: str, seconds: float, tools: Tools) -> Shown | None:
    """What the item shows at that second; None where neither a stored picture nor the file can be read."""
    return pictures_shown(collection, {item_id: [seconds]}, tools)[item_id][0]


def pixels_at(collection: Collection, item_id: str, seconds: float, tools: Tools) -> Picture:
    """(H, W, 3) uint8 RGB: what the item shows at that second. Raises NotFound, CorruptMedia."""
    shown = picture_shown(collection, item_id, seconds, tools)
    if shown is None:
        raise NotFound(f"No picture of the item {item_id!r} can be read, neither a stored one nor its file.")
    return shown.pixels()


def features_at(collection: Collection, item: Item, seconds: float, tools: Tools) -> Features | None:
    """Of what the item shows at that second; None where no picture of it can be read."""
    shown = picture_shown(collection, item.id, seconds, tools)
    if shown is None:
        return None
    held = tools.features.get(shown.key)
    if held is None:
        try:
            held = features_of(shown.pixels())
        except CorruptMedia:
            return None
        tools.features.put(shown.key, held)
    return held


def pictures_shown(
    collection: Collection, wanted: Mapping[str, Sequence[float]], tools: Tools
) -> dict[str, list[Shown | None]]:
    """As picture_shown, of many items by id, at these seconds of each. What cannot be read is told in the log.

    A stored picture is decoded when its pixels() are asked for; a damaged one raises CorruptMedia there.
    """
    found: dict[str, list[Shown | None]] = {
        item_id: [*pictures] for item_id, pictures in collection.pictures_of_many(wanted).items()
    }
    items = collection.get_many([item_id for item_id, pictures in found.items() if None in pictures])
    for item_id, item in items.items():
        found[item_id] = _in_file(item, wanted[item_id], tools)
    return found


def _in_file(item: Item, seconds: Sequence[float], tools: Tools) -> list[Shown | None]:
    shown: list[Shown | None] = []
    try:
        for second in seconds:
            frames = tools.decoder.frame_at(item.path, 0.0 if item.kind == "image" else second, tools.limits, SIDE)
            at = float(frames.seconds[0])
            shown.append(FilePicture(item.id, f"{item.sha256}/{at:.6f}", at, at, frames.data[0]))
    except (MediaError, NotFound, InvalidRequest) as error:  # gone or changed since it was indexed
        log.warning("The file of %s cannot be read: %s", item.id, error)
    return shown + [None] * (len(seconds) - len(shown))
