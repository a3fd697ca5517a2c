"""Filters: which items a search or a list may give. JSON in Qdrant's grammar -> a frozen tree (-> filter_sql.py).

    {"must": [{"key": "kind", "match": {"value": "video"}},
              {"key": "metadata.tags", "match": {"any": ["beach", "sea"]}}],
     "should": [{"key": "metadata.taken", "range": {"gte": "2026-05-01"}},
                {"key": "path", "match": {"prefix": "/home/ada/Videos/"}}],
     "must_not": [{"is_empty": {"key": "metadata.place"}}]}

All of must, at least one of should (where there is any), none of must_not; a filter may stand in the place of a
condition. Of a list in the metadata one element is enough. Grammar: https://qdrant.tech/documentation/concepts/filtering/
(prefix is ours).
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ...errors import InvalidRequest
from .database import moment_text

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 10_000  # of one any

Scalar = str | int | float | bool
Type = Literal["text", "number", "date", "json"]
BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# Uploads lie under a name of ours: they have no path that anybody could know.
PATH = "CASE WHEN uri GLOB 'upload:*' THEN NULL ELSE CAST(path AS TEXT) END"
COLUMNS: dict[str, tuple[str, Type]] = {
    "id": ("id", "text"),
    "uri": ("uri", "text"),
    "path": (PATH, "text"),
    "name": ("name", "text"),
    "kind": ("kind", "text"),
    "mime": ("mime", "text"),
    "sha256": ("sha256", "text"),
    "created_at": ("created_at", "date"),
    "duration_seconds": ("duration_seconds", "number"),
    "width": ("width", "number"),
    "height": ("height", "number"),
    "size_bytes": ("size_bytes", "number"),
}
METADATA = "metadata."


@dataclass(frozen=True)
class Key:
    """What a condition looks at: a column of the catalog, or a place in the metadata (a path as SQLite writes it)."""

    name: str
    expression: str
    type: Type
    json_path: str | None = None


@dataclass(frozen=True)
class OneOf:
    """The value equals one of these."""

    key: Key
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Prefix:
    """The text begins so."""

    key: Key
    prefix: str


@dataclass(frozen=True)
class Range:
    """The number or moment lies within bounds: (operator of SQL, number or RFC 3339 text in UTC)."""

    key: Key
    bounds: tuple[tuple[str, int | float | str], ...]


@dataclass(frozen=True)
class Empty:
    """There is no value: missing, null or an empty list."""

    key: Key


@dataclass(frozen=True)
class Filter:
    """All of must, one of should (if any), none of must_not."""

    must: "tuple[Clause, ...]" = ()
    should: "tuple[Clause, ...]" = ()
    must_not: "tuple[Clause, ...]" = ()


Clause = OneOf | Prefix | Range | Empty | Filter
EXAMPLE = '{"must": [{"key": "kind", "match": {"value": "video"}}]}'
CONDITION = 'a condition such as {"key": "metadata.place", "match": {"value": "Ulm"}}'


def parse_filter(raw: Any) -> Filter:
    """raw, as JSON gives it, as a filter. InvalidRequest names the place that makes no sense."""
    filter = _filter(raw, "filter", 1)
    if (conditions := _size(filter)) > MAX_CONDITIONS:
        raise InvalidRequest(f"filter: {conditions} conditions, expected at most {MAX_CONDITIONS}.")
    return filter


def read_filter(text: str) -> Filter:
    """A filter as JSON text, from a form, a query string or a command line. InvalidRequest."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"filter: not valid JSON ({error}); expected an object such as {EXAMPLE}.") from error
    return parse_filter(raw)


def _size(clause: Clause) -> int:
    if not isinstance(clause, Filter):
        return 1
    return sum(map(_size, (*clause.must, *clause.should, *clause.must_not)))


def _filter(raw: Any, where: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{where}: nested deeper than {MAX_DEPTH} levels.")
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{where}: got {_told(raw)}, expected an object such as {EXAMPLE}.")
    for name in raw:
        if name not in ("must", "should", "must_not"):
            raise InvalidRequest(f"{where}: unknown {name!r}, expected must, should or must_not.")
    parts: dict[str, tuple[Clause, ...]] = {}
    for name, clauses in raw.items():
        place = f"{where}.{name}"
        if isinstance(clauses, dict):  # Qdrant takes a single condition too
            parts[name] = (_clause(clauses, place, depth),)
        elif isinstance(clauses, list):
            parts[name] = tuple(_clause(clause, f"{place}[{i}]", depth) for i, clause in enumerate(clauses))
        else:
            raise InvalidRequest(f"{place}: got {_told(clauses)}, expected a list of conditions.")
    return Filter(**parts)


def _clause(raw: Any, where: str, depth: int) -> Clause:
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{where}: got {_told(raw)}, expected {CONDITION}.")
    if raw and set(raw) <= {"must", "should", "must_not"}:
        return _filter(raw, where, depth + 1)
    if set(raw) == {"is_empty"}:
        inner = raw["is_empty"]
        if not isinstance(inner, dict) or set(inner) != {"key"}:
            raise InvalidRequest(f'{where}.is_empty: expected {{"key": "metadata.place"}}.')
        return Empty(_key(inner["key"], f"{where}.is_empty.key"))
    tests = [name for name in ("match", "range") if name in raw]
    unknown = sorted(set(raw) - {"key", "match", "range"})
    if unknown or "key" not in raw or len(tests) != 1:
        told = f"got {', '.join(map(repr, raw)) or 'nothing'}"
        raise InvalidRequest(f"{where}: {told}, expected 'key' and one of 'match' and 'range', or 'is_empty'.")
    key = _key(raw["key"], f"{where}.key")
    if tests == ["match"]:
        return _match(raw["match"], key, f"{where}.match")
    return _range(raw["range"], key, f"{where}.range")


def _key(raw: Any, where: str) -> Key:
    if isinstance(raw, str) and raw in COLUMNS:
        return Key(raw, *COLUMNS[raw])
    steps = raw.removeprefix(METADATA).split(".") if isinstance(raw, str) and raw.startswith(METADATA) else []
    if not all(steps) or not steps:
        told = f"{raw!r} is not known" if isinstance(raw, str) else f"got {_told(raw)}"
        raise InvalidRequest(f"{where}: {told}, expected one of {', '.join(COLUMNS)}, or metadata.NAME.")
    if any(character in '"\\' or character < " " for step in steps for character in step) or not _is_text(raw):
        raise InvalidRequest(f"{where}: names with quotes, backslashes or control characters cannot be looked up.")
    return Key(raw, "", "json", "$" + "".join(f'."{step}"' for step in steps))


def _match(raw: Any, key: Key, where: str) -> Clause:
    if not isinstance(raw, dict) or len(raw) != 1 or not set(raw) <= {"value", "any", "prefix"}:
        raise InvalidRequest(f"{where}: expected an object with one of 'value', 'any' and 'prefix'.")
    if key.type == "date":
        raise InvalidRequest(f"{where}: {key.name} is a moment; expected a range, such as {{'gte': '2026-05-01'}}.")
    ((way, value),) = raw.items()
    if way == "prefix":
        if not isinstance(value, str) or not _is_text(value) or key.type == "number":
            raise InvalidRequest(f"{where}.prefix: expected a text, on a key that holds text.")
        return Prefix(key, value)
    if way == "value":
        return OneOf(key, (_scalar(value, key, f"{where}.value"),))
    if not isinstance(value, list) or len(value) > MAX_VALUES:
        raise InvalidRequest(f"{where}.any: expected a list of at most {MAX_VALUES} values.")
    return OneOf(key, tuple(_scalar(one, key, f"{where}.any[{i}]") for i, one in enumerate(value)))


def _scalar(raw: Any, key: Key, where: str) -> Scalar:
    wanted = {"text": "a text", "number": "a number"}.get(key.type, "a text, a number, true or false")
    fits = {"text": isinstance(raw, str), "number": _is_number(raw)}
    if not fits.get(key.type, isinstance(raw, (str, bool)) or _is_number(raw)):
        raise InvalidRequest(f"{where}: got {_told(raw)}, expected {wanted}.")
    if isinstance(raw, str) and not _is_text(raw):
        raise InvalidRequest(f"{where}: the text holds half characters (lone surrogates).")
    if key.name == "kind" and raw not in ("image", "video"):
        raise InvalidRequest(f"{where}: got {raw!r}, expected 'image' or 'video'.")
    scalar: Scalar = _fitting(raw) if _is_number(raw) else raw
    return scalar


def _range(raw: Any, key: Key, where: str) -> Range:
    if key.type == "text":
        raise InvalidRequest(f"{where}: {key.name} is a text; a range needs numbers or dates. Use match.")
    if not isinstance(raw, dict) or not raw or not set(raw) <= set(BOUNDS):
        raise InvalidRequest(f"{where}: expected an object with gt, gte, lt or lte.")
    bounds = [(BOUNDS[name], _bound(bound, key, f"{where}.{name}")) for name, bound in raw.items()]
    if len({isinstance(bound, str) for _, bound in bounds}) > 1:
        raise InvalidRequest(f"{where}: one bound is a number, another a date; expected one of the two.")
    return Range(key, tuple(bounds))


def _bound(raw: Any, key: Key, where: str) -> int | float | str:
    if _is_number(raw) and key.type != "date":
        return _fitting(raw)
    if isinstance(raw, str) and key.type != "number":
        try:
            moment = datetime.fromisoformat(raw)
            return moment_text(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            pass
    wanted = {"number": "a number", "date": "a date"}.get(key.type, "a number or a date")
    shown = repr(raw) if isinstance(raw, str) else _told(raw)
    raise InvalidRequest(f"{where}: got {shown}, expected {wanted} (RFC 3339, such as 2026-05-01T12:00:00Z).")


def _is_number(raw: Any) -> bool:
    return isinstance(raw, (int, float)) and not isinstance(raw, bool) and abs(raw) < 1e308


def _fitting(number: int | float) -> int | float:
    """An integer beyond 64 bits as the nearest float, as SQLite reads it."""
    return float(number) if isinstance(number, int) and not -(2**63) <= number < 2**63 else number


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _told(raw: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(raw), "a number")
