"""Duplicates of a collection, and pairs that are none."""

from typing import Literal

from pydantic import BaseModel, Field

from .base import Request
from .items import ItemSummary
from .search import Segment


class DuplicatePair(BaseModel):
    """Two items and what they share; a is the query's side of the segments."""

    a: str
    b: str
    kind: Literal["exact", "copy", "subclip", "intro", "credits", "overlap"]
    variant: Literal["same", "letterbox", "crop", "mirrored"] | None = Field(
        description="how the pictures differ; null when the files could not be read to tell"
    )
    likeness: float
    segments: list[Segment]


class DuplicateGroup(BaseModel):
    items: list[str]
    pairs: list[DuplicatePair]


class Duplicates(BaseModel):
    """groups hang together by duplicates; shared are pairs with the same intro, credits or a stretch in common."""

    collection: str
    items: dict[str, ItemSummary]
    groups: list[DuplicateGroup]
    shared: list[DuplicatePair]
    compared_pairs: int
    dismissed_pairs: int


class Dismissal(Request):
    """Two items that are no duplicates of one another, whatever the report says."""

    a: str
    b: str


class DismissedItem(BaseModel):
    id: str
    name: str


class DismissedPair(BaseModel):
    a: DismissedItem
    b: DismissedItem


class Dismissals(BaseModel):
    """Pairs that a person called no duplicates, the newest first."""

    data: list[DismissedPair]
