"""Plane geometry of two pictures that a homography lays on each other: points mapped, the overlap, areas.

Polygons are (K, 2) arrays of x, y, convex, clockwise on a screen.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]  # (3, 3)
Points = NDArray[np.float64]  # (N, 2)
Quad = tuple[tuple[float, float], ...]  # four corners (x, y), shares 0..1 of width and height


def mapped(transform: Matrix, points: Points) -> Points:
    """Where the transform puts the points; very far away where that is at infinity."""
    ends = points @ transform[:2, :2].T + transform[:2, 2]
    weights = points @ transform[2, :2] + transform[2, 2]
    return np.asarray(ends / np.where(np.abs(weights) < 1e-9, 1e-9, weights)[:, None], np.float64)


def jacobian(transform: Matrix, place: Points) -> NDArray[np.float64]:
    """(2, 2): how the transform stretches and turns what lies close around a place (2,)."""
    weight = float(place @ transform[2, :2] + transform[2, 2])
    end = mapped(transform, place[None])[0]
    return np.asarray((transform[:2, :2] - np.outer(end, transform[2, :2])) / weight, np.float64)


def rectangle(width: float, height: float) -> Points:
    return np.array([(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)])


def overlap(transform: Matrix, size: tuple[float, float], onto: tuple[float, float]) -> Points:
    """The part of a picture of size (width, height) that lies on one of size `onto`: a polygon, or no points.

    No points, too, where the transform folds the second picture over the horizon of the first one.
    """
    if abs(np.linalg.det(transform)) < 1e-12:
        return np.zeros((0, 2))
    back = np.asarray(np.linalg.inv(transform), np.float64)
    outline = rectangle(*onto)
    weights = outline @ back[2, :2] + back[2, 2]
    if not (weights > 1e-9).all() and not (weights < -1e-9).all():
        return np.zeros((0, 2))
    polygon = mapped(back, outline)
    if signed_area(polygon) < 0:
        polygon = polygon[::-1]
    for axis, limit in enumerate(size):
        polygon = _clipped(polygon, polygon[:, axis])
        polygon = _clipped(polygon, limit - polygon[:, axis])
    return polygon


def _clipped(polygon: Points, distances: NDArray[np.float64]) -> Points:
    """The part of a polygon on one side of a line, where the distances (K,) of its corners are 0 or more."""
    kept = []
    for place in range(len(polygon)):
        before, here = distances[place - 1], distances[place]
        if (before >= 0) != (here >= 0):
            kept.append(polygon[place - 1] + before / (before - here) * (polygon[place] - polygon[place - 1]))
        if here >= 0:
            kept.append(polygon[place])
    return np.array(kept, np.float64).reshape(-1, 2)


def four_corners(polygon: Points) -> Points:
    """(4, 2): without the corners that matter least to its area; a triangle has its last corner twice."""
    while len(polygon) > 4:
        before, after = np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0)
        cut = np.abs(_cross(polygon - before, after - before))
        polygon = np.delete(polygon, int(cut.argmin()), axis=0)
    return polygon if len(polygon) == 4 else np.vstack([polygon, polygon[-1:]])


def signed_area(polygon: Points) -> float:
    """Above 0 where its corners go clockwise on a screen."""
    return float(_cross(polygon, np.roll(polygon, -1, axis=0)).sum() / 2)


def quad_of(corners: Points) -> Quad:
    """corners (4, 2) in shares, those outside of the picture brought to its edge."""
    return tuple((float(x), float(y)) for x, y in np.clip(corners, 0.0, 1.0))


def _cross(a: Points, b: Points) -> NDArray[np.float64]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float64)
