"""Alignment: where in an item does a clip run along? Arithmetic on similarities; knows no index and no files.

A temporal network after VCSL's TN: nodes are pairs (query moment, item moment), edges are steps forward in
both times at half to double speed, and the best path by dynamic programming is where the clip runs along.
Both sides are laid on one regular grid of time first, so that a variable frame rate needs no care and a whole
row of nodes is one numpy operation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...export.calibration import Calibration
from .likeness import likeness

MAX_CELLS = 8_000_000  # of the grid; a longer pair is looked at more coarsely
MAX_SEGMENTS = 5
UNEVEN_STEP_COST = 0.3  # of running at half or double speed for one step
# (query steps, item steps): same speed, item twice as fast, item half as fast.
STEPS = ((1, 1), (1, 2), (2, 1))
SURE_SECONDS = 4.0
WORTH_MORE = 0.1  # confidence of the best stretch below which no others are looked for
MIN_SPEED_POINTS = 5
MARGIN = 2  # rows and columns that the longest step goes back

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """A stretch of the query and the stretch of an item that looks like it. Seconds from each one's start.

    score     the mean cosine times the share of the query that is covered
    likeness  how alike the pictures are: 0 as any two frames of the collection, 1 identical; at most 1
    confidence  how sure it is that both show the same footage, 0..1. Here: likeness over SURE_SECONDS or more of
        frames that tell; in the answer of a search: the chance that confidence.py makes of it, None without a curve
    speed     seconds of the item that pass in one second of the query: 1.5 where the query runs faster
    mirrored  whether the query's pictures look like the item's when left and right are exchanged
    inset     whether the item runs as a small film within the query's pictures
    verified  whether pictures of both were looked at and are the same; None: they were not, or could not be
    """

    query_start_seconds: float
    query_end_seconds: float
    start_seconds: float
    end_seconds: float
    score: float
    likeness: float = 1.0
    confidence: float | None = 0.0
    speed: float = 1.0
    mirrored: bool = False
    inset: bool = False
    verified: bool | None = None


@dataclass(frozen=True)
class Timeline:
    """The frames of one side of a comparison, (N,) each. `weights` in 0..1 says how much a frame tells."""

    start_seconds: Floats
    end_seconds: Floats
    weights: Floats

    def on_grid(self, step_seconds: float) -> NDArray[np.int64]:
        """(G,) int64: for each tick from the first frame to the last, the frame nearest in time."""
        starts = self.start_seconds
        ticks = starts[0] + step_seconds * np.arange(round((starts[-1] - starts[0]) / step_seconds) + 1)
        between = (starts[1:] + starts[:-1]) / 2
        return np.asarray(np.searchsorted(between, ticks), np.int64)


def align(
    similarity: NDArray[np.float32],
    background: NDArray[np.float32],
    query: Timeline,
    item: Timeline,
    calibration: Calibration,
) -> list[Segment]:
    """similarity (Q, T) cosines, background (Q,) cosines to the mean of all frames -> best segment first.

    There is at least one: when nothing runs along, the most similar pair of frames. A segment's score is the
    mean cosine along its path times the share of the query (by weight) that the path spans: it grows with
    either, and is 1 only where the whole clip is there frame for frame. Segments do not overlap in the item.
    """
    step_seconds = _grid_step(query, item)
    rows, columns = query.on_grid(step_seconds), item.on_grid(step_seconds)
    cosines = similarity[np.ix_(rows, columns)]
    row_weights = query.weights[rows].astype(np.float32)
    alike = likeness(cosines, background[rows][:, None], calibration)
    gain = _gain(alike, row_weights, item.weights[columns].astype(np.float32))
    segments: list[Segment] = []
    for path in _paths(gain, row_weights):
        along, across = path[:, 0], path[:, 1]
        weights = row_weights[along]
        spanned = row_weights[along[0] : along[-1] + 1].sum() / row_weights.sum()
        score = float(np.average(cosines[along, across], weights=weights) * spanned)
        if segments and score < segments[0].score / 2:
            break
        mean_likeness = float(np.average(alike[along, across], weights=weights))
        segments.append(
            Segment(
                *_stretches(query, item, rows[along], columns[across], step_seconds),
                min(1.0, max(-1.0, score)),
                mean_likeness,
                _confidence(mean_likeness, float(weights.sum()) * step_seconds),
                _speed(query.start_seconds[rows[along]], item.start_seconds[columns[across]]),
            )
        )
        if (segments[0].confidence or 0.0) < WORTH_MORE:
            break
    return _apart(sorted(segments, key=lambda segment: -segment.score))


def _apart(segments: list[Segment]) -> list[Segment]:
    """Best first: where the ends of two, laid on their lines, meet in the item, the better one keeps its end.

    The best one always stays, also where it has no length, as in a picture.
    """
    kept: list[Segment] = []
    for segment in segments:
        start, end = segment.start_seconds, segment.end_seconds
        for better in kept:
            if better.start_seconds <= start < better.end_seconds:
                start = better.end_seconds
            elif start < better.start_seconds < end:
                end = better.start_seconds
        if start < end or not kept:
            kept.append(replace(segment, start_seconds=start, end_seconds=end))
    return kept


def _stretches(
    query: Timeline, item: Timeline, rows: NDArray[np.int64], columns: NDArray[np.int64], step_seconds: float
) -> tuple[float, float, float, float]:
    """From when to when, on both sides: (query start, query end, item start, item end) of a path of frame pairs.

    The item's ends are those of the query laid on the line through all pairs: a sampled frame stands for a whole step,
    and the line knows where in it the clip begins and ends.
    """
    query_start, query_end = float(query.start_seconds[rows[0]]), float(query.end_seconds[rows[-1]])
    start, end = float(item.start_seconds[columns[0]]), float(item.end_seconds[columns[-1]])
    if len(rows) > 1:
        here, there = query.start_seconds[rows], item.start_seconds[columns]
        speed = _speed(here, there)
        offset = float((there - speed * here).mean())
        first, last = start, float(there[-1])
        reach = (float(item.start_seconds[0]), float(item.end_seconds[-1]))
        start = float(
            np.clip(speed * query_start + offset, *np.clip((first - step_seconds, first + step_seconds), *reach))
        )
        end = float(np.clip(speed * query_end + offset, *np.clip((last, end + step_seconds), *reach)))
        end = max(end, start + 1e-3)
    return query_start, query_end, start, end


def _speed(query_seconds: Floats, item_seconds: Floats) -> float:
    """The slope of a path; 1.0 where it is too short to tell, or as near to 1 as its ends allow to tell."""
    if len(query_seconds) < MIN_SPEED_POINTS:
        return 1.0
    offsets = query_seconds - query_seconds.mean()
    slope = float(offsets @ (item_seconds - item_seconds.mean()) / max(float(offsets @ offsets), 1e-9))
    uncertain = 2 * float(np.median(np.diff(query_seconds))) / max(float(np.ptp(query_seconds)), 1e-9)
    return 1.0 if abs(slope - 1) <= uncertain else min(2.0, max(0.5, slope))


def _grid_step(query: Timeline, item: Timeline) -> float:
    """The usual distance of the query's frames; more where the grid would grow beyond MAX_CELLS."""
    spans: list[float] = [side.start_seconds[-1] - side.start_seconds[0] for side in (query, item)]
    sampled = query.start_seconds if len(query.start_seconds) > 1 else item.start_seconds
    usual = float(np.median(np.diff(sampled))) if len(sampled) > 1 else 1.0
    return max(usual, float(np.sqrt(spans[0] * spans[1] / MAX_CELLS)), max(spans) / MAX_CELLS, 1e-3)


def _confidence(mean_likeness: float, telling_seconds: float) -> float:
    """Likeness beyond half-way to identical, discounted where only few telling frames speak for it."""
    return float(np.clip(2 * mean_likeness - 1, 0, 1) * (1 - np.exp(-telling_seconds / SURE_SECONDS)))


def _gain(
    alike: NDArray[np.float32], row_weights: NDArray[np.float32], column_weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """alike (Q, T) -> (Q, T) in -1..1: above 0 where two frames are more than half-way to identical."""
    gain = np.clip(2 * alike - 1, -1, 1)
    return np.asarray(gain * row_weights[:, None] * column_weights[None, :], np.float32)


def _paths(gain: NDArray[np.float32], row_weights: NDArray[np.float32]) -> Iterator[NDArray[np.int64]]:
    """The best path (P, 2) of rows and columns, then the best that shares no column with those before."""
    gain = gain.copy()
    for count in range(MAX_SEGMENTS):
        path = _best_path(gain, row_weights)
        if count and len(path) < min(2, len(gain)):
            return
        yield path
        gain[:, path[0, 1] : path[-1, 1] + 1] = -1
        if (gain <= 0).all():
            return


def _best_path(gain: NDArray[np.float32], row_weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """(P, 2): the path of most gain in total; the one best cell when no gain is above 0."""
    height, width = gain.shape
    costs = UNEVEN_STEP_COST * row_weights
    total = np.zeros((height + MARGIN, width + MARGIN), np.float32)  # so that the longest step stays inside
    for row in range(height):
        reached = np.zeros(width, np.float32)  # a path may begin anywhere
        for down, right in STEPS:
            before = total[row + MARGIN - down, MARGIN - right : width + MARGIN - right]
            np.maximum(reached, before - (costs[row] if down != right else 0), out=reached)
        np.add(gain[row], reached, out=total[row + MARGIN, MARGIN:])
    runs = total.max() > 0
    scores = total[MARGIN:, MARGIN:] if runs else gain
    row, column = (int(i) for i in np.unravel_index(scores.argmax(), scores.shape))
    path = [(row, column)]
    while runs:
        origins = [
            total[row + MARGIN - down, column + MARGIN - right] - (costs[row] if down != right else 0)
            for down, right in STEPS
        ]
        best = int(np.argmax(origins))
        if origins[best] <= 0:
            break
        down, right = STEPS[best]
        row, column = row - down, column - right
        path.append((row, column))
    return np.array(path[::-1], np.int64)
