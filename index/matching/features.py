"""What a picture is compared by: its grey values, its colours in small, and its local features.

Local features are SIFT points (Lowe 2004) with root-normalised descriptors (Arandjelovic and Zisserman 2012), found at
one size, so that a stored picture and a query of any size have the same ones. Knows no files.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SHORT_SIDE = 320  # pixels; smaller pictures stay as they are
LONGEST = 3.0  # times the short side; a longer picture is brought to a smaller short side
POINTS_SIDE, MAX_POINTS = (
    200,
    600,
)  # of a stored picture: where points are looked for, how many of the strongest are kept
DETAILED_SIDE = 1280  # pixels, where small print counts
QUERY_POINTS_SIDE, MAX_QUERY_POINTS = (
    480,
    1500,
)  # more, as what was asked for may be a small or covered part of the query
CONTRAST = 0.01  # of SIFT: a quarter of its usual threshold, so that dim and blurred pictures have points too
SMOOTHING = 1.2  # pixels: sigma; so that a codec's noise and half a pixel's error of registration do not count
COLOUR_SHARE = 4  # the colours are kept at this part of the size

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Floats = NDArray[np.float32]

_BINS = np.arange(128).reshape(4, 4, 8)  # of a descriptor: rows across the point's direction, columns along it, angles
_MIRRORED_BINS = _BINS[::-1][:, :, -np.arange(8) % 8].ravel()


@dataclass(frozen=True, eq=False)
class Features:
    """One picture. Immutable; may be kept in a cache and used by several threads.

    smooth       (h, w) uint8: its grey values, lightly smoothed
    colours      (h / 4, w / 4, 3) uint8
    points       (N, 2) float32: x, y in pixels of `smooth`
    descriptors  (N, 128) float32, of unit length
    """

    smooth: NDArray[np.uint8]
    colours: NDArray[np.uint8]
    points: Floats
    descriptors: Floats

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of `smooth`."""
        return self.smooth.shape[1], self.smooth.shape[0]

    @property
    def nbytes(self) -> int:
        return self.smooth.nbytes + self.colours.nbytes + self.points.nbytes + self.descriptors.nbytes

    def mirrored(self) -> "Features":
        """Of the picture with left and right exchanged. Costs little: descriptors are only put in another order."""
        points = self.points.copy()
        points[:, 0] = self.smooth.shape[1] - 1 - points[:, 0]
        return Features(
            np.ascontiguousarray(self.smooth[:, ::-1]),
            np.ascontiguousarray(self.colours[:, ::-1]),
            points,
            np.ascontiguousarray(self.descriptors[:, _MIRRORED_BINS]),
        )


def features_of(picture: Picture) -> Features:
    """Of a stored picture (H, W, 3) uint8 RGB of any size."""
    return _features_of(picture, SHORT_SIDE, POINTS_SIDE, MAX_POINTS)


def query_features_of(picture: Picture) -> Features:
    """Of a query (H, W, 3) uint8 RGB, larger than a stored picture where it can be; once for many stored pictures."""
    return _features_of(picture, SHORT_SIDE, QUERY_POINTS_SIDE, MAX_QUERY_POINTS)


def detailed_features_of(picture: Picture) -> Features:
    """Of an original picture, so that its small print is compared: for two that look the same when small."""
    return _features_of(picture, DETAILED_SIDE, QUERY_POINTS_SIDE, MAX_POINTS)


def _features_of(picture: Picture, short_side: int, points_side: int, max_points: int) -> Features:
    small = _shrunk(picture, short_side)
    height, width = small.shape[:2]
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    size = max(1, width // COLOUR_SHARE), max(1, height // COLOUR_SHARE)
    colours = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(grey, (0, 0), SMOOTHING)
    detailed = cv2.cvtColor(_shrunk(picture, points_side), cv2.COLOR_RGB2GRAY)
    points, descriptors = _local_features(detailed, max_points)
    scale = np.array([width / detailed.shape[1], height / detailed.shape[0]])
    points = ((points + 0.5) * scale - 0.5).astype(np.float32)
    return Features(np.asarray(smooth, np.uint8), np.asarray(colours, np.uint8), points, descriptors)


def _shrunk(picture: Picture, short_side: int) -> Picture:
    """Never enlarged; a very long one to a long side of LONGEST times the short one."""
    height, width = picture.shape[:2]
    scale = min(1.0, short_side / min(height, width), LONGEST * short_side / max(height, width))
    if scale == 1.0:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _local_features(grey: NDArray[np.uint8], max_points: int) -> tuple[Floats, Floats]:
    """The strongest points (N, 2) and their descriptors (N, 128); none in a flat picture."""
    sift = cv2.SIFT.create(nfeatures=max_points, contrastThreshold=CONTRAST)
    found, histograms = sift.detectAndCompute(grey, None)
    if not found or histograms is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    histograms = histograms[:max_points]
    sums = np.maximum(histograms.sum(axis=1, keepdims=True), 1e-9)
    points = np.array([point.pt for point in found[:max_points]], np.float32)
    return points, np.sqrt(histograms / sums).astype(np.float32)
