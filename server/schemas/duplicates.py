"""Duplicates of a collection, and pairs that are none."""

from typing import Literal

from pydantic import BaseModel, Field

from .base import Request
from .items import ItemSummary
from .search import Segment

PairKind = Literal[
    "exact",
    "copy",
    "subclip",
    "same_file",
    "intro",
    "credits",
    "overlap",
    "other_colours",
    "same_place",
    "same_form",
    "another_view",
    "undecided",
]


class DuplicatePair(BaseModel):
    """Two items and what they share; a is the query's side of the segments."""

    a: str
    b: str
    kind: PairKind = Field(
        description="exact, copy and subclip are duplicates; the others share something, only look alike, or "
        "could not be decided"
    )
    variant: Literal["same", "letterbox", "crop", "mirrored", "turned", "overlay"] | None = Field(
        description="how the pictures of copies differ"
    )
    likeness: float
    segments: list[Segment]


class DuplicateGroup(BaseModel):
    """items: the best one first, which is named again with the reason why: the one to keep."""

    items: list[str]
    best: str
    reason: str
    pairs: list[DuplicatePair]


class Duplicates(BaseModel):
    """groups hang together by duplicates; shared are pairs that share something, only look alike, or are one file under
    two names; unseen_pairs look alike by their vectors, but their pictures could not be read: they are in no group."""

    collection: str
    items: dict[str, ItemSummary]
    groups: list[DuplicateGroup]
    shared: list[DuplicatePair]
    compared_pairs: int
    dismissed_pairs: int
    unseen_pairs: int = 0


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
