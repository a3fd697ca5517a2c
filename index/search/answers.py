"""The answer of a search as plain dictionaries: the shape of the HTTP answer, for `--json`."""

import math
from dataclasses import asdict
from typing import Any

from ..collection import Collection
from ..vectors.plan import Effort
from .search import Hit


def hit_dict(collection: Collection, hit: Hit) -> dict[str, Any]:
    """One hit; its thumbnail is of the second that was found. The path stays out, as in the HTTP answer."""
    item = hit.item
    address = f"/v1/collections/{collection.name}/items/{item.id}"
    # Rounded up, so as not to name the frame before.
    shown_seconds = math.ceil(hit.start_seconds * 1000) / 1000
    return {
        "id": item.id,
        "uri": item.uri,
        "name": item.name,
        "kind": item.kind,
        "mime": item.mime,
        "score": hit.score,
        "confidence": hit.confidence,
        "start_seconds": hit.start_seconds,
        "end_seconds": hit.end_seconds,
        "segments": [asdict(segment) for segment in hit.segments],
        "metadata": item.metadata,
        "thumbnail_url": f"{address}/thumbnail?seconds={shown_seconds:.3f}",
        "media_url": f"{address}/media",
    }


def search_answer(
    collection: Collection,
    hits: list[Hit],
    target: str,
    query_frames: int,
    timing: dict[str, float],
    next_cursor: str | None = None,
    effort: Effort | None = None,
) -> dict[str, Any]:
    """The whole answer. target: frame | clip; timing: milliseconds by station; effort: of the search."""
    return {
        "data": [hit_dict(collection, hit) for hit in hits],
        "plan": {"target": target, "query_frames": query_frames, **(effort or Effort()).to_dict()},
        "timing": timing,
        "next_cursor": next_cursor,
    }
