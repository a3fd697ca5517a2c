"""By which transform does one picture lie on another? Local features that match, and a robust estimate.

The transform is a homography (3, 3) of pixels of the query to pixels of the stored picture. A few points are enough for
a candidate, because whoever asks looks at the content that it lays on each other (residual.py).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .features import Features, Floats
from .quads import Matrix, jacobian, mapped, overlap, signed_area

RATIO = 0.82  # of the distances to the nearest and the second nearest descriptor: a match is nearer than that
LEAST_INLIERS = 4
LEAST_HOMOGRAPHY = 8  # inliers of one
REACH = 4.0  # pixels: of an inlier
TRIES = 2000  # of the robust estimate, at most
CERTAINTY = 0.995  # that the best transform was among those tried
ENOUGH = 0.85  # share of the matches that a similarity explains, from which no homography is tried
CLEARLY_MORE = 1.15  # times as many inliers: then a homography replaces a similarity
GUIDED_REACH = 6.0  # pixels: where a point is looked for once the transform is nearly known
GUIDED_LIKENESS = 0.75  # of the descriptors, cosine: there are few points there, so that no ratio is needed
AFFINE_POINTS = 6  # with fewer nothing is refined
HOMOGRAPHY_POINTS = 12  # inliers of one that is refined
SLIGHTLY_MORE = 1.05  # times as many inliers: then a homography replaces an affine transform
MAX_SCALE = 12.0  # times larger or smaller, along any direction
MAX_STRETCH = 3.0  # times as much along one direction as across it
MAX_PERSPECTIVE = 4.0  # times as large at one place as at another
LEAST_OVERLAP = 400.0  # square pixels


@dataclass(frozen=True, eq=False)
class Registration:
    """transform: query pixels -> stored pixels; inliers: matches within REACH of it."""

    transform: Matrix
    inliers: int


def register(query: Features, stored: Features) -> Registration | None:
    """None where no plausible transform has LEAST_INLIERS. Always the same answer for the same pictures."""
    if min(len(query.points), len(stored.points)) < LEAST_INLIERS:
        return None
    likeness = query.descriptors @ stored.descriptors.T
    ours, theirs = _matches(likeness)
    first = _estimated(query.points[ours], stored.points[theirs])
    if first is None:
        return None
    second = _refined(first, query, stored, likeness)
    best: Registration | None = None
    for transform in (first, second):
        if transform is not None and _is_plausible(transform, query, stored):
            apart = mapped(transform, query.points[ours].astype(np.float64)) - stored.points[theirs]
            inliers = int(((apart**2).sum(axis=1) <= REACH**2).sum())
            if inliers >= max(LEAST_INLIERS, best.inliers if best else 0):
                best = Registration(transform, inliers)
    return best


def _matches(likeness: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """likeness (N, M) of descriptors -> rows of both sides that match; no point is in two matches."""
    nearest = likeness.argmax(axis=1)
    second, best = np.partition(likeness, -2, axis=1)[:, -2:].T
    kept = np.flatnonzero(1 - best < RATIO**2 * (1 - second))  # squared distances of unit vectors
    kept = kept[np.argsort(-best[kept], kind="stable")]
    _, first = np.unique(nearest[kept], return_index=True)
    kept = kept[np.sort(first)]
    return kept, nearest[kept]


def _estimated(ours: Floats, theirs: Floats) -> Matrix | None:
    """A similarity, or a homography where that explains clearly more."""
    if len(ours) < LEAST_INLIERS:
        return None
    matrix, inside = cv2.estimateAffinePartial2D(
        ours, theirs, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=TRIES, confidence=CERTAINTY
    )
    similarity, count = (None, 0) if matrix is None else (_square(matrix), int(inside.sum()))
    if count < ENOUGH * len(ours):
        full, inside = cv2.findHomography(ours, theirs, cv2.RANSAC, REACH, maxIters=TRIES, confidence=CERTAINTY)
        if full is not None and inside.sum() >= max(LEAST_HOMOGRAPHY, CLEARLY_MORE * count):
            return np.asarray(full, np.float64)
    return similarity


def _refined(transform: Matrix, query: Features, stored: Features, likeness: Floats) -> Matrix | None:
    """Estimated again from all points that lie near where the transform puts them and look alike."""
    ends = mapped(transform, query.points.astype(np.float64)).astype(np.float32)
    apart = (ends[:, :1] - stored.points[None, :, 0]) ** 2 + (ends[:, 1:] - stored.points[None, :, 1]) ** 2
    near = np.where(apart <= GUIDED_REACH**2, likeness, np.float32(-1))
    nearest = near.argmax(axis=1)
    alike = np.flatnonzero(near[np.arange(len(near)), nearest] >= GUIDED_LIKENESS)
    ours, theirs = query.points[alike], stored.points[nearest[alike]]
    if len(ours) < AFFINE_POINTS:
        return None
    reach, tries = REACH / 2, TRIES // 4
    matrix, inside = cv2.estimateAffine2D(
        ours, theirs, method=cv2.RANSAC, ransacReprojThreshold=reach, maxIters=tries, confidence=CERTAINTY
    )
    affine, count = (None, 0) if matrix is None else (_square(matrix), int(inside.sum()))
    full, inside = cv2.findHomography(ours, theirs, cv2.RANSAC, reach, maxIters=tries, confidence=CERTAINTY)
    if full is not None and inside.sum() >= max(HOMOGRAPHY_POINTS, SLIGHTLY_MORE * count):
        return np.asarray(full, np.float64)
    return affine


def _square(matrix: NDArray[np.float64]) -> Matrix:
    """(2, 3) -> (3, 3)."""
    return np.vstack([matrix, (0.0, 0.0, 1.0)])


def _is_plausible(transform: Matrix, query: Features, stored: Features) -> bool:
    """Whether it is not collapsed, folded, or distorted as no edit distorts a picture, where both overlap."""
    if not np.isfinite(transform).all():
        return False
    polygon = overlap(transform, query.size, stored.size)
    if len(polygon) < 3 or signed_area(polygon) < LEAST_OVERLAP:
        return False
    scales = []
    for place in (*polygon, polygon.mean(axis=0)):
        local = jacobian(transform, place)
        largest, least = np.linalg.svd(local, compute_uv=False)
        if np.linalg.det(local) <= 0 or largest > min(MAX_SCALE, MAX_STRETCH * least) or least < 1 / MAX_SCALE:
            return False
        scales.append(float(np.sqrt(largest * least)))
    return bool(max(scales) <= MAX_PERSPECTIVE * min(scales))
