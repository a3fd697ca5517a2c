"""Pairs of items and what they are to one another; groups of copies, and which of each to keep."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..catalog import Item
from ..matching import Segment, Variant

Kind = Literal[
    "exact", "copy", "subclip",
    "same_file", "intro", "credits", "overlap", "other_colours", "same_place", "same_form", "another_view", "undecided",
]  # fmt: skip
DUPLICATES = ("exact", "copy", "subclip")


@dataclass(frozen=True)
class Pair:
    """Two items and what they share; a is the query's side of the segments (empty for images and exact copies).

    kind     exact (same bytes), copy, subclip (a lies within b). All others are no duplicates: one file under two
             names, a shared intro, credits or stretch, what only looks like a copy, and what could not be decided
    variant  how the pictures of b differ from those of a; None where that says nothing
    likeness of the best stretch, as in align.Segment
    """

    a: str
    b: str
    kind: Kind
    variant: Variant | None
    likeness: float
    segments: list[Segment]


@dataclass(frozen=True)
class Group:
    """items: ids, the best one first; reason: why it is the best, in words; pairs: what holds the group together."""

    items: list[str]
    reason: str
    pairs: list[Pair]

    @property
    def best(self) -> str:
        """The id of the item to keep."""
        return self.items[0]


def groups_of(pairs: Sequence[Pair], items: Mapping[str, Item]) -> list[Group]:
    """The largest group first."""
    leader: dict[str, str] = {}

    def led(item_id: str) -> str:
        while leader.setdefault(item_id, item_id) != item_id:
            leader[item_id] = leader[leader[item_id]]
            item_id = leader[item_id]
        return item_id

    for pair in pairs:
        leader[led(pair.b)] = led(pair.a)
    members: dict[str, dict[str, None]] = defaultdict(dict)
    links: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        top = led(pair.a)
        members[top].update({pair.a: None, pair.b: None})
        links[top].append(pair)
    groups = [_group([items[item_id] for item_id in members[top]], links[top]) for top in links]
    return sorted(groups, key=lambda group: -len(group.items))


def _group(members: list[Item], pairs: list[Pair]) -> Group:
    ranked = sorted(members, key=_rank)
    return Group([item.id for item in ranked], _reason(ranked[0], ranked[1]), pairs)


def _rank(item: Item) -> tuple[int, int, int, str, str]:
    """The longest film, the largest picture, the most bytes, the one known longest; smaller is better."""
    return -round(item.duration_seconds), -item.width * item.height, -item.size_bytes, item.created_at, item.id


def _reason(best: Item, next_best: Item) -> str:
    """Why the best is before the next one."""
    (length, pixels, size, added, _), (other_length, other_pixels, other_size, other_added, _) = (
        _rank(item) for item in (best, next_best)
    )
    if length != other_length:
        return f"the longest: {best.duration_seconds:.0f} s"
    if pixels != other_pixels:
        return f"the largest picture: {best.width} x {best.height}"
    if size != other_size:
        return f"of the largest picture, most bytes: {best.size_bytes}"
    if added != other_added:
        return f"of equals, the first one added: {best.created_at[:10]}"
    return "all are equal"
