"""How are two pictures related: copies of one another, or of one kind? Stricter than what a search takes for the same.

A copy agrees nearly everywhere once both lie on each other, in tiles of the size of a small line of text, and in its
colours once one change of all colours is undone. One form with other entries, one place with something else in it, one
product in another colour and one thing seen from elsewhere are answers of their own, and no copies.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .colours import other_colours
from .features import Features
from .geometry import Verification, in_pixels, is_same_picture, verify
from .quads import Matrix, Quad, jacobian
from .residual import Tiles, tiles_of

Relation = Literal["copy", "other_colours", "same_place", "same_form", "another_view", "undecided", "different"]
Variant = Literal["same", "letterbox", "crop", "mirrored", "turned", "overlay"]

TILE = 8  # pixels
LEVELS, DRAWN = 4, 0.38  # grey levels taken as one; share of such from which it is a form, a page or a drawing
DRAWN_GROUP = 1  # tiles of a drawn copy that disagree side by side
OVERLAY_SHARE, OVERLAY_SIDE = 0.45, 0.85  # of the tiles: those that differ; of these: on one side
OVERLAY_BEST = 0.90  # correlation of the better quarter of all tiles
PHOTO_BELOW = 0.30  # share of one level, in what differs, of the side that shows the photo
STICKER_SHARE, IDENTICAL = 0.30, 0.995  # share of tiles that differ; correlation of nine in ten of all others
CONTAINED = 0.90  # share of one of the two that the other shows
PERSPECTIVE = 0.08  # change of scale across a picture: that of a camera that stands elsewhere
OTHER_COLOURS = 0.135  # share of the colourful places that have other colours
WHOLE = 0.97  # share of a picture from which nothing of it is missing
LEAST_TILES = 6
TURNED = 3.0  # degrees
BAR_EDGE, BAR_LEVELS, BAR_SHARE = 4, 3, 0.10  # pixels left out at a bar's edge; grey levels of an edge; share of such


@dataclass(frozen=True)
class Limits:
    """Of a copy: share of tiles that disagree at most, least median correlation, tiles side by side at most."""

    share: float
    typical: float
    group: int


# Fitted to edits of photos and to clips encoded at CRF 38; pictures of one fixed camera had 0.16 and more, in groups of
# 31 and more (docs/benchmarks.md).
OF_PHOTO, OF_FILM = Limits(0.03, 0.95, 8), Limits(0.12, 0.85, 24)


@dataclass(frozen=True, eq=False)
class Related:
    """variant: how b differs from a, of copies; needs_detail: whether larger pictures may say otherwise (text)."""

    relation: Relation
    variant: Variant | None = None
    needs_detail: bool = False
    verification: Verification | None = None

    @property
    def residual(self) -> float:
        return 1.0 if self.verification is None else self.verification.residual


def related(a: Features, b: Features, of_film: bool = False) -> Related:
    """Looks at two pictures that may be copies of one another.

    of_film: frames, which no small print tells apart, and whose codec spoils more of a drawing.
    """
    found = verify(a, b)
    if found is None or not is_same_picture(found):
        return Related("different", verification=found)
    transform = in_pixels(found.transform, a, b)
    tiles = tiles_of(a, b, transform, TILE)
    if int(tiles.structured.sum()) < LEAST_TILES:
        return Related("undecided", needs_detail=True, verification=found)
    drawn = not of_film and min(_ground(a.smooth), _ground(b.smooth)) >= DRAWN
    agrees = _is_drawn_alike(tiles) if drawn else _agrees(tiles, OF_FILM if of_film else OF_PHOTO)
    if not agrees and (drawn or not _is_overlaid(tiles)):
        return Related("same_form" if drawn else "same_place", verification=found)
    if max(found.coverage, found.stored_coverage) < CONTAINED or _perspective(transform, a) > PERSPECTIVE:
        return Related("another_view", verification=found)
    chosen = tiles.inside & ~tiles.disagreeing if agrees else _around(tiles)  # what is laid over may be flat
    if other_colours(a, b, found.transform, tiles, chosen) > OTHER_COLOURS:
        return Related("other_colours", verification=found)
    variant = _variant(found, a, b) if agrees else "overlay"
    return Related("copy", variant, drawn, found)


def _ground(grey: NDArray[np.uint8]) -> float:
    """The share of grey values that are of one level: that of paper, of a page or a drawing's ground."""
    counts = np.bincount(grey.ravel() // LEVELS, minlength=256 // LEVELS)
    return float((counts[1:] + counts[:-1]).max() / max(counts.sum(), 1))


def _is_drawn_alike(tiles: Tiles) -> bool:
    """Whether nothing differs in a form, a page or a drawing, which codecs hardly spoil."""
    return all(count <= DRAWN_GROUP for *_, count in tiles.groups(tiles.disagreeing))


def _agrees(tiles: Tiles, limits: Limits) -> bool:
    """Whether nothing differs, beside what codecs and sizes do."""
    told = tiles.correlation[tiles.structured]
    differing = tiles.disagreeing & ~tiles.clipped  # a filter of colours may have left nothing there
    share = float(differing.sum() / tiles.structured.sum())
    largest = next((count for *_, count in tiles.groups(differing)), 0)
    return share <= limits.share and float(np.median(told)) >= limits.typical and largest <= limits.group


def _is_overlaid(tiles: Tiles) -> bool:
    """Whether all that differs was laid over a photo: one of the two has more structure there (text, a watermark,
    moire), or a photo shows below it and all the rest is identical, as in no second photo of a place (a sticker).

    Where things moved or were exchanged, either picture has more structure at about half of the places.
    """
    structured, differing = tiles.structured, tiles.disagreeing
    share = float(differing.sum() / structured.sum())
    more = float((tiles.query_spread > tiles.stored_spread)[differing].mean())
    best = float(np.quantile(tiles.correlation[structured], 0.75))
    if share <= OVERLAY_SHARE and best >= OVERLAY_BEST and max(more, 1 - more) >= OVERLAY_SIDE:
        return True
    rest = tiles.correlation[_around(tiles)]
    is_photo_below = min(_ground(grey) for grey in tiles.pixels_of(differing)) < PHOTO_BELOW
    return is_photo_below and share <= STICKER_SHARE and len(rest) > 0 and float(np.quantile(rest, 0.1)) >= IDENTICAL


def _around(tiles: Tiles) -> NDArray[np.bool_]:
    """Tiles with structure that are not beside any that differs."""
    near = cv2.dilate(tiles.disagreeing.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(tiles.structured & ~near, np.bool_)


def _perspective(transform: Matrix, a: Features) -> float:
    """How much the scale changes across the picture, as a share; transform of pixels."""
    width, height = a.size
    return float(max(abs(transform[2, 0]) * width, abs(transform[2, 1]) * height) / abs(transform[2, 2]))


def _variant(found: Verification, a: Features, b: Features) -> Variant:
    """The most telling way in which b differs from a."""
    if found.mirrored:
        return "mirrored"
    if _is_turned(found, a, b):
        return "turned"
    parts = ((found.coverage, a, found.query_region), (found.stored_coverage, b, found.region))
    if all(share >= WHOLE for share, _, _ in parts):
        return "same"
    larger = min(parts, key=lambda part: part[0])
    return "letterbox" if _is_flat_around(larger[1], larger[2]) else "crop"


def _is_turned(found: Verification, a: Features, b: Features) -> bool:
    transform = in_pixels(found.transform, a, b)
    middle = np.array([a.size[0] / 2, a.size[1] / 2])
    right = jacobian(transform, middle) @ (1.0, 0.0)
    return bool(abs(np.degrees(np.arctan2(right[1], right[0]))) > TURNED)


def _is_flat_around(features: Features, part: Quad) -> bool:
    """Whether a picture has nothing around a part of it: bars, a border."""
    outside = np.ones(features.smooth.shape, np.uint8)
    corners = np.array(part) * features.size
    middle = corners.mean(axis=0)
    larger = np.rint(corners + np.sign(corners - middle) * BAR_EDGE).astype(np.int32)
    cv2.fillConvexPoly(outside, larger, 0)
    if not outside.any():
        return True
    edges = cv2.morphologyEx(features.smooth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float((edges[outside > 0] > BAR_LEVELS).mean()) <= BAR_SHARE
