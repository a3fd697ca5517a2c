"""Filters over items, in Qdrant's grammar."""

from pydantic import Field

from .base import Request


class Match(Request):
    """Exactly one of them; of a list in the metadata one element that fits is enough."""

    value: str | float | bool | None = Field(None, description="equal to it")
    any: list[str | float | bool] | None = Field(None, description="equal to one of them")
    prefix: str | None = Field(None, description="a text that begins so")


class Range(Request):
    """Bounds as numbers, or as RFC 3339 dates (UTC where no offset is given)."""

    gt: float | str | None = None
    gte: float | str | None = None
    lt: float | str | None = None
    lte: float | str | None = None


class FilterKey(Request):
    key: str


class Condition(Request):
    """A key with match or range; or is_empty alone; or, in its place, a Filter.

    Keys: id, uri, path, name, kind, mime, sha256, created_at, duration_seconds, width, height, size_bytes,
    and metadata.NAME, with dots for what lies deeper; people[].name is the name of each element of a list.
    """

    key: str | None = None
    match: Match | None = None
    range: Range | None = None
    is_empty: FilterKey | None = Field(None, description="missing, null or an empty list")


class Filter(Request):
    """All of must, at least one of should (where there is any), none of must_not. Qdrant's grammar."""

    must: "list[Condition | Filter]" = []
    should: "list[Condition | Filter]" = []
    must_not: "list[Condition | Filter]" = []
