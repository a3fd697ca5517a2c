"""What a JSON request may carry as media: data URLs, and addresses for fetch.py. Bytes only; decodes no media."""

import base64
import binascii
from typing import Any
from urllib.parse import unquote_to_bytes

from ...errors import InvalidRequest


def url_in(value: Any) -> str | None:
    """The http address that a value names: "https://…", {"url": …} or {"image_url": …}; None for other values."""
    value = _unwrapped(value)
    return value if isinstance(value, str) and value[:8].lower().startswith(("http://", "https://")) else None


def media_bytes(value: Any) -> bytes:
    """ "data:image/png;base64,…", or bytes that were fetched -> the bytes. Raises InvalidRequest."""
    value = _unwrapped(value)
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidRequest(f"Expected a data URL such as 'data:image/jpeg;base64,…', got {_told(value)}.")
    if not value[:5].lower() == "data:":
        raise InvalidRequest(
            "Expected a data URL such as 'data:image/jpeg;base64,…', got another text. "
            "This server makes vectors of pictures and clips, not of text."
        )
    head, comma, payload = value.partition(",")
    if not comma:
        raise InvalidRequest("A data URL without a comma; expected 'data:image/jpeg;base64,…'.")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(payload.encode("utf-8", "replace"))
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"Not valid base64: {error}.") from error


def _unwrapped(value: Any) -> Any:
    """What {"url": …} or {"type": "image_url", "image_url": {"url": …}} holds; any other value itself."""
    for name in ("image_url", "url"):
        if isinstance(value, dict) and name in value and set(value) <= {"type", "detail", name}:
            value = value[name]
    return value


def _told(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
