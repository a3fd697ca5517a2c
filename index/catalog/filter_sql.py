"""A filter as SQL: a condition on rows of the catalog's table `media`, with parameters. Runs no query."""

import json
from typing import Any

from .filters import Clause, Empty, Filter, Key, OneOf, Prefix, Range, Scalar


def to_sql(clause: Clause) -> tuple[str, list[Any]]:
    """A condition on rows of `media` that is true or false, never null; and its parameters."""
    match clause:
        case Filter():
            return _joined(clause)
        case OneOf(key, values):
            test, parameters = _one_of(key, values)
        case Prefix(key, prefix):
            told = prefix.encode()
            # coalesce: SQLite's substr of an empty text is null.
            test = f"coalesce(substr(CAST({_value(key)} AS BLOB), 1, ?), x'') = ?"
            parameters = [len(told), told]
            is_text = "each.type = 'text'" if key.json_path is not None else f"({key.expression}) IS NOT NULL"
            test = f"{is_text} AND {test}"
        case Range(key, bounds):
            test, parameters = _within(key, bounds)
        case Empty(key):
            if key.json_path is None:
                return f"({key.expression}) IS NULL", []
            inside = "SELECT 1 FROM json_each(media.metadata, ?) AS each WHERE each.type <> 'null'"
            return f"NOT EXISTS ({inside})", [key.json_path]
    if key.json_path is None:
        return f"({test}) IS TRUE", parameters
    # json_each gives a list's elements, the members of an object (not meant), and a single value as itself.
    rows = "json_each(media.metadata, ?) AS each WHERE json_type(media.metadata, ?) <> 'object'"
    return f"EXISTS (SELECT 1 FROM {rows} AND ({test}))", [key.json_path, key.json_path, *parameters]


def _joined(filter: Filter) -> tuple[str, list[Any]]:
    parts: list[str] = []
    parameters: list[Any] = []

    def take(clauses: tuple[Clause, ...], word: str) -> str:
        told = []
        for clause in clauses:
            sql, values = to_sql(clause)
            told.append(sql)
            parameters.extend(values)
        return f"({word.join(told)})"

    if filter.must:
        parts.append(take(filter.must, " AND "))
    if filter.should:
        parts.append(take(filter.should, " OR "))
    if filter.must_not:
        parts.append(f"NOT {take(filter.must_not, ' OR ')}")
    return f"({' AND '.join(parts)})" if parts else "(1)", parameters


def _value(key: Key) -> str:
    return key.expression if key.json_path is None else "each.value"


def _one_of(key: Key, values: tuple[Scalar, ...]) -> tuple[str, list[Any]]:
    if key.json_path is None:
        return f"{key.expression} IN (SELECT value FROM json_each(?))", [json.dumps(values)]
    plain = [value for value in values if not isinstance(value, bool)]
    truths = [json.dumps(value) for value in values if isinstance(value, bool)]
    # json_each gives true as 1: the type tells it from the number.
    return (
        "each.type IN ('text', 'integer', 'real') AND each.value IN (SELECT value FROM json_each(?)) "
        "OR each.type IN (SELECT value FROM json_each(?))"
    ), [json.dumps(plain), json.dumps(truths)]


def _within(key: Key, bounds: tuple[tuple[str, int | float | str], ...]) -> tuple[str, list[Any]]:
    value = _value(key)
    is_date = isinstance(bounds[0][1], str)
    if key.json_path is not None and is_date:
        # julianday reads RFC 3339 with its offset to the millisecond, and gives null for what is no date. It would
        # read "now" and bare numbers too.
        tests = [f"julianday({value}) {operator} julianday(?)" for operator, _ in bounds]
        tests.insert(0, f"each.type = 'text' AND {value} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'")
    else:
        tests = [f"{value} {operator} ?" for operator, _ in bounds]
        if key.json_path is not None:
            tests.insert(0, "each.type IN ('integer', 'real')")
    return " AND ".join(tests), [bound for _, bound in bounds]
