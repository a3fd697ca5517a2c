"""Addresses of what an answer names. The index knows none."""

import math


def item_urls(collection: str, item_id: str, seconds: float | None = None) -> dict[str, str]:
    """thumbnail_url, of the picture shown at `seconds` where that is said, and media_url, of the file itself."""
    item_url = f"/v1/collections/{collection}/items/{item_id}"
    # Rounded up, so as not to name the frame before.
    moment = "" if seconds is None else f"?seconds={math.ceil(seconds * 1000) / 1000:.3f}"
    return {"thumbnail_url": f"{item_url}/thumbnail{moment}", "media_url": f"{item_url}/media"}
