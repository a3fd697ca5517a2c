"""Canaries: stored vectors with the scores of their nearest, by exact comparison. A restore answers alike."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import Transaction, unpack_rows, vector_ids, vectors_between, vectors_with_ids
from ..collection import Collection

CANARY_COUNT, CANARY_NEAREST = 100, 10
ALIKE = 0.99  # share of the canaries' answers that must be the same, as the index may be approximate
SCORE_TOLERANCE = 2e-3


def make_canaries(db: Transaction, dim: int) -> dict[str, Any]:
    """Queries near stored vectors, spread evenly over all, and the cosines of their nearest, by exact comparison."""
    ids = vector_ids(db)
    count = min(CANARY_COUNT, len(ids))
    chosen = ids[np.linspace(0, len(ids) - 1, count).astype(int)]
    queries = unpack_rows(b"".join(raw for _, raw in vectors_with_ids(db, chosen)), dim)
    nearest = min(CANARY_NEAREST, len(ids))
    best = np.full((count, 0), -1, np.float32)
    for _, raw in vectors_between(db, (0, int(ids[-1]))) if count else ():
        scores = queries @ unpack_rows(raw, dim).T
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :nearest]
    return {
        "queries": base64.b64encode(queries.astype("<f4").tobytes()).decode(),
        "count": count,
        "dim": dim,
        "scores": best.round(5).tolist(),
    }


def canary_faults(collection: Collection, canaries: dict[str, Any]) -> Iterator[str]:
    """A sentence when the collection answers differently."""
    if not canaries["count"]:
        return
    raw = np.frombuffer(base64.b64decode(canaries["queries"]), "<f4").reshape(canaries["count"], canaries["dim"])
    expected: NDArray[np.float32] = np.array(canaries["scores"], np.float32)
    collection.index.refresh()
    scores, _ = collection.index.search(np.ascontiguousarray(raw, np.float32), expected.shape[1])
    alike = (np.abs(scores - expected) <= SCORE_TOLERANCE).all(axis=1)
    if alike.mean() < ALIKE:
        yield f"{int((~alike).sum())} of {len(alike)} canary searches are answered differently than when it was made."
