"""vicmae.index.vectors.id_ranges: ranges of ids say the same as the ids themselves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vicmae.index.vectors.id_ranges import Allowed, allowed_of

IDS = st.sets(st.integers(1, 40)).map(sorted)
BOUND = st.integers(-2, 45)


def ids_of(allowed: Allowed) -> list[int]:
    return list(allowed.within(-100, 100))


@given(IDS, BOUND, BOUND)
def test_ranges_say_what_the_ids_say(ids: list[int], first: int, last: int) -> None:
    allowed = allowed_of(np.array(ids, np.int64))
    inside = [each for each in ids if first <= each <= last]
    assert len(allowed) == len(ids) and ids_of(allowed) == ids
    assert allowed.within(first, last).tolist() == inside
    assert allowed.touches(first, last) == bool(inside)
    assert ids_of(allowed.until(last)) == [each for each in ids if each <= last]


@given(st.lists(st.integers(1, 4), max_size=10), st.data())
def test_ranges_are_left_out_whole(lengths: list[int], data: st.DataObject) -> None:
    ends = np.cumsum(lengths, dtype=np.int64)
    allowed = Allowed(ends - np.array(lengths, np.int64) + 1, ends)
    gone = data.draw(st.sets(st.sampled_from(range(len(lengths)))) if lengths else st.just(set()))
    kept = [
        number
        for place, (first, last) in enumerate(zip(allowed.firsts, allowed.lasts, strict=True))
        for number in range(first, last + 1)
        if place not in gone
    ]
    assert ids_of(allowed.without(allowed.firsts[sorted(gone)])) == kept
