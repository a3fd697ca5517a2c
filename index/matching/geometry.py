"""Do two pictures show the same picture, by which transform, where in both, and what differs?

Registration (local features and a robust estimate) proposes, the residual after it decides: a template, a white ground
or a fixed camera has many points in common, but its content does not agree. Knows no files and no vectors.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .features import Features
from .quads import Matrix, Quad, four_corners, mapped, overlap, quad_of, rectangle, signed_area
from .registration import Registration, register
from .residual import Tiles, tiles_of

SAME_INLIERS, SAME_RESIDUAL = 6, 0.36  # where the chance of confidence.py is one half
FEW_RESIDUAL = 0.15  # with fewer inliers, of a blurred or nearly flat picture
NEARLY = 0.04  # shares of width and height
LEAST_PLACE = 2  # tiles that disagree side by side, from which they are named


@dataclass(frozen=True, eq=False)
class Verification:
    """How the query and a stored picture lie on each other. All places are in shares 0..1 of width and height.

    transform        (3, 3) homography, query shares -> stored shares, the mirroring included
    inliers          matching points that it explains
    coverage         share of the query's area that shows the stored picture
    stored_coverage  share of the stored picture's area that the query shows
    residual         share of the stored picture's structure in the overlap that the query does not show, 0..1
    correlation      mean correlation of the tiles that agree: of several right ones, which is nearest
    differs          where either shows something that the other does not, in the stored picture; largest first
    query_region     the part of the query that shows the stored picture, clockwise from the upper left
    region           what query_region shows of the stored picture, corner by corner
    """

    transform: NDArray[np.float64]
    mirrored: bool
    inliers: int
    coverage: float
    stored_coverage: float
    residual: float
    correlation: float
    differs: tuple[Quad, ...]
    query_region: Quad
    region: Quad


def verify(query: Features, stored: Features) -> Verification | None:
    """The query as it is, and where that is not the same picture, mirrored. None: no registration at all."""
    plain = _verified(query, stored, mirrored=False)
    if plain is not None and is_same_picture(plain):
        return plain
    mirrored = _verified(query.mirrored(), stored, mirrored=True)
    if mirrored is not None and (plain is None or is_same_picture(mirrored)):
        return mirrored
    return plain


def is_same_picture(verification: Verification) -> bool:
    """Whether a search takes it for the same picture. Parts may differ; stricter questions: relation.py."""
    return verification.residual <= (SAME_RESIDUAL if verification.inliers >= SAME_INLIERS else FEW_RESIDUAL)


def _verified(query: Features, stored: Features, mirrored: bool) -> Verification | None:
    found = register(query, stored)
    if found is None:
        return None
    transform, tiles = found.transform, tiles_of(query, stored, found.transform)
    exact = _snapped(transform, query, stored)
    if exact is not None:
        exact_tiles = tiles_of(query, stored, exact)
        if exact_tiles.residual <= tiles.residual:
            transform, tiles = exact, exact_tiles
    return _described(query, stored, Registration(transform, found.inliers), tiles, mirrored)


def _snapped(transform: Matrix, query: Features, stored: Features) -> Matrix | None:
    """Corners exactly on corners, where they nearly are: mostly a picture was only resized, turned or encoded anew."""
    corners = rectangle(1, 1)
    ends = mapped(_in_shares(transform, query, stored), corners)
    exact = np.rint(np.clip(ends, 0, 1))
    if np.abs(ends - exact).max() > NEARLY:
        return None
    whole = cv2.getPerspectiveTransform(corners.astype(np.float32), exact.astype(np.float32))
    return in_pixels(np.asarray(whole, np.float64), query, stored) if abs(np.linalg.det(whole)) > 0.5 else None


def _described(query: Features, stored: Features, found: Registration, tiles: Tiles, mirrored: bool) -> Verification:
    """`query` is the one that `found` is of: the mirrored one where it was mirrored."""
    transform = _in_shares(found.transform, query, stored)
    shown = overlap(transform, (1.0, 1.0), (1.0, 1.0))
    corners = four_corners(shown)
    region, stored_area = mapped(transform, corners), abs(signed_area(mapped(transform, shown)))
    if mirrored:  # back to the query as it was, and clockwise again
        transform = transform @ np.array([(-1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
        corners, region = (corners * (-1, 1) + (1, 0))[::-1], region[::-1]
    first = int(corners.sum(axis=1).argmin())
    return Verification(
        transform,
        mirrored,
        found.inliers,
        abs(signed_area(shown)),
        stored_area,
        tiles.residual,
        tiles.agreeing,
        _differing(tiles, stored, found.transform),
        quad_of(np.roll(corners, -first, axis=0)),
        quad_of(np.roll(region, -first, axis=0)),
    )


def in_pixels(transform: Matrix, query: Features, stored: Features) -> Matrix:
    """The inverse of _in_shares: of a Verification's transform."""
    to_shares = np.linalg.inv(_pixels_of_shares(query))
    pixels: Matrix = _pixels_of_shares(stored) @ transform @ to_shares
    return np.asarray(pixels / pixels[2, 2], np.float64)


def _in_shares(transform: Matrix, query: Features, stored: Features) -> Matrix:
    """Query pixels -> stored pixels, as query shares -> stored shares."""
    shares: Matrix = np.linalg.inv(_pixels_of_shares(stored)) @ transform @ _pixels_of_shares(query)
    return np.asarray(shares / shares[2, 2], np.float64)


def _pixels_of_shares(features: Features) -> Matrix:
    """Shares of width and height -> pixels. The middle of the first pixel is at 0."""
    width, height = features.size
    return np.array([(width, 0, -0.5), (0, height, -0.5), (0, 0, 1)], np.float64)


def _differing(tiles: Tiles, stored: Features, transform: Matrix) -> tuple[Quad, ...]:
    """Boxes around tiles that disagree side by side, in stored shares, largest first."""
    places = []
    for left, top, wide, high, count in tiles.groups(tiles.disagreeing):
        if count >= LEAST_PLACE:
            corners = (
                rectangle(wide, high) + (left, top)
            ) * tiles.side - 0.5  # pixels; their middles are whole numbers
            ends = mapped(transform, corners) if tiles.on_query else corners
            places.append(quad_of((ends + 0.5) / stored.size))
    return tuple(places)
