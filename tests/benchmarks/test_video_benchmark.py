"""benchmarks/helpers/segment_metric.py: VCSL's precision and recall on boxes whose answer is plain."""

from dataclasses import dataclass

import pytest
from helpers.segment_metric import Box, best_threshold, boundary_errors, scored


@dataclass(frozen=True)
class Answer:
    box: Box
    score: float = 1.0


TRUTH = Box("film", 0, 10, 20, 30)


def test_the_truth_itself_is_perfect() -> None:
    score = scored([(TRUTH, [Answer(TRUTH)])])
    assert (score.precision, score.recall, score.f) == (1, 1, 1)


def test_two_halves_are_as_good_as_the_whole() -> None:
    halves = [Answer(Box("film", 0, 5, 20, 25)), Answer(Box("film", 5, 10, 25, 30))]
    assert scored([(TRUTH, halves)]).f == pytest.approx(1)


def test_half_found_is_a_quarter_recalled_since_both_times_count() -> None:
    score = scored([(TRUTH, [Answer(Box("film", 0, 5, 20, 25))])])
    assert (score.precision, score.recall) == (1, 0.25)


def test_a_wrong_video_costs_precision_and_nothing_found_costs_recall_only() -> None:
    wrong = scored([(TRUTH, [Answer(TRUTH), Answer(Box("other", 0, 10, 0, 10))])])
    assert (wrong.precision, wrong.recall) == (0.5, 1)
    assert scored([(TRUTH, []), (TRUTH, [Answer(TRUTH)])]).recall == 0.5
    assert scored([(TRUTH, [])]).f == 0


def test_the_threshold_leaves_the_false_alarm_out() -> None:
    asked = [(TRUTH, [Answer(TRUTH, 0.9), Answer(Box("other", 0, 10, 0, 10), 0.2)])]
    assert 0.2 < best_threshold(asked) <= 0.9


def test_boundaries_are_compared_on_both_sides() -> None:
    assert boundary_errors([(TRUTH, [Answer(Box("film", 1, 10, 20, 28))])]) == [1, 0, 0, 2]
    assert boundary_errors([(TRUTH, [Answer(Box("other", 0, 10, 20, 30))])]) == []
