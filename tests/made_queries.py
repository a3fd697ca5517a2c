"""Searches by vectors alone, for tests of the index: through the one flow, without files and without pixels."""

from typing import Any

import numpy as np
from made_items import ENGINE
from numpy.typing import NDArray

from vicmae.index.catalog.filters import Filter
from vicmae.index.collection import Collection
from vicmae.index.matching import Segment
from vicmae.index.search import EmbeddedQuery, Hit, Query, SearchRequest, search, tools_of


def sure(found: Hit | Segment) -> float:
    """Its confidence, which a calibrated model gives."""
    assert found.confidence is not None
    return found.confidence


def search_frame(
    collection: Collection, vector: NDArray[np.float32], limit: int, filter: Filter | None = None, **more: Any
) -> list[Hit]:
    """vector (D,) float32 -> the items with the most similar frame."""
    return search(
        collection, SearchRequest(Query(vector=vector), limit, filter, verify=False, **more), tools_of(ENGINE)
    ).hits


def search_clip(
    collection: Collection,
    vectors: NDArray[np.float32],
    seconds: NDArray[np.float64],
    limit: int,
    filter: Filter | None = None,
    **more: Any,
) -> list[Hit]:
    """vectors (Q, D) float32 of a clip's frames, seconds (Q,); more: other fields of EmbeddedQuery."""
    query = EmbeddedQuery("clip", vectors, seconds, **more)
    return search(collection, SearchRequest(query, limit, filter, verify=False), tools_of(ENGINE)).hits
