"""vicmae.index.matching.motion: what moves at the same time, on pictures that are registered on each other."""

import cv2
import numpy as np
import pytest
from made_media import picture
from numpy.typing import NDArray

from vicmae.index.matching import Features, Verification, correlation, features_of, laid_on, motion_of, verify

Pixels = NDArray[np.uint8]
GROUND = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
PICTURE = np.asarray(picture(3, (320, 240)))
STAGE = cv2.addWeighted(cv2.resize(GROUND, (320, 240), interpolation=cv2.INTER_CUBIC), 0.5, PICTURE, 0.5, 0)
STEPS = (0, 1, 2)


def take(path: float) -> list[Pixels]:
    """Three moments of one scene: before the same stage a block goes another way for each take."""
    moments = []
    for step in STEPS:
        frame = STAGE.copy()
        x, y = int(40 + 90 * ((step + path) % 3)), int(30 + 60 * ((2 * step + path) % 3))
        frame[y : y + 50, x : x + 50] = (250, 250, 0)
        moments.append(frame)
    return moments


def looks(ours: list[Pixels], theirs: list[Pixels]) -> list[tuple[Features, Features, Verification]]:
    told = []
    for mine, other in zip(ours, theirs, strict=True):
        query, stored = features_of(mine), features_of(other)
        found = verify(query, stored)
        assert found is not None
        told.append((query, stored, found))
    return told


def test_the_same_footage_moves_alike_also_brighter_mirrored_and_as_a_part() -> None:
    brighter = [np.clip(frame.astype(int) + 30, 0, 255).astype(np.uint8) for frame in take(0)]
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in take(0)]
    part = [np.ascontiguousarray(frame[20:220, 30:300]) for frame in take(0)]
    for query in (take(0), brighter, mirrored, part):
        motion = motion_of(looks(query, take(0)))
        assert motion is not None and motion > 0.8


def test_another_take_of_a_scene_moves_otherwise() -> None:
    motion = motion_of(looks(take(0), take(1)))
    assert motion is not None and motion < 0.4


def test_where_nothing_moves_motion_says_nothing() -> None:
    assert motion_of(looks([STAGE] * 3, [STAGE] * 3)) is None
    assert motion_of(looks([STAGE], [STAGE])) is None and motion_of([]) is None


def test_a_stored_picture_is_laid_where_the_query_shows_it() -> None:
    half = np.diag([0.5, 1.0, 1.0])  # the query is the left half of what is stored
    laid, inside = laid_on((100, 80), np.asarray(picture(1, (200, 80)).convert("L")), half)
    assert laid.shape == (80, 100) and inside[5:-5, 5:-5].all()
    twice = np.diag([2.0, 1.0, 1.0])  # what is stored is the left half of the query
    _, inside = laid_on((100, 80), np.asarray(picture(1, (50, 80)).convert("L")), twice)
    assert inside[5:-5, 5:45].all() and not inside[:, 55:].any()


@pytest.mark.parametrize("scale", [0.5, -2.0])
def test_correlation_minds_only_the_form(scale: float) -> None:
    values = np.random.default_rng(0).normal(size=50).astype(np.float32)
    assert correlation(values, np.float32(scale) * values + 3) == pytest.approx(np.sign(scale), abs=1e-5)
    assert correlation(values, np.full(50, 2, np.float32)) == 0
