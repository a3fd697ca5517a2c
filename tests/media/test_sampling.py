"""media/sampling.py: the invariants of choosing frames, on made-up seconds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicmae.media.sampling import SamplingGrid, sample, sample_ends, shown_at


@dataclass(frozen=True)
class Tick:
    seconds: float


gaps = st.lists(st.floats(0.001, 3.0), min_size=1, max_size=80)
rates = st.floats(0.1, 30.0)


def ticks(gaps: list[float]) -> list[Tick]:
    return [Tick(float(t)) for t in np.cumsum([0.0, *gaps[1:]])]


def times(frames: list[Tick]) -> list[float]:
    return [frame.seconds for frame in frames]


@given(gaps, rates)
def test_first_frame_is_taken_and_every_pick_is_a_true_frame_in_order(gaps: list[float], rate: float) -> None:
    frames = ticks(gaps)
    picks = list(sample(frames, SamplingGrid(rate)))
    assert picks[0] == frames[0]
    assert set(picks) <= set(frames)
    assert all(a < b for a, b in zip(times(picks), times(picks)[1:], strict=False))


@given(gaps, rates)
def test_each_cell_that_has_a_frame_gives_exactly_its_first(gaps: list[float], rate: float) -> None:
    frames = ticks(gaps)
    grid: dict[int, float] = {}
    for frame in frames:
        grid.setdefault(math.floor((frame.seconds + 1e-6) * rate), frame.seconds)
    assert times(list(sample(frames, SamplingGrid(rate)))) == list(grid.values())


@given(gaps, rates, st.floats(0.0, 20.0), st.floats(0.05, 20.0))
def test_a_window_gives_frames_inside_it_or_the_one_shown_at_its_start(
    gaps: list[float], rate: float, start: float, length: float
) -> None:
    frames = ticks(gaps)
    picks = list(sample(frames, SamplingGrid(rate, start, start + length)))
    assert picks
    inside = [frame for frame in frames if start <= frame.seconds + 1e-6 < start + length]
    if inside:
        assert picks[0] == inside[0]
        assert set(picks) <= set(inside)
    else:
        assert picks == [shown_at(frames, start)]


def test_an_even_film_gives_even_samples() -> None:
    frames = [Tick(i / 25) for i in range(100)]
    assert times(list(sample(frames, SamplingGrid(5)))) == pytest.approx([i / 5 for i in range(20)])


def test_stamps_rounded_by_the_container_stay_on_the_grid() -> None:
    frames = [Tick(t) for t in (0.0, 0.4999995, 0.9999995)]
    assert list(sample(frames, SamplingGrid(2))) == frames


def test_frames_after_the_window_are_never_pulled() -> None:
    def film() -> Iterator[Tick]:
        yield Tick(0.0)
        yield Tick(1.0)
        yield Tick(2.0)
        raise AssertionError("the window ended at 2.0")

    assert times(list(sample(film(), SamplingGrid(1, 0.0, 2.0)))) == [0.0, 1.0]


def test_nothing_in_nothing_out() -> None:
    assert list(sample([], SamplingGrid(2))) == []
    assert shown_at([], 1.0) is None


@given(gaps, st.floats(-1.0, 100.0))
def test_shown_at_is_the_last_frame_not_after_that_second(gaps: list[float], second: float) -> None:
    frames = ticks(gaps)
    shown = shown_at(frames, second)
    before = [frame for frame in frames if frame.seconds <= second + 1e-6]
    assert shown == (before[-1] if before else frames[0])


@given(gaps, st.floats(0.0, 300.0))
def test_samples_last_until_the_next_one(gaps: list[float], duration: float) -> None:
    seconds = np.array(times(ticks(gaps)))
    ends = sample_ends(seconds, duration)
    assert ends.shape == seconds.shape and ends.dtype == np.float64
    assert (ends >= seconds).all()
    assert (ends[:-1] == seconds[1:]).all()
    assert ends[-1] == max(duration, seconds[-1])


def test_no_samples_have_no_ends() -> None:
    assert sample_ends(np.zeros(0), 3.0).shape == (0,)
