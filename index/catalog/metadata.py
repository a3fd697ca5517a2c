"""Metadata of items: what can be stored, and how a merge patch changes it. Values only."""

import json
from typing import Any

MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 16


def storable(metadata: dict[str, Any]) -> dict[str, Any]:
    """metadata itself, if it can be stored and shown again unchanged; else ValueError says why not."""
    if _depth(metadata) > MAX_METADATA_DEPTH:
        raise ValueError(f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels")
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    except ValueError as error:
        raise ValueError("metadata must be JSON: no NaN, no infinity, no half characters (lone surrogates)") from error
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"metadata takes {size} bytes, more than {MAX_METADATA_BYTES}")
    return metadata


def merged(target: Any, patch: Any) -> Any:
    """target after an RFC 7396 merge patch: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
