"""vicmae.index.matching.alignment: made similarities in, stretches of time out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_queries import sure
from numpy.typing import NDArray

from vicmae.export.engine.engine import FAKE_CALIBRATION
from vicmae.index.matching import Segment, Timeline, align

Matrix = NDArray[np.float32]


def side(count: int, step_seconds: float = 0.5, weights: NDArray[np.float64] | None = None) -> Timeline:
    starts = np.arange(count, dtype=np.float64) * np.float64(step_seconds)
    return Timeline(starts, starts + step_seconds, np.ones(count) if weights is None else weights)


def noise(rows: int, columns: int, level: float = 0.2, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).uniform(-level, level, (rows, columns)).astype(np.float32)


def found(similarity: Matrix, query: Timeline, item: Timeline, background: float = 0.0) -> list[Segment]:
    return align(similarity, np.full(len(similarity), background, np.float32), query, item, FAKE_CALIBRATION)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(3, 24),
    start=st.integers(0, 60),
    seed=st.integers(0, 10_000),
    step=st.sampled_from([0.1, 0.5, 2]),
)
def test_a_run_along_a_diagonal_is_found_whole(length: int, start: int, seed: int, step: float) -> None:
    similarity = noise(length, 100, seed=seed)
    rows = np.arange(length)
    similarity[rows, start + rows] = 0.95
    best = found(similarity, side(length, step), side(100, step))[0]
    assert best.start_seconds == pytest.approx(start * step)
    assert best.end_seconds == pytest.approx((start + length) * step)
    assert best.query_start_seconds == 0
    assert best.query_end_seconds == pytest.approx(length * step)
    assert best.score == pytest.approx(0.95, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_any_similarity_gives_ordered_segments_inside_both_sides(rows: int, columns: int, seed: int) -> None:
    similarity = noise(rows, columns, level=1.0, seed=seed)
    segments = found(similarity, side(rows), side(columns))
    assert 1 <= len(segments) <= 5
    assert [s.score for s in segments] == sorted((s.score for s in segments), reverse=True)
    for segment in segments:
        assert -1 <= segment.score <= 1
        assert 0 <= segment.query_start_seconds < segment.query_end_seconds <= rows * 0.5
        assert 0 <= segment.start_seconds < segment.end_seconds <= columns * 0.5
    stretches = sorted((s.start_seconds, s.end_seconds) for s in segments)
    assert all(before[1] <= after[0] for before, after in zip(stretches, stretches[1:], strict=False))


def test_when_nothing_runs_along_the_most_similar_pair_is_told_and_scores_low() -> None:
    similarity = noise(10, 50)
    similarity[3, 20] = 0.4
    (best, *_) = found(similarity, side(10), side(50))
    assert (best.start_seconds, best.end_seconds) == (10.0, 10.5)
    assert best.score == pytest.approx(0.04)


def test_half_a_clip_scores_half_of_the_whole() -> None:
    rows = np.arange(10)
    whole, half = noise(10, 60), noise(10, 60)
    whole[rows, 30 + rows] = 0.9
    half[rows[:5], 30 + rows[:5]] = 0.9
    assert found(half, side(10), side(60))[0].score == pytest.approx(
        found(whole, side(10), side(60))[0].score / 2, abs=0.01
    )


@pytest.mark.parametrize("speed", [0.67, 1.5])
def test_a_clip_played_faster_or_slower_is_found(speed: float) -> None:
    rows = np.arange(20)
    columns = np.round(20 + rows * speed).astype(int)
    similarity = noise(20, 80)
    similarity[rows, columns] = 0.95
    best = found(similarity, side(20), side(80))[0]
    assert best.start_seconds == pytest.approx(columns[0] / 2, abs=1)
    assert best.end_seconds == pytest.approx(columns[-1] / 2 + 0.5, abs=1)
    assert best.score > 0.7
    assert best.speed == pytest.approx(speed, abs=0.1)


def test_a_clip_that_is_shown_twice_gives_two_segments() -> None:
    rows = np.arange(8)
    similarity = noise(8, 90)
    similarity[rows, 10 + rows] = 0.95
    similarity[rows, 60 + rows] = 0.9
    segments = found(similarity, side(8), side(90))
    assert [(s.start_seconds, s.end_seconds) for s in segments] == [(5, 9), (30, 34)]


def test_a_few_frames_that_do_not_match_do_not_tear_a_run() -> None:
    rows = np.arange(20)
    similarity = noise(20, 60)
    similarity[rows, 15 + rows] = 0.95
    similarity[9:11] = 0.0
    best = found(similarity, side(20), side(60))[0]
    assert [best.start_seconds, best.end_seconds] == pytest.approx([7.5, 17.5], abs=0.1)


def test_the_floor_follows_the_background() -> None:
    """Where all frames are alike at 0.9, only what stands out above that runs along."""
    rows = np.arange(10)
    similarity = 0.9 + noise(10, 60, level=0.02)
    similarity[rows, 25 + rows] = 0.99
    best = found(similarity, side(10), side(60), background=0.9)[0]
    assert (best.start_seconds, best.end_seconds) == (12.5, 17.5)


def test_a_still_scene_in_a_still_collection_is_found_whole() -> None:
    similarity = np.ones((10, 60), np.float32)
    best = found(similarity, side(10), side(60), background=1.0)[0]
    assert best.score == pytest.approx(1)
    assert best.end_seconds - best.start_seconds == pytest.approx(5)


def test_uninformative_frames_do_not_decide() -> None:
    """Ten black frames match ten black ones; three telling frames match elsewhere, and win."""
    weights = np.array([0.05] * 10 + [1.0] * 3)
    columns = np.ones(80)
    columns[:20] = 0.05
    similarity = noise(13, 80)
    rows = np.arange(10)
    similarity[rows, 2 + rows] = 1.0
    similarity[[10, 11, 12], [60, 61, 62]] = 0.9
    best = found(similarity, side(13, weights=weights), side(80, weights=columns))[0]
    assert (best.start_seconds, best.end_seconds) == (30, 31.5)


def test_frames_at_a_varying_rate_are_laid_on_one_grid() -> None:
    rng = np.random.default_rng(1)
    starts = np.cumsum(rng.uniform(0.3, 0.7, 100))
    item = Timeline(starts, np.append(starts[1:], starts[-1] + 0.5), np.ones(100))
    true_start = starts[40]
    query = side(12)
    nearest = np.abs(starts[None] - (true_start + query.start_seconds[:, None])).argmin(axis=1)
    similarity = noise(12, 100)
    similarity[np.arange(12), nearest] = 0.95
    best = found(similarity, query, item)[0]
    assert best.start_seconds == pytest.approx(true_start, abs=0.7)
    assert best.end_seconds == pytest.approx(true_start + 6, abs=0.7)


def test_a_pair_of_long_films_stays_within_memory() -> None:
    """Six hours against two minutes: more coarsely, but found."""
    starts = np.arange(0, 21_600, 2.0)
    item = Timeline(starts, starts + 2, np.ones(len(starts)))
    query = side(1200, 0.1)
    similarity = np.zeros((1200, len(starts)), np.float32)
    rows = np.arange(1200)
    similarity[rows, 5000 + (rows * 0.1 / 2).astype(int)] = 0.9
    best = found(similarity, query, item)[0]
    assert best.start_seconds == pytest.approx(10_000, abs=4)
    assert best.end_seconds == pytest.approx(10_120, abs=6)


def test_one_frame_is_found_as_finely_as_the_item_was_sampled() -> None:
    similarity = noise(1, 90)
    similarity[0, 33] = 0.95
    best = found(similarity, side(1), side(90, 0.25))[0]
    assert (best.start_seconds, best.end_seconds) == (8.25, 8.5)


def test_ends_lie_on_the_line_and_not_on_the_samples() -> None:
    """A clip that begins a quarter of a step after a sampled frame: neither side ends where its frames do."""
    rows = np.arange(12)
    ends = np.append(rows[1:], 11.4).astype(np.float64)
    query = Timeline(rows.astype(np.float64), ends, np.ones(12))
    similarity = noise(12, 50)
    similarity[rows, 20 + rows] = 0.95
    best = found(similarity, query, side(50, 1.0))[0]
    assert best.query_end_seconds == pytest.approx(11.4)
    assert [best.start_seconds, best.end_seconds] == pytest.approx([20, 31.4])


def test_confidence_grows_with_the_time_that_tells_and_with_likeness() -> None:
    def confidence(rows: int, cosine: float, weight: float = 1.0) -> float:
        similarity = noise(rows, 60)
        similarity[np.arange(rows), 20 + np.arange(rows)] = cosine
        (best, *_) = found(similarity, side(rows, weights=np.full(rows, weight)), side(60))
        return sure(best)

    assert 0 <= confidence(4, 0.9) < confidence(20, 0.9) < confidence(20, 0.99) <= 1
    assert confidence(20, 0.95, weight=0.1) < confidence(20, 0.95)
    assert confidence(20, 0.4) == 0
