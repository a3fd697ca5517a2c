"""What a JSON request may carry as media: data URLs, never addresses. Bytes only; decodes no media."""

import base64
import binascii
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import Forbidden, InvalidRequest


def media_bytes(value: Any, where: str) -> bytes:
    """ "data:image/png;base64,…" -> the bytes. `where` names the field for the error's sentence."""
    if isinstance(value, dict) and set(value) & {"url", "image_url"}:
        raise _url_is_off(where)
    if not isinstance(value, str):
        raise InvalidRequest(f"{where} must be a data URL such as 'data:image/jpeg;base64,…', got {_told(value)}.")
    if value[:8].lower().startswith(("http://", "https://", "file://", "ftp://")):
        raise _url_is_off(where)
    if not value[:5].lower() == "data:":
        raise InvalidRequest(
            f"{where} must be a data URL such as 'data:image/jpeg;base64,…'. "
            "This server makes vectors of pictures and clips, not of text."
        )
    head, comma, payload = value.partition(",")
    if not comma:
        raise InvalidRequest(f"{where} is a data URL without a comma; expected 'data:image/jpeg;base64,…'.")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(payload.encode("utf-8", "replace"))
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{where} is not valid base64: {error}.") from error


def _url_is_off(where: str) -> Forbidden:
    return Forbidden(
        "URL input is off: this server fetches nothing from the network. "
        f"Send the bytes in {where} as a data URL, or upload the file."
    )


def _told(value: Any) -> str:
    names = {dict: "an object", list: "a list", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
