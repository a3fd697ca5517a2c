"""Time stamps of a film's packets, mended where they contradict one another: arithmetic, no files.

A clock that jumps or steps back is bridged, and a few packets whose stamps lie outside of those around them are put
between these. Where nothing is wrong nothing is changed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ticks = NDArray[np.int64]

NO_STAMP = np.iinfo(np.int64).min
_MAX_STRAYS = 8  # packets in a row that are wrong, sooner than that the clock was set anew
_MAX_REORDERED = 33  # packets (32 fields) by which the order of showing may differ from that of decoding


@dataclass(frozen=True)
class Stamps:
    """Of a film's packets in decoding order, in ticks of its stream: (N,) int64, NO_STAMP where there is none."""

    decoded: Ticks
    shown: Ticks


def mend_stamps(stamps: Stamps, max_gap: int) -> Stamps | None:
    """None where there is nothing to mend, or too little is known to do so.

    max_gap: ticks; a longer way from one packet to the next is no pause of the film but a jump of its clock.
    """
    shown = stamps.shown
    if len(shown) < 2 or (stamps.decoded == NO_STAMP).sum() > len(shown) // 2:
        return None
    decoded, usual = _filled(stamps.decoded, max_gap)
    steps = np.diff(decoded)
    even = _mend_decoded(decoded, usual, max_gap) if ((steps < 0) | (steps > max_gap)).any() else decoded
    known = shown != NO_STAMP
    delays = np.where(known, shown - decoded, 0)
    delay = int(np.median(delays[known])) if known.any() else 0
    mended = even + delays
    strays = known & (np.abs(delays - delay) > max_gap)
    if known.all():
        strays |= _out_of_order(mended)
    if even is decoded and not strays.any():
        return None
    mended[strays] = even[strays] + delay
    return Stamps(even, np.where(known, mended, NO_STAMP))


def _filled(decoded: Ticks, max_gap: int) -> tuple[Ticks, int]:
    """Stamps for all packets, missing ones (of the first frames, in Matroska) between the others; the usual step."""
    places = np.flatnonzero(decoded != NO_STAMP)
    steps = np.diff(decoded[places])[np.diff(places) == 1]
    growing = steps[(steps > 0) & (steps <= max_gap)]
    usual = int(np.median(growing)) if len(growing) else 1
    if len(places) == len(decoded):
        return decoded, usual
    filled = np.interp(np.arange(len(decoded)), places, decoded[places]).astype(np.int64)
    filled[: places[0]] -= usual * np.arange(places[0], 0, -1)
    return filled, usual


def _mend_decoded(stamps: Ticks, usual: int, max_gap: int) -> Ticks:
    """Stamps that grow in decoding order, by at most max_gap from one to the next."""
    mended = stamps.copy()
    offset, last = 0, 0  # of the stretch at hand; the last packet that was not a stray
    place = 1
    while place < len(stamps):
        stamp = stamps[place] + offset
        if 0 <= stamp - mended[last] <= max_gap:
            mended[place], last, place = stamp, place, place + 1
            continue
        before = _last_at_most(mended, last, stamp)
        after = _next_within(stamps, place, int(mended[last]) - offset, max_gap)
        if after is not None:  # the packets from here to before that one are strays
            mended[last : after + 1] = np.linspace(mended[last], stamps[after] + offset, after - last + 1)
            last, place = after, after + 1
        elif before is not None and stamp - mended[before] <= max_gap:  # those since that one are
            mended[before : place + 1] = np.linspace(mended[before], stamp, place - before + 1)
            last, place = place, place + 1
        elif place <= _MAX_STRAYS:  # the film begins with them
            mended[:place] = stamp - usual * np.arange(place, 0, -1)
            mended[place], last, place = stamp, place, place + 1
        else:  # the clock was set anew
            offset += int(mended[last]) + usual - int(stamp)
    return mended


def _last_at_most(mended: Ticks, last: int, stamp: int) -> int | None:
    """The place of the last packet not after `stamp`, among the few before the last one."""
    for place in range(last - 1, max(-1, last - 1 - _MAX_STRAYS), -1):
        if mended[place] <= stamp:
            return place
    return None


def _next_within(stamps: Ticks, place: int, last_stamp: int, max_gap: int) -> int | None:
    """The place of the next packet that goes on from last_stamp, among the few after `place`."""
    for following in range(place + 1, min(len(stamps), place + 1 + _MAX_STRAYS)):
        if 0 <= stamps[following] - last_stamp <= max_gap:
            return following
    return None


def _out_of_order(shown: Ticks) -> NDArray[np.bool_]:
    """(N,) which stamps cannot be right: later than some far behind, or earlier than some far before; the fewer."""
    strays = np.zeros(len(shown), bool)
    if len(shown) <= _MAX_REORDERED:
        return strays
    least_behind = np.minimum.accumulate(shown[::-1])[::-1]
    most_before = np.maximum.accumulate(shown)
    late, early = strays.copy(), strays.copy()
    late[:-_MAX_REORDERED] = shown[:-_MAX_REORDERED] > least_behind[_MAX_REORDERED:]
    early[_MAX_REORDERED:] = shown[_MAX_REORDERED:] < most_before[:-_MAX_REORDERED]
    return late if late.sum() <= early.sum() else early
