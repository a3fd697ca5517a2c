"""vicmae.index.matching.likeness: 0 as any two frames, 1 identical, whatever the encoder gives all frames in common."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_items import unit_vectors

from vicmae.export.engine.engine import FAKE_CALIBRATION as CALIBRATION
from vicmae.index.matching import cosine_of, likeness, shots_of, variety

cosines = st.floats(-1, 1)


@given(cosines, cosines)
def test_it_is_1_for_the_same_frame_and_0_for_the_background(cosine: float, background: float) -> None:
    usual = np.float32(background)
    same, other = likeness(np.array([1, cosine], np.float32), usual, CALIBRATION)
    assert same == np.float32(1) and other <= 1
    if background <= CALIBRATION.max_background:
        assert likeness(usual, usual, CALIBRATION) == 0


@given(st.floats(0, 1), cosines)
def test_the_cosine_of_a_likeness_has_that_likeness(least: float, background: float) -> None:
    usual = np.float32(background)
    assert abs(likeness(cosine_of(least, usual, CALIBRATION), usual, CALIBRATION) - least) < 1e-4


def test_a_collection_of_one_scene_still_tells_frames_apart() -> None:
    """All frames lie near the mean: no frame is asked to be nearer than it can be."""
    near, far = likeness(np.array([0.999, 0.95], np.float32), np.float32(0.99), CALIBRATION)
    assert 0 < far < 0.5 < near < 1


def test_shots_begin_where_frames_are_less_alike() -> None:
    first, second = unit_vectors(1, 2)
    vectors = np.stack([first, first, second, second, first])
    assert shots_of(vectors, np.zeros(len(first), np.float32), CALIBRATION).tolist() == [0, 0, 1, 1, 2]


def test_variety_is_that_of_the_frames() -> None:
    moving, still = unit_vectors(1, 10), np.repeat(unit_vectors(2, 1), 10, axis=0) + 0.002 * unit_vectors(3, 10)
    mean = np.zeros(moving.shape[1], np.float32)
    assert variety(moving, mean, CALIBRATION) == 1.0
    assert variety(still.astype(np.float32), mean, CALIBRATION) < 0.05
    assert variety(moving[:1], mean, CALIBRATION) == 0.0
