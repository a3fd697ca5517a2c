"""Candidates: the items whose stored vectors are nearest to those of a query, with their frames."""

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ..catalog import Item, Moments, unit_length
from ..collection import Collection
from ..vectors import Allowed, Effort

FEW_PROBES = 3  # of them, that look for the last items where a few hold nearly all of the nearest frames
FRAMES_OF_EACH = 24  # nearest frames of a part of a picture
DEEPER = 8  # times as many frames are asked for where those found are of too few items

Candidates = list[tuple[Item, Moments]]


def checked(collection: Collection, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """vectors (Q, D) with unit length, fit to be compared. Raises InvalidRequest."""
    dim = collection.spec.dim
    if vectors.ndim != 2 or len(vectors) == 0 or vectors.shape[1] != dim:
        raise InvalidRequest(
            f"The collection {collection.name!r} compares vectors of {dim} numbers, got "
            f"{vectors.shape[-1]}. Embed the query with its model, {collection.model!r}."
        )
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise InvalidRequest("A query vector must hold finite numbers that are not all zero.")
    return unit_length(vectors)


def candidates(
    collection: Collection, query: NDArray[np.float32], wanted: int, allowed: Allowed | None, effort: Effort
) -> Candidates:
    """query (Q, D) of unit length -> min(wanted, items allowed) items, those that the frames find most similar first.

    For Q = 1 and an exact effort these are exactly the items with the most similar frame. Items deleted in the meantime
    are left out.
    """
    item_ids = _nearest_items(collection, query, wanted, allowed, effort)
    items = collection.get_many(item_ids)
    moments = collection.moments_of_many(list(items))
    return [(items[item_id], moments[item_id]) for item_id in item_ids if item_id in moments]


def candidates_of_each(
    collection: Collection, queries: NDArray[np.float32], each: int, allowed: Allowed | None, effort: Effort
) -> Candidates:
    """queries (H, D) of unit length, other questions each -> the items with the nearest frames to any of them.

    At most `each` items of a row; of FRAMES_OF_EACH frames that hold fewer items, so many fewer.
    """
    scores, vector_ids = collection.index.search(queries, FRAMES_OF_EACH, allowed, effort)
    owners = collection.owners(vector_ids)
    best: dict[str, float] = {}
    for row, ids in zip(scores.tolist(), vector_ids.tolist(), strict=True):
        first: dict[str, float] = {}
        for score, vector_id in zip(row, ids, strict=True):
            if vector_id in owners and (len(first) < each or owners[vector_id] in first):
                first.setdefault(owners[vector_id], score)
        for item_id, score in first.items():
            best[item_id] = max(score, best.get(item_id, -1.0))
    items = collection.get_many(list(best))
    moments = collection.moments_of_many(list(items))
    return [(items[i], moments[i]) for i in sorted(best, key=lambda i: -best[i]) if i in moments]


def _nearest_items(
    collection: Collection, query: NDArray[np.float32], wanted: int, allowed: Allowed | None, effort: Effort
) -> list[str]:
    index = collection.index
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
