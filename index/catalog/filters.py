"""Filters: which items a search or a list may give. JSON in Qdrant's grammar -> a condition in SQL.

    {"must": [{"key": "kind", "match": {"value": "video"}},
              {"key": "metadata.tags", "match": {"any": ["beach", "sea"]}}],
     "should": [{"key": "metadata.taken", "range": {"gte": "2026-05-01"}},
                {"key": "path", "match": {"prefix": "/home/ada/Videos/"}}],
     "must_not": [{"is_empty": {"key": "metadata.place"}}]}

All of must, at least one of should (where there is any), none of must_not; a filter may stand in the place of a
condition. Of a list in the metadata one element is enough, also in the midst of a key: metadata.people[].name is the
name of each of the people ([] may be left out). Grammar: https://qdrant.tech/documentation/concepts/filtering/ (prefix
is ours). Runs no query: what people say becomes parameters, never SQL.
"""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from ...errors import InvalidRequest
from .database import moment_text

MAX_DEPTH = 8
MAX_CONDITIONS = 256
MAX_VALUES = 10_000  # of one any
MAX_NAMES = 16  # of one key: SQLite joins at most 64 tables

Type = Literal["text", "number", "date", "json"]
BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# Uploads lie under a name of ours: they have no path that anybody could know.
PATH = "CASE WHEN uri GLOB 'upload:*' THEN NULL ELSE CAST(path AS TEXT) END"
COLUMNS: dict[str, Type] = {
    "id": "text",
    "uri": "text",
    "path": "text",
    "name": "text",
    "kind": "text",
    "mime": "text",
    "sha256": "text",
    "created_at": "date",
    "duration_seconds": "number",
    "width": "number",
    "height": "number",
    "size_bytes": "number",
}
METADATA = "metadata."
EXAMPLE = '{"must": [{"key": "kind", "match": {"value": "video"}}]}'
CONDITION = 'a condition such as {"key": "metadata.place", "match": {"value": "Ulm"}}'


@dataclass(frozen=True)
class Filter:
    """A condition on rows of the catalog's table `media`, true or false and never null. Without arguments: all pass."""

    sql: str = "(1)"
    parameters: tuple[Any, ...] = ()
    conditions: int = 0  # how many it is made of


class Key(NamedTuple):
    """What a condition looks at: a column of `media`, or a place in the metadata (its names, as paths of SQLite).

    value  what is compared, in SQL: of the metadata, an element of a list or the value itself
    """

    name: str
    type: Type
    value: str
    paths: tuple[str, ...] = ()

    def holds(self, test: str, *parameters: Any) -> Filter:
        """The value, or one of the metadata's values, passes the test."""
        if not self.paths:
            return Filter(f"({test}) IS TRUE", parameters, 1)
        rows, at, paths = self._rows()
        # json_each gives the members of an object too, which are not meant.
        where = f"json_type({at}, ?) <> 'object' AND ({test})"
        return Filter(f"EXISTS (SELECT 1 FROM {rows} WHERE {where})", (*paths, self.paths[-1], *parameters), 1)

    def is_empty(self) -> Filter:
        """There is no value: missing, null or an empty list."""
        if not self.paths:
            return Filter(f"({self.value}) IS NULL", (), 1)
        rows, _, paths = self._rows()
        return Filter(f"NOT EXISTS (SELECT 1 FROM {rows} WHERE each.type <> 'null')", paths, 1)

    def _rows(self) -> tuple[str, str, tuple[str, ...]]:
        """The metadata's values as rows `each`, in SQL; the object that holds them; and the parameters of the rows.

        On the way there, a list stands for each of its objects. Of the last name, json_each gives a list's elements,
        and a single value as itself.
        """
        tables: list[str] = []
        parameters: list[str] = []
        at = "media.metadata"
        for depth, path in enumerate(self.paths[:-1]):
            found = f"json_extract({at}, ?)"
            told = f"CASE json_type({at}, ?) WHEN 'array' THEN {found} WHEN 'object' THEN json_array({found}) END"
            tables.append(f"json_each({told}) AS step{depth}")
            parameters += [path] * 3
            at = f"CASE step{depth}.type WHEN 'object' THEN step{depth}.value END"
        return ", ".join([*tables, f"json_each({at}, ?) AS each"]), at, (*parameters, self.paths[-1])


def parse_filter(raw: Any) -> Filter:
    """raw, as JSON gives it, as a filter. InvalidRequest names the place that makes no sense."""
    filter = _filter(raw, "filter", 1)
    if filter.conditions > MAX_CONDITIONS:
        raise InvalidRequest(f"filter: {filter.conditions} conditions, expected at most {MAX_CONDITIONS}.")
    return filter


def read_filter(text: str) -> Filter:
    """A filter as JSON text, from a form, a query string or a command line. InvalidRequest."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"filter: not valid JSON ({error}); expected an object such as {EXAMPLE}.") from error
    return parse_filter(raw)


def _filter(raw: Any, where: str, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{where}: nested deeper than {MAX_DEPTH} levels.")
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{where}: got {_told(raw)}, expected an object such as {EXAMPLE}.")
    parts: list[Filter] = []
    for name, clauses in raw.items():
        if name not in ("must", "should", "must_not"):
            raise InvalidRequest(f"{where}: unknown {name!r}, expected must, should or must_not.")
        place = f"{where}.{name}"
        if isinstance(clauses, dict):  # Qdrant takes a single condition too
            inner = [_clause(clauses, place, depth)]
        elif isinstance(clauses, list):
            inner = [_clause(clause, f"{place}[{i}]", depth) for i, clause in enumerate(clauses)]
        else:
            raise InvalidRequest(f"{place}: got {_told(clauses)}, expected a list of conditions.")
        if inner:
            joined = _joined(inner, " AND " if name == "must" else " OR ")
            parts.append(replace(joined, sql=f"NOT {joined.sql}") if name == "must_not" else joined)
    return _joined(parts, " AND ") if parts else Filter()


def _joined(parts: list[Filter], word: str) -> Filter:
    return Filter(
        f"({word.join(part.sql for part in parts)})",
        tuple(value for part in parts for value in part.parameters),
        sum(part.conditions for part in parts),
    )


def _clause(raw: Any, where: str, depth: int) -> Filter:
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{where}: got {_told(raw)}, expected {CONDITION}.")
    if raw and set(raw) <= {"must", "should", "must_not"}:
        return _filter(raw, where, depth + 1)
    if set(raw) == {"is_empty"}:
        inner = raw["is_empty"]
        if not isinstance(inner, dict) or set(inner) != {"key"}:
            raise InvalidRequest(f'{where}.is_empty: expected {{"key": "metadata.place"}}.')
        return _key(inner["key"], f"{where}.is_empty.key").is_empty()
    if set(raw) not in ({"key", "match"}, {"key", "range"}):
        told = f"got {', '.join(map(repr, raw)) or 'nothing'}"
        raise InvalidRequest(f"{where}: {told}, expected 'key' and one of 'match' and 'range', or 'is_empty'.")
    key = _key(raw["key"], f"{where}.key")
    if "match" in raw:
        return _match(raw["match"], key, f"{where}.match")
    return _range(raw["range"], key, f"{where}.range")


def _key(raw: Any, where: str) -> Key:
    if isinstance(raw, str) and raw in COLUMNS:
        return Key(raw, COLUMNS[raw], PATH if raw == "path" else raw)
    steps = raw.removeprefix(METADATA).split(".") if isinstance(raw, str) and raw.startswith(METADATA) else []
    if not all(steps) or not steps:
        told = f"{raw!r} is not known" if isinstance(raw, str) else f"got {_told(raw)}"
        raise InvalidRequest(f"{where}: {told}, expected one of {', '.join(COLUMNS)}, or metadata.NAME.")
    if any(character in '"\\' or character < " " for step in steps for character in step) or not _is_text(raw):
        raise InvalidRequest(f"{where}: names with quotes, backslashes or control characters cannot be looked up.")
    if len(steps) > MAX_NAMES:
        raise InvalidRequest(f"{where}: {len(steps)} names, expected at most {MAX_NAMES}.")
    names = tuple(step.removesuffix("[]") for step in steps)
    if not all(names) or any(re.search(r"\[\d*\]$", name) for name in names):
        raise InvalidRequest(f"{where}: got {raw!r}; expected NAME[] for any element of a list, not a place in it.")
    return Key(raw, "json", "each.value", tuple(f'$."{name}"' for name in names))


def _match(raw: Any, key: Key, where: str) -> Filter:
    if not isinstance(raw, dict) or len(raw) != 1 or not set(raw) <= {"value", "any", "prefix"}:
        raise InvalidRequest(f"{where}: expected an object with one of 'value', 'any' and 'prefix'.")
    if key.type == "date":
        raise InvalidRequest(f"{where}: {key.name} is a moment; expected a range, such as {{'gte': '2026-05-01'}}.")
    ((way, value),) = raw.items()
    if way == "prefix":
        if not isinstance(value, str) or not _is_text(value) or key.type == "number":
            raise InvalidRequest(f"{where}.prefix: expected a text, on a key that holds text.")
        is_text = "each.type = 'text'" if key.paths else f"({key.value}) IS NOT NULL"
        # coalesce: SQLite's substr of an empty text is null.
        test = f"{is_text} AND coalesce(substr(CAST({key.value} AS BLOB), 1, ?), x'') = ?"
        return key.holds(test, len(value.encode()), value.encode())
    if way == "value":
        return _one_of([_scalar(value, key, f"{where}.value")], key)
    if not isinstance(value, list) or len(value) > MAX_VALUES:
        raise InvalidRequest(f"{where}.any: expected a list of at most {MAX_VALUES} values.")
    return _one_of([_scalar(one, key, f"{where}.any[{i}]") for i, one in enumerate(value)], key)


def _one_of(values: list[str | int | float | bool], key: Key) -> Filter:
    if not key.paths:
        return key.holds(f"{key.value} IN (SELECT value FROM json_each(?))", json.dumps(values))
    plain = [value for value in values if not isinstance(value, bool)]
    truths = [json.dumps(value) for value in values if isinstance(value, bool)]
    # json_each gives true as 1: the type tells it from the number.
    test = (
        "each.type IN ('text', 'integer', 'real') AND each.value IN (SELECT value FROM json_each(?)) "
        "OR each.type IN (SELECT value FROM json_each(?))"
    )
    return key.holds(test, json.dumps(plain), json.dumps(truths))


def _scalar(raw: Any, key: Key, where: str) -> str | int | float | bool:
    wanted = {"text": "a text", "number": "a number"}.get(key.type, "a text, a number, true or false")
    fits = {"text": isinstance(raw, str), "number": _is_number(raw)}
    if not fits.get(key.type, isinstance(raw, (str, bool)) or _is_number(raw)):
        raise InvalidRequest(f"{where}: got {_told(raw)}, expected {wanted}.")
    if isinstance(raw, str) and not _is_text(raw):
        raise InvalidRequest(f"{where}: the text holds half characters (lone surrogates).")
    if key.name == "kind" and raw not in ("image", "video"):
        raise InvalidRequest(f"{where}: got {raw!r}, expected 'image' or 'video'.")
    scalar: str | int | float | bool = _fitting(raw) if _is_number(raw) else raw
    return scalar


def _range(raw: Any, key: Key, where: str) -> Filter:
    if key.type == "text":
        raise InvalidRequest(f"{where}: {key.name} is a text; a range needs numbers or dates. Use match.")
    if not isinstance(raw, dict) or not raw or not set(raw) <= set(BOUNDS):
        raise InvalidRequest(f"{where}: expected an object with gt, gte, lt or lte.")
    bounds = [_bound(bound, key, f"{where}.{name}") for name, bound in raw.items()]
    if len({isinstance(bound, str) for bound in bounds}) > 1:
        raise InvalidRequest(f"{where}: one bound is a number, another a date; expected one of the two.")
    tests = [f"{key.value} {BOUNDS[name]} ?" for name in raw]
    if key.paths and isinstance(bounds[0], str):
        # julianday reads RFC 3339 with its offset to the millisecond, and gives null for what is no date. It would
        # read "now" and bare numbers too.
        tests = [f"julianday({key.value}) {BOUNDS[name]} julianday(?)" for name in raw]
        tests.insert(0, f"each.type = 'text' AND {key.value} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'")
    elif key.paths:
        tests.insert(0, "each.type IN ('integer', 'real')")
    return key.holds(" AND ".join(tests), *bounds)


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
