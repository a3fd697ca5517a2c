"""VCSL's segment precision and recall: arithmetic on boxes of time; knows no videos and no methods.

A copied segment is a box: a stretch of the query times a stretch of a video. For one pair of videos precision is, along
each of the two times, the share of what was predicted that lies inside true boxes it meets, and the product of the two;
recall the same the other way round (He et al., CVPR 2022, arXiv 2203.02654, section 4; github.com/ant-research/VCSL).
Over many pairs both are averaged: precision over pairs with a prediction, so that one in a wrong video counts 0; recall
over pairs with a true segment. Here every query has one true box.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Box(NamedTuple):
    """A stretch of the query and a stretch of the video `name`, in seconds."""

    name: str
    query_start: float
    query_end: float
    start: float
    end: float


class Scored(Protocol):
    @property
    def box(self) -> Box: ...

    @property
    def score(self) -> float: ...


Asked = Sequence[tuple[Box, Sequence[Scored]]]  # the true box of each query, and its answers


@dataclass(frozen=True)
class Score:
    precision: float
    recall: float

    @property
    def f(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


Threshold = float
TRIED = 64  # thresholds


def scored(asked: Asked) -> Score:
    """(true box, answers) of each query -> micro averages over all pairs of videos."""
    precisions, recalls = [], []
    for truth, answers in asked:
        predicted = [answer.box for answer in answers]
        recalls.append(_covered([truth], [box for box in predicted if box.name == truth.name]))
        precisions += [
            _covered([box for box in predicted if box.name == name], [truth] if name == truth.name else [])
            for name in {box.name for box in predicted}
        ]
    return Score(float(np.mean(precisions)) if precisions else 0.0, float(np.mean(recalls)))


def best_threshold(asked: Asked) -> Threshold:
    """The lowest score to keep for the best F."""
    scores = sorted({answer.score for _, answers in asked for answer in answers})
    tried = [scores[i] for i in sorted({len(scores) * place // TRIED for place in range(TRIED)})] if scores else []
    return max(tried, default=0.0, key=lambda bar: scored(_kept(asked, bar)).f)


def boundary_errors(asked: Asked) -> list[float]:
    """Seconds by which each of the four ends is wrong, of each query's longest segment that meets its truth."""
    errors: list[float] = []
    for truth, answers in asked:
        met = [(_overlap(answer.box, truth), answer.box) for answer in answers]
        shared, box = max(met, default=(0.0, truth))
        if shared > 0:
            errors += [abs(a - b) for a, b in zip(box[1:], truth[1:], strict=True)]
    return errors


def _kept(asked: Asked, bar: float) -> Asked:
    return [(truth, [answer for answer in answers if answer.score >= bar]) for truth, answers in asked]


def _covered(boxes: list[Box], by: list[Box]) -> float:
    """Which share of the boxes' length, along each time, lies in boxes of `by` that they meet; the product."""
    product = 1.0
    for along in (_of_query, _of_video):
        length = sum(end - start for start, end in map(along, boxes))
        inside = 0.0
        for box in boxes:
            start, end = along(box)
            met = [along(other) for other in by if _overlap(box, other) > 0]
            inside += _union([(max(start, first), min(end, last)) for first, last in met])
        product *= inside / length if length else 0.0
    return product


def _of_query(box: Box) -> tuple[float, float]:
    return box.query_start, box.query_end


def _of_video(box: Box) -> tuple[float, float]:
    return box.start, box.end


def _overlap(a: Box, b: Box) -> float:
    if a.name != b.name:
        return 0.0
    across = min(a.query_end, b.query_end) - max(a.query_start, b.query_start)
    along = min(a.end, b.end) - max(a.start, b.start)
    return max(0.0, across) * max(0.0, along)


def _union(stretches: list[tuple[float, float]]) -> float:
    total, reached = 0.0, -np.inf
    for start, end in sorted(stretches):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return float(total)
