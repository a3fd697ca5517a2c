"""vicmae.training.finetune.views: which seconds make a clip, one augmentation for all its frames, views of a test."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_runs import NANO, noise_pixels

from vicmae.media.preprocess import to_pixels
from vicmae.training.finetune import ImageTuning, VideoTuning
from vicmae.training.finetune.views import augment, clip_seconds, clips_of_test, crops_of_test, training_transform

SPEC = NANO.input_spec(32)
WINDOW = VideoTuning(frames=16, stride_seconds=4 / 30, test_clips=7)
SPREAD = VideoTuning(frames=16, sampling="spread", test_clips=2)
HALF = np.full(16, 0.5)
shares = st.floats(0, 1, exclude_max=True)


def test_sixteen_frames_at_stride_four_span_two_seconds() -> None:
    times = clip_seconds(WINDOW, 10.0, 0.5, HALF)
    np.testing.assert_allclose(np.diff(times), 4 / 30)
    assert times[0] == pytest.approx(0.5 * (10 - 16 * 4 / 30))


@given(st.sampled_from([WINDOW, SPREAD]), st.floats(0, 60), shares, st.lists(shares, min_size=16, max_size=16))
def test_a_clip_lies_within_its_video_and_goes_forward(
    recipe: VideoTuning, duration: float, place: float, draws: list[float]
) -> None:
    times = clip_seconds(recipe, duration, place, np.array(draws))
    assert times.shape == (16,)
    assert times.min() >= 0 and times.max() <= duration + 1e-9
    assert (np.diff(times) >= -1e-9).all()


def test_spread_frames_lie_one_in_each_part() -> None:
    times = clip_seconds(SPREAD, 8.0, 0.9, np.random.default_rng(0).random(16))
    assert (np.floor(times / 0.5) == np.arange(16)).all()


def test_clips_of_a_test_stand_evenly_from_start_to_end() -> None:
    starts = [clip[0] for clip in clips_of_test(WINDOW, 10.0)]
    np.testing.assert_allclose(starts, np.linspace(0, 10 - 16 * 4 / 30, 7))
    first, second = clips_of_test(SPREAD, 8.0)
    np.testing.assert_allclose(second - first, 0.25)
    assert [list(clip) for clip in clips_of_test(ImageTuning(), 5.0)] == [[0.0]]


def test_all_frames_of_a_clip_get_one_crop_flip_and_colour() -> None:
    frame = noise_pixels(1, 48, seed=3)[0]
    transform = training_transform(VideoTuning(erasing=1.0), SPEC)
    clip = augment(np.stack([frame] * 4), transform, 5)
    assert clip.shape == (4, 3, 32, 32)
    assert all(torch.equal(clip[0], other) for other in clip[1:])
    assert torch.equal(clip, augment(np.stack([frame] * 4), transform, 5))
    assert not torch.equal(clip, augment(np.stack([frame] * 4), transform, 6))


def test_without_flip_left_stays_left() -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[:, :16] = 255
    recipe = VideoTuning(flip=0.0, rand_augment="", erasing=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    mirrored = VideoTuning(flip=1.0, rand_augment="", erasing=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    for seed in range(5):
        plain = augment(frame[None], training_transform(recipe, SPEC), seed)[0]
        assert plain[:, :, 0].mean() > plain[:, :, -1].mean()
        assert torch.equal(augment(frame[None], training_transform(mirrored, SPEC), seed)[0], plain.flip(-1))


def test_one_view_is_the_picture_as_a_server_sees_it() -> None:
    from vicmae.media.frames import Frames

    frames = noise_pixels(2, 64)[:, :48]
    expected = to_pixels(Frames(frames, np.zeros(2)), SPEC)
    np.testing.assert_array_equal(crops_of_test(frames, SPEC, 1.0, 1), expected[None])


def test_a_share_takes_the_middle_of_a_larger_picture() -> None:
    frames = noise_pixels(1, 64)
    np.testing.assert_array_equal(crops_of_test(frames, SPEC, 0.5, 1)[0], frames[:, 16:48, 16:48])


def test_three_crops_go_along_the_longer_side() -> None:
    wide = np.zeros((1, 32, 96, 3), np.uint8)
    wide[:, :, :32], wide[:, :, 32:64], wide[:, :, 64:] = 10, 20, 30
    for frames in (wide, np.ascontiguousarray(wide.swapaxes(1, 2))):
        views = crops_of_test(frames, SPEC, 1.0, 3)
        assert views.shape == (3, 1, 32, 32, 3)
        assert [int(v) for view in views for v in np.unique(view)] == [10, 20, 30]
