"""The stored frames of items: read from the catalog, those of long videos from a cache as long as they are the same."""

from collections.abc import Sequence
from itertools import count

from .cache import ByteCache
from .catalog import Catalog, Moments, Transaction, frames

# (opened collection, item id) -> what would be another if the frames were, and the frames.
FramesCache = ByteCache[tuple[int, str], tuple[tuple[object, ...], frames.StoredFrames]]
CACHE_BYTES = 128 * 2**20  # 80 hours at 2 a second of 192 numbers, were none of them folded
LONG_FRAMES = 1000  # of an item, from which it is worth keeping: below, reading takes some milliseconds
_SERIALS = count()  # one for each that is opened, since another may come to stand in its folder under its name


def frames_cache(max_bytes: int = CACHE_BYTES) -> FramesCache:
    """One for all collections of a library together."""
    return ByteCache(max_bytes, lambda held: held[1].nbytes)


class FrameReader:
    """Reads frames of one opened collection with vectors of `dim` numbers. Any thread may use it."""

    def __init__(self, catalog: Catalog, dim: int, cache: FramesCache | None = None) -> None:
        self._catalog = catalog
        self._dim = dim
        self._cache = cache or frames_cache()
        self._serial = next(_SERIALS)

    def read(self, item_ids: Sequence[str]) -> dict[str, Moments]:
        """By id, of the items that exist: evenly at each item's rate, whatever frames share a vector."""
        with self._catalog.read() as db:
            heads = frames.frame_heads(db, item_ids)
            found = self.stored(db, heads)
        return {
            item_id: found[item_id].unpacked(self._dim).unfolded(head.frames_per_second)
            for item_id, head in heads.items()
            if item_id in found
        }

    def stored(self, db: Transaction, heads: dict[str, frames.Head]) -> dict[str, frames.StoredFrames]:
        """The frames of these items as the catalog has them, by id. heads: of the same transaction."""
        found: dict[str, frames.StoredFrames] = {}
        for item_id, head in heads.items():
            held = self._cache.get((self._serial, item_id))
            if held is not None and held[0] == head.mark:
                found[item_id] = held[1]
        for item_id, stored in frames.frames_of(db, [item_id for item_id in heads if item_id not in found]).items():
            found[item_id] = stored
            if len(stored) >= LONG_FRAMES:
                self._cache.put((self._serial, item_id), (heads[item_id].mark, stored))
        return found
