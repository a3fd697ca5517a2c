"""Which packets of a film have to be decoded for the frames that are wanted: arithmetic on time stamps.

A group is a key frame and what depends on it, in decoding order. A film whose stamps do not allow a plan is
Irregular, and only decoding everything tells what it shows. Decodes nothing, and knows no files.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..sampling import SamplingGrid

_MAX_GROUP_PACKETS = 5000
_MAX_GROUP_BYTES = 128 * 2**20


class IrregularTimestamps(Exception):
    """The stamps, or the pictures that came out, are not as planned."""


class Stamped(Protocol):
    """What is asked of a packet; PyAV's has it."""

    @property
    def pts(self) -> int | None: ...
    @property
    def size(self) -> int: ...
    @property
    def is_keyframe(self) -> bool: ...
    @property
    def is_discard(self) -> bool: ...


P = TypeVar("P", bound=Stamped)


@dataclass(frozen=True)
class GopStep(Generic[P]):
    """One group, and what of it is wanted.

    packets  of the group in decoding order, the key frame first
    leading  pts of those shown before the key frame: they lean on the group before
    wanted   pts of the frames to keep, ascending
    needed   so many packets must be decoded for them, and for wanted frames of the next group that lean on this one
    """

    packets: list[P]
    leading: frozenset[int]
    wanted: list[int]
    needed: int


def plan_decoding(packets: Iterable[P], grid: SamplingGrid, seconds_of: Callable[[int], float]) -> Iterator[GopStep[P]]:
    """packets in decoding order, the first one a key frame -> a step for each group, until the window ends.

    seconds_of(pts) is the second at which a frame is shown. Raises Irregular, also after some steps: those hold.
    """
    last_cell, last_second = -1, -math.inf
    carried: list[int] = []  # wanted frames of this group that are shown before its key frame
    group: list[P] = []
    for following in _with_an_end(_groups(packets)):
        if group:
            leading = _shown_before_key(following) if following else []
            shown = _shown_from_key(group) + leading
            seconds = [seconds_of(pts) for pts in shown]
            for second in seconds:
                if second <= last_second:
                    raise IrregularTimestamps("stamps that do not grow")
                last_second = second
            places, last_cell = grid.needed(seconds, last_cell)
            wanted = [shown[place] for place in places]
            ahead = [pts for pts in wanted if pts in set(leading)]
            own = carried + wanted[: len(wanted) - len(ahead)]
            yield GopStep(group, frozenset(_shown_before_key(group)), own, len(group) if ahead else _needed(group, own))
            carried = ahead
            if not carried and seconds and grid.is_past(seconds[-1]):
                return
        group = following


def _with_an_end(groups: Iterator[list[P]]) -> Iterator[list[P]]:
    yield from groups
    yield []


def _groups(packets: Iterable[P]) -> Iterator[list[P]]:
    group: list[P] = []
    size = 0
    for packet in packets:
        if not packet.size:
            continue
        if packet.pts is None:
            raise IrregularTimestamps("a packet without a time")
        if packet.is_keyframe and group:
            yield group
            group, size = [], 0
        elif not group and not packet.is_keyframe:
            raise IrregularTimestamps("no key frame at the beginning")
        group.append(packet)
        size += packet.size
        if len(group) > _MAX_GROUP_PACKETS or size > _MAX_GROUP_BYTES:
            raise IrregularTimestamps("a group too long to wait for its end")
    if group:
        yield group


def _pts(packet: Stamped) -> int:
    assert packet.pts is not None
    return packet.pts


def _shown_from_key(group: list[P]) -> list[int]:
    return sorted(_pts(p) for p in group if not p.is_discard and _pts(p) >= _pts(group[0]))


def _shown_before_key(group: list[P]) -> list[int]:
    return sorted(_pts(p) for p in group if not p.is_discard and _pts(p) < _pts(group[0]))


def _needed(group: list[P], wanted: list[int]) -> int:
    last = set(wanted)
    return max(
        (place + 1 for place, packet in enumerate(group) if packet.pts in last and not packet.is_discard), default=0
    )
