"""Addresses of what an answer names. The index knows none."""

import math


def collection_url(name: str) -> str:
    return f"/v1/collections/{name}"


def item_url(collection: str, item_id: str) -> str:
    return f"{collection_url(collection)}/items/{item_id}"


def job_url(job_id: str) -> str:
    return f"/v1/jobs/{job_id}"


def item_urls(collection: str, item_id: str, seconds: float | None = None) -> dict[str, str]:
    """thumbnail_url, of the picture shown at `seconds` where that is said, and media_url, of the file itself."""
    url = item_url(collection, item_id)
    # Rounded up, so as not to name the frame before.
    moment = "" if seconds is None else f"?seconds={math.ceil(seconds * 1000) / 1000:.3f}"
    return {"thumbnail_url": f"{url}/thumbnail{moment}", "media_url": f"{url}/media"}
