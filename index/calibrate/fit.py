"""Fitting: rows of what was found, right and wrong -> curves and thresholds. Arithmetic."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...export.calibration import UNCALIBRATED, Calibration, Curve
from ..catalog import Moments
from ..matching import likeness
from .edits import LIGHT
from .frames import Floats, FrameRow

LEAST = 0.005  # of a frame's likeness: nearer to identical than this is not told apart
MAX_BACKGROUND_SHARE = 0.9  # of the pictures have a background below max_background
WINDOW = 10  # frames of a stretch whose variety is measured
STEPS = 50  # of Newton's method at most
Numbers = NDArray[np.float64]


def fit_curve(values: Sequence[float], right: Sequence[bool], least: float | None, what: str) -> Curve:
    """The logistic curve most likely to give these rows, with Platt's targets (1999), so that it is never certain.

    Raises InvalidRequest where right rows have no higher values than wrong ones: then there is nothing to be sure of.
    """
    x = np.array([value if least is None else -log(1 - min(max(value, 0.0), 1.0) + least) for value in values])
    y = np.array(right, np.float64)
    good, bad = float(y.sum()), float(len(y) - y.sum())
    target = np.where(y > 0, (good + 1) / (good + 2), 1 / (bad + 2))
    columns = np.stack([np.ones_like(x), x], axis=1)
    weights = np.zeros(2)
    loss = _loss(weights, columns, target)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(columns @ weights, -500, 500)))
        slope = columns.T @ (chance - target)
        bend = (columns * (chance * (1 - chance))[:, None]).T @ columns + 1e-9 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        while (lower := _loss(weights - step, columns, target)) > loss and np.abs(step).max() > 1e-12:
            step /= 2
        if loss - lower < 1e-10:
            break
        weights, loss = weights - step, lower
    if good == 0 or bad == 0 or weights[1] <= 0:
        raise InvalidRequest(
            f"No curve can be fitted for {what}: of {len(y)} answers {good:.0f} were right, and those were not more "
            f"alike than the others. Either the media hold too little that differs, or the model tells nothing apart."
        )
    return Curve(round(float(weights[0]), 4), max(round(float(weights[1]), 4), 1e-4), least)


def _loss(weights: Numbers, columns: Numbers, target: Numbers) -> float:
    """Minus the logarithm of the likelihood."""
    odds = columns @ weights
    return float((np.logaddexp(0, odds) - target * odds).sum())


def fit_frames(
    rows: list[FrameRow], films: Sequence[Moments], mean: Floats, fitted_on: dict[str, object]
) -> Calibration:
    """Thresholds, and the curve of frames; folding and stretches are fitted by who has clips.

    Each row tells twice: of a library that holds the picture, what its best hit is; of one that does not, that the best
    hit is wrong.
    """
    background = np.array([row.background for row in rows], np.float32)
    most = float(np.clip(np.quantile(background, MAX_BACKGROUND_SHARE), 0.0, UNCALIBRATED.max_background))
    usual = replace(UNCALIBRATED, max_background=most)
    own = likeness(np.array([row.own for row in rows], np.float32), background, usual)
    other = likeness(np.array([row.other for row in rows], np.float32), background, usual)
    is_first = own >= other
    values = np.concatenate([np.where(is_first, own, other), other]).tolist()
    curve = fit_curve(values, [*is_first.tolist(), *([False] * len(rows))], LEAST, "frames")
    is_light = np.array([row.edit in LIGHT for row in rows])
    is_turned = np.array([row.edit == "flip" for row in rows])
    light = own[is_light]
    same_footage = _apart(own[~is_turned], other)
    cosines = np.array([row.own for row in rows])
    moved = np.concatenate([_varied(film, mean, usual) for film in films] or [np.zeros(0)])
    about = float(np.clip(1 - np.median(light), 0.01, 0.5))
    return Calibration(
        max_background=_told(most),
        same_shot=_told(_of_shots(films, mean, usual, same_footage)),
        same_frame=_told(max(float(np.quantile(light, 0.05)), same_footage)),
        same_footage=_told(same_footage),
        clearly_less=_told(float(np.clip(1 - same_footage, 0.05, 1.0))),
        about_as_alike=_told(about),
        varied=_told(float(np.clip(np.median(moved) if len(moved) else 2 * about, 0.01, 1.0))),
        rerank_score=_told(float(np.clip(np.quantile(cosines[~is_turned], 0.05), -1, 1))),
        rerank_tie=_told(float(np.clip(1 - np.median(cosines[~is_turned]), 0, 1))),
        folding_cosine=UNCALIBRATED.folding_cosine,
        frame=curve,
        mean=tuple(mean.tolist()),
        fitted_on=fitted_on,
    )


def _of_shots(films: Sequence[Moments], mean: Floats, usual: Calibration, otherwise: float) -> float:
    """What tells frames in a row, most of them of one shot, from frames of two films in turn."""
    near, far = [], []
    for film, next_film in zip(films, [*films[1:], *films[:1]], strict=True):
        if film is next_film or len(film.vectors) < 2:
            continue
        both = min(len(film.vectors), len(next_film.vectors))
        background = film.vectors @ mean
        in_a_row = (film.vectors[1:] * film.vectors[:-1]).sum(axis=1)
        near.append(likeness(in_a_row, np.maximum(background[1:], background[:-1]), usual))
        across = (film.vectors[:both] * next_film.vectors[:both]).sum(axis=1)
        far.append(likeness(across, np.maximum(background[:both], next_film.vectors[:both] @ mean), usual))
    return _apart(np.concatenate(near), np.concatenate(far)) if near else otherwise


def _varied(film: Moments, mean: Floats, usual: Calibration) -> Numbers:
    """1 - the mean likeness of the frames of each window among each other."""
    found = []
    for first in range(0, len(film.vectors) - WINDOW + 1, WINDOW):
        vectors = film.vectors[first : first + WINDOW]
        alike = likeness(vectors @ vectors.T, (vectors @ mean)[:, None], usual)
        found.append(1 - (float(alike.sum()) - float(np.trace(alike))) / (WINDOW * (WINDOW - 1)))
    return np.array(found)


def _apart(above: Floats, below: Floats) -> float:
    """The threshold in 0.05..0.95 with the highest mean share of those above it and those below it."""
    grid = np.linspace(0.05, 0.95, 91)
    shares = [float((above >= value).mean() + (below < value).mean()) for value in grid]
    best = np.flatnonzero(np.array(shares) >= max(shares) - 1e-9)
    return float(grid[best[len(best) // 2]])


def _told(value: float) -> float:
    """Not more digits than it has."""
    return round(float(value), 4)
