"""Two items side by side: are they the same by their pictures, and how does one differ? Reads pictures, no vectors.

Stored pictures are looked at first. The original files are opened where those cannot decide: for the exact frames of
films, which are stored too far apart, and for small print.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import CorruptMedia, InvalidRequest, MediaError, NotFound
from ..cache import ByteCache
from ..catalog import Item
from ..collection import Collection
from ..matching import Features, Related, Relation, Segment, Variant, detailed_features_of, features_of, related
from ..search import Shown, Tools, frames_like, pictures_shown

CACHED_BYTES = 128 * 1024**2  # of features: of some 300 pictures
MOMENTS = (0.25, 0.5, 0.75)  # where in a shared stretch two films are compared
SPARE_MOMENTS = (0.1, 0.9)  # where else, when one of those shows nothing
NEIGHBOUR_SECONDS = 0.5  # of the other film's stored pictures around a moment
DETAIL_SIDE = 1280  # pixels: the short side of originals that are compared for their small print
LARGER = 1.3  # times as large as the stored picture: then an original can show more

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What two items are to one another by their pictures.

    relation  as matching.Relation says; "unseen" where a picture of one of them cannot be read
    variant   of copies: how b differs from a
    """

    relation: Relation | Literal["unseen"]
    variant: Variant | None = None


class Looks:
    """Looks at pairs of items of one collection; the features of pictures looked at last are kept."""

    def __init__(self, collection: Collection, tools: Tools) -> None:
        self._collection = collection
        self._tools = tools
        self._features: ByteCache[str, Features] = ByteCache(CACHED_BYTES, lambda features: features.nbytes)

    def at(self, a: Item, b: Item, segment: Segment) -> Look:
        """segment: the stretch that two films share, a's side the query's; of two images any."""
        try:
            return self._at_images(a, b) if a.kind == "image" else self._at_films(a, b, segment)
        except CorruptMedia:  # a stored picture is damaged
            return Look("unseen")

    def _at_images(self, a: Item, b: Item) -> Look:
        (ours,), (theirs,) = self._shown(a, [0.0]), self._shown(b, [0.0])
        if ours is None or theirs is None:
            return Look("unseen")
        small = self._features_of(ours), self._features_of(theirs)
        found = related(*small)
        if not found.needs_detail or not (_is_larger(a, small[0]) or _is_larger(b, small[1])):
            return Look(found.relation, found.variant)
        originals = [self._original(item) for item in (a, b)]
        if originals[0] is None or originals[1] is None:
            return Look("undecided")
        found = related(detailed_features_of(originals[0]), detailed_features_of(originals[1]))
        return Look(found.relation, found.variant)

    def _at_films(self, a: Item, b: Item, segment: Segment) -> Look:
        """What most of the moments say that show something."""
        told: list[Related] = []
        for share in (*MOMENTS, *SPARE_MOMENTS):
            found = self._at_moment(a, b, segment, share)
            if found is None:
                return Look("unseen")
            if found.relation != "undecided":
                told.append(found)
            relation, count = Counter(each.relation for each in told).most_common(1)[0] if told else ("undecided", 0)
            if 2 * count > len(MOMENTS):
                break
        if 2 * count <= len(told):
            return Look("undecided" if not told else "different")
        variants = Counter(each.variant for each in told if each.relation == relation)
        return Look(relation, variants.most_common(1)[0][0])

    def _at_moment(self, a: Item, b: Item, segment: Segment, share: float) -> Related | None:
        """Stored pictures first, which may stand up to half their distance apart; then b's own frames around there.

        None where a picture of a or b cannot be read; "undecided" where b's own frames cannot be read.
        """
        lasts = segment.query_end_seconds - segment.query_start_seconds
        (picture,) = self._shown(a, [segment.query_start_seconds + share * lasts])
        if picture is None:
            return None
        into = (picture.start_seconds - segment.query_start_seconds) / max(lasts, 1e-6)
        moment = segment.start_seconds + into * (segment.end_seconds - segment.start_seconds)
        shown = self._shown(b, [max(0.0, moment + step * NEIGHBOUR_SECONDS) for step in (0, -1, 1)])
        near = {each.key: each for each in shown if each is not None}
        if not near:
            return None
        ours = self._features_of(picture)
        best = _best(ours, [self._features_of(each) for each in near.values()])
        if best.relation in ("copy", "undecided"):
            return best
        frames = frames_like(picture.pixels(), b, moment, self._tools)
        return _best(ours, list(map(features_of, frames))) if frames else Related("undecided")

    def _shown(self, item: Item, seconds: list[float]) -> list[Shown | None]:
        return pictures_shown(self._collection, {item.id: seconds}, self._tools)[item.id]

    def _features_of(self, shown: Shown) -> Features:
        features = self._features.get(shown.key)
        if features is None:
            features = features_of(shown.pixels())
            self._features.put(shown.key, features)
        return features

    def _original(self, item: Item) -> Picture | None:
        try:
            frames = self._tools.decoder.frame_at(item.path, 0.0, self._tools.limits, DETAIL_SIDE)
        except (MediaError, NotFound, InvalidRequest):  # gone or changed since it was indexed
            return None
        picture: Picture = frames.data[0]
        return picture


def _best(ours: Features, theirs: list[Features]) -> Related:
    """The relation to the one of a film's pictures that agrees best."""
    found = [related(ours, each, of_film=True) for each in theirs]
    return max(found, key=lambda each: (each.relation == "copy", -each.residual))


def _is_larger(item: Item, features: Features) -> bool:
    """Whether the original shows more than the stored picture."""
    return min(item.width, item.height) > LARGER * min(features.size)
