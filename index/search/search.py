"""Search: a frame's or a clip's vectors in, hits out. One hit an item, best first.

Candidates come from FAISS; what is answered is computed again from the stored vectors. Knows no files and no
engines: who has a picture embeds it first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ..catalog.items import Item, Moments
from ..catalog.packing import unit_length
from ..collection import Collection
from ..matching import confidence
from ..matching.alignment import Segment, Side, align
from ..matching.rarity import rarity
from ..matching.rivals import told_apart, variety
from ..vectors.plan import Effort
from .cursor import EVERYTHING, Scope, allowed_vectors
from .shots import shots_of

MAX_PROBES = 48  # frames of a clip that look for candidates; all of them are aligned
FEW_PROBES = 3  # of them, that look for the last items where a few hold nearly all of the nearest frames
DEEPER = 8  # times as many frames are asked for where those found are of too few items
SPARE_CANDIDATES = 8  # items aligned beyond the limit, since candidates are ranked more coarsely
MAX_MOMENTS = 5
MIN_WEIGHT = 0.05  # of an uninformative frame, so that a wholly black clip still finds something


Way = Literal["plain", "mirrored", "inset"]  # which pictures a clip's frames are: they as they are, or made of them
Ways = dict[Way, NDArray[np.float32]]


@dataclass(frozen=True)
class Hit:
    """An item that was found, and the seconds where it is most like the query.

    score     cosine of the best frame; for a clip as align.align says
    segments  the best stretch first, then others, distinct in time; at least one, at most five. For a frame: one a shot
    confidence  the chance that this is where the query was seen, 0..1 (matching/confidence.py)
    """

    item: Item
    score: float
    start_seconds: float
    end_seconds: float
    segments: list[Segment]
    confidence: float


def search_frame(
    collection: Collection,
    vector: NDArray[np.float32],
    limit: int,
    scope: Scope = EVERYTHING,
    effort: Effort | None = None,
) -> list[Hit]:
    """vector (D,) float32 -> the min(limit, items in scope) items with the most similar frame, best first.

    effort: how sure the candidates must be, and what it took. Raises InvalidRequest for a vector or a limit that makes
    no sense.
    """
    query = _checked(collection, vector[None], limit)
    hits = []
    loaded = _load(collection, _candidates(collection, query, limit, scope, effort))
    mean = collection.index.mean()
    usual = float(query[0] @ mean)
    for item, moments in loaded:
        cosines = np.clip(moments.vectors @ query[0], -1, 1)
        best = int(cosines.argmax())
        hits.append(
            Hit(
                item,
                float(cosines[best]),
                float(moments.start_seconds[best]),
                float(moments.end_seconds[best]),
                _strong_moments(cosines, moments, mean, usual),
                confidence.of_frame(_likeness(cosines[best], usual)),
            )
        )
    return _best(hits, limit)


def search_clip(
    collection: Collection,
    vectors: NDArray[np.float32],
    seconds: NDArray[np.float64],
    limit: int,
    informative: NDArray[np.float32] | None = None,
    mirrored: NDArray[np.float32] | None = None,
    end_seconds: float | None = None,
    scope: Scope = EVERYTHING,
    effort: Effort | None = None,
    inset: NDArray[np.float32] | None = None,
) -> list[Hit]:
    """vectors (Q, D) float32 of a clip's frames, seconds (Q,) float64 ascending -> items, best first.

    informative (Q,) in 0..1 lets black and flat frames of the clip weigh less, and so do frames that many more items
    hold than hold the rest of the clip: a shared intro is no sign of the same footage (matching/rarity.py). mirrored
    (Q, D), vectors of the same frames with left and right exchanged, lets a mirrored copy be found and called one, and
    inset (Q, D), of a film that runs within the same frames, that film; end_seconds says when the last frame ends,
    where that is known. Finds min(limit, items in scope) items; those in which nothing runs along score near 0. Raises
    InvalidRequest as search_frame does.
    """
    query = _checked(collection, vectors, limit)
    given: dict[Way, NDArray[np.float32] | None] = {"mirrored": mirrored, "inset": inset}
    ways: Ways = {"plain": query}
    ways |= {way: _checked(collection, other, limit) for way, other in given.items() if other is not None}
    most = min(MAX_PROBES // len(ways), len(query))
    probes = np.unique(np.linspace(0, len(query) - 1, most).astype(np.int64))
    asked = np.concatenate([way[probes] for way in ways.values()])
    names = _candidates(collection, asked, limit + SPARE_CANDIDATES, scope, effort)
    mean = collection.index.mean()
    loaded = _load(collection, names)
    found = list(_similarities(list(ways.values()), [moments for _, moments in loaded]))
    telling = np.ones(len(query)) if informative is None else informative
    side = clip_side(seconds, telling * rarity(list(ways.values()), mean, found), end_seconds)
    hits = []
    for (item, moments), similarities in zip(loaded, found, strict=True):
        segments = _aligned(ways, similarities, mean, side, moments)
        best = segments[0]
        hits.append(Hit(item, best.score, best.start_seconds, best.end_seconds, segments, best.confidence))
    hits = _best(hits, limit)
    told = told_apart([hit.segments for hit in hits], lambda segment: variety(query, mean, seconds, segment))
    return [_with_chances(hit, segments) for hit, segments in zip(hits, told, strict=True)]


def clip_side(
    seconds: NDArray[np.float64],
    informative: NDArray[np.float32] | NDArray[np.float64],
    end_seconds: float | None = None,
) -> Side:
    """The query's side of an alignment: each frame stands until the next one, the last at most as long as is usual."""
    step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    end = float(seconds[-1]) + step
    if end_seconds is not None and end_seconds > seconds[-1]:
        end = min(end, end_seconds)
    return Side(seconds, np.append(seconds[1:], end), _weights(informative))


def side_of(moments: Moments) -> Side:
    """An item's side of an alignment."""
    return Side(moments.start_seconds, moments.end_seconds, _weights(moments.informative))


def _similarities(ways: list[NDArray[np.float32]], items: list[Moments]) -> Iterator[list[NDArray[np.float32]]]:
    """For each item the cosines (Q, T) of each way: one large product, since many small ones cost more."""
    if not items:
        return
    every = np.concatenate([moments.vectors for moments in items])
    ends = np.cumsum([len(moments.vectors) for moments in items])[:-1]
    yield from map(list, zip(*(np.split(way @ every.T, ends, axis=1) for way in ways), strict=True))


def _aligned(
    ways: Ways,
    similarities: list[NDArray[np.float32]],
    mean: NDArray[np.float32],
    query: Side,
    moments: Moments,
) -> list[Segment]:
    """similarities: the cosines (Q, T) of each way. The way whose frames find the more similar ones is aligned."""
    found = [float(query.weights @ similarity.max(axis=1)) for similarity in similarities]
    best = int(np.argmax(found))  # the plain one where they tie
    way, vectors = list(ways.items())[best]
    segments = align(similarities[best], vectors @ mean, query, side_of(moments))
    return [replace(segment, mirrored=way == "mirrored", inset=way == "inset") for segment in segments]


def _with_chances(hit: Hit, segments: list[Segment]) -> Hit:
    """The hit with these segments, and what chance they have."""
    sure = [with_chance(segment) for segment in segments]
    return replace(hit, segments=sure, confidence=max(segment.confidence for segment in sure))


def with_chance(segment: Segment) -> Segment:
    """A segment of alignment.align with the chance in the place of its confidence."""
    return replace(segment, confidence=confidence.of_stretch(segment.confidence))


def _likeness(cosine: float, usual: float) -> float:
    """1 for the very picture, 0 for a cosine that any two frames of the collection have."""
    return float((cosine - usual) / max(1 - usual, 1e-3))


def _checked(collection: Collection, vectors: NDArray[np.float32], limit: int) -> NDArray[np.float32]:
    """vectors (Q, D) with unit length, fit to be compared."""
    if limit < 1:
        raise InvalidRequest(f"limit must be at least 1, got {limit}.")
    dim = collection.spec.dim
    if vectors.ndim != 2 or len(vectors) == 0 or vectors.shape[1] != dim:
        raise InvalidRequest(
            f"The collection {collection.name!r} compares vectors of {dim} numbers, got "
            f"{vectors.shape[-1]}. Embed the query with its model, {collection.model!r}."
        )
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise InvalidRequest("A query vector must hold finite numbers that are not all zero.")
    return unit_length(vectors)


def _candidates(
    collection: Collection, query: NDArray[np.float32], wanted: int, scope: Scope, effort: Effort | None
) -> list[str]:
    """query (Q, D) -> ids of min(wanted, items in scope) items, those that the frames find most similar first.

    For Q = 1 and an exact effort these are exactly the items with the most similar frame.
    """
    index, effort = collection.index, effort or Effort()
    index.refresh()
    allowed = allowed_vectors(collection, scope)
    frames = len(index) if allowed is None else min(len(index), len(allowed))
    k = 16 + (4 * wanted if len(query) == 1 else wanted)  # the frames of a clip find different items
    best: list[str] = []
    while frames:
        scores, vector_ids = index.search(query, min(k, frames), allowed, effort)
        owners = collection.owners(vector_ids)
        names = list(dict.fromkeys(owners.values()))
        if len(names) >= wanted or k >= frames:
            return list(dict.fromkeys([*best, *_ranked(scores, vector_ids, owners, names)]))[:wanted]
        k *= DEEPER
        if len(query) > FEW_PROBES:
            best = best or _ranked(scores, vector_ids, owners, names)
            query = query[:: -(-len(query) // FEW_PROBES)]
    return []


def _ranked(
    scores: NDArray[np.float32], vector_ids: NDArray[np.int64], owners: dict[int, str], names: list[str]
) -> list[str]:
    """names by the sum over query frames of their best cosine (the row's lowest where they have none)."""
    place = {name: i for i, name in enumerate(names)}
    best = np.repeat(scores.min(axis=1)[:, None], len(names), axis=1)
    known = np.array([place[owners[i]] if i in owners else -1 for i in vector_ids.ravel().tolist()])
    rows = np.repeat(np.arange(len(scores)), scores.shape[1])
    held = known >= 0
    np.maximum.at(best, (rows[held], known[held]), scores.ravel()[held])
    return [names[i] for i in np.argsort(-best.sum(axis=0), kind="stable")]


def _load(collection: Collection, item_ids: list[str]) -> list[tuple[Item, Moments]]:
    """The items with their frames; those deleted in the meantime are left out."""
    items = collection.get_many(item_ids)
    moments = collection.moments_of_many(list(items))
    return [(items[item_id], moments[item_id]) for item_id in item_ids if item_id in moments]


def _strong_moments(
    cosines: NDArray[np.float32], moments: Moments, mean: NDArray[np.float32], usual: float
) -> list[Segment]:
    """One moment a shot: its frames nearly as similar as the best, the top quarter from the median to the best."""
    best = cosines.max()
    strong = np.flatnonzero(cosines >= best - (best - np.median(cosines)) / 4)
    cuts = np.flatnonzero(np.diff(shots_of(moments, mean)[strong])) + 1
    segments = []
    for part in np.split(strong, cuts):
        score = float(cosines[part].max())
        likeness = _likeness(score, usual)
        start, end = float(moments.start_seconds[part[0]]), float(moments.end_seconds[part[-1]])
        segments.append(Segment(0.0, 0.0, start, end, score, likeness, confidence.of_frame(likeness)))
    return sorted(segments, key=lambda segment: -segment.score)[:MAX_MOMENTS]


def _weights(informative: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(informative, MIN_WEIGHT, 1).astype(np.float64)


def _best(hits: list[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: -hit.score)[:limit]
