"""Where shots begin, and which frames the kinds of sampling take of a film with known cuts."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_media import SHOT_SECONDS, scene_at, write_animation, write_image, write_video
from numpy.typing import NDArray

from vicmae.media.frames import TimedFrame
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import read_frames
from vicmae.media.sampling import LONG_SHOT_SECONDS, Sampling, SamplingGrid, sample, sample_shots, sample_with_cuts
from vicmae.media.sandbox import Sandbox
from vicmae.media.shots import Marked, mark_cuts

SEED = 3
FPS = 10


def shown(pictures: Sequence[NDArray[np.uint8]], fps: float = FPS) -> list[TimedFrame]:
    return [TimedFrame(i / fps, lambda p=picture: p) for i, picture in enumerate(pictures)]  # type: ignore[misc]


def cuts(pictures: Sequence[NDArray[np.uint8]], fps: float = FPS) -> list[int]:
    """Places of the frames that begin a shot."""
    marked = list(mark_cuts(shown(pictures, fps)))
    assert [m.seconds for m in marked] == [i / fps for i in range(len(pictures))]
    return [i for i, m in enumerate(marked) if m.begins_shot]


def scene(seconds: float) -> list[NDArray[np.uint8]]:
    return [scene_at(SEED, i / FPS) for i in range(round(seconds * FPS))]


def test_every_cut_is_found_to_the_frame() -> None:
    every = round(SHOT_SECONDS * FPS)
    assert cuts(scene(7)) == [0, every, 2 * every, 3 * every]


def test_a_cut_to_the_very_last_frame_is_found() -> None:
    assert cuts(scene(SHOT_SECONDS + 1 / FPS)) == [0, round(SHOT_SECONDS * FPS)]


def test_one_frame_and_none() -> None:
    assert cuts(scene(1 / FPS)) == [0]
    assert list(mark_cuts([])) == []


def test_a_flash_is_no_cut() -> None:
    pictures = scene(SHOT_SECONDS)
    pictures[8] = np.full_like(pictures[8], 255)
    assert cuts(pictures) == [0]


def test_a_slow_fade_is_no_cut() -> None:
    picture = scene_at(SEED, 0).astype(np.float32)
    assert cuts([(picture * level).astype(np.uint8) for level in np.linspace(1, 0, 20)]) == [0]


def test_a_fast_pan_is_no_cut() -> None:
    wide = np.concatenate([scene_at(seed, 0) for seed in range(4)], axis=1)
    width = wide.shape[1] // 4
    assert cuts([wide[:, at : at + width] for at in range(0, 3 * width, 16)], fps=25) == [0]


class Mark(Marked):
    """A frame of no picture."""

    def __init__(self, seconds: float, begins_shot: bool) -> None:
        super().__init__(TimedFrame(seconds, lambda: np.zeros((1, 1, 3), np.uint8)), begins_shot)


@st.composite
def films(draw: st.DrawFn) -> list[Mark]:
    """Frames at any times, some of which begin a shot; the first one does."""
    gaps = draw(st.lists(st.floats(0.01, 3), min_size=1, max_size=60))
    starts = np.cumsum(gaps) - gaps[0]
    return [Mark(float(s), i == 0 or draw(st.booleans())) for i, s in enumerate(starts)]


rates = st.sampled_from([0.2, 0.5, 1.0, 2.0, 7.5])


@given(films(), rates, st.floats(0, 20), st.floats(0.1, 50))
def test_auto_takes_what_rate_takes_or_a_cut_in_its_place(
    film: list[Mark], rate: float, start: float, long: float
) -> None:
    grid = SamplingGrid(rate, start, start + long)
    taken = [m.seconds for m in sample_with_cuts(film, grid)]
    assert taken == sorted(set(taken))
    within = [m for m in film if grid.of(m.seconds) >= 0 and not grid.is_past(m.seconds)]
    assert set(taken) >= {m.seconds for m in within if m.begins_shot}
    assert set(taken) >= {m.seconds for m in sample(film, grid)}
    assert len(taken) <= len(list(sample(film, grid))) + sum(m.begins_shot for m in within)


@given(films(), st.floats(0, 20), st.floats(0.1, 50))
def test_shots_takes_each_first_frame_and_leaves_no_long_gap(film: list[Mark], start: float, long: float) -> None:
    grid = SamplingGrid(1.0, start, start + long)
    taken = [m.seconds for m in sample_shots(film, grid)]
    within = [m for m in film if grid.of(m.seconds) >= 0 and not grid.is_past(m.seconds)]
    assert set(taken) >= {m.seconds for m in within if m.begins_shot}
    for m in within:
        assert any(t <= m.seconds < t + LONG_SHOT_SECONDS + 1e-5 for t in taken)
    for one, next_one in zip(taken, taken[1:], strict=False):
        begins = next(m.begins_shot for m in film if m.seconds == next_one)
        assert begins or next_one - one >= LONG_SHOT_SECONDS - 1e-5


@given(films(), rates)
def test_without_cuts_auto_is_rate(film: list[Mark], rate: float) -> None:
    still = [Mark(m.seconds, i == 0) for i, m in enumerate(film)]
    grid = SamplingGrid(rate)
    assert list(sample_with_cuts(still, grid)) == list(sample(still, grid))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots of 2 s and one of 1 s, 10 frames a second, a key frame every 1.5 s."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, SEED, 7.0, FPS, gop=15)


def taken(path: Path, sampling: Sampling, rate: float = 0.4, **window: float) -> list[float]:
    return [round(float(s), 3) for f in read_frames(path, rate, sampling=sampling, **window) for s in f.seconds]  # type: ignore[arg-type]


def test_what_each_kind_takes_of_a_film(film: Path) -> None:
    assert taken(film, "rate") == [0.0, 2.5, 5.0]
    assert taken(film, "auto") == [0.0, 2.0, 2.5, 4.0, 5.0, 6.0]
    assert taken(film, "shots") == [0.0, 2.0, 4.0, 6.0]
    keys = taken(film, "keyframes", 20)
    assert {0.0} < set(keys) and max(np.diff(keys)) <= 1.5 + 1e-6
    assert set(taken(film, "keyframes", 0.5)) < set(keys)


def test_in_a_part_of_a_film(film: Path) -> None:
    part = {"start_seconds": 1.2, "end_seconds": 4.3}
    assert taken(film, "shots", **part) == [1.2, 2.0, 4.0]
    assert taken(film, "auto", **part) == [1.2, 2.0, 3.7, 4.0]
    assert taken(film, "shots", start_seconds=2.31, end_seconds=2.33) == [2.3]


@pytest.mark.parametrize("sampling", get_args(Sampling))
def test_pictures_and_animations_give_frames_by_every_kind(tmp_path: Path, sampling: Sampling) -> None:
    assert taken(write_image(tmp_path / "a.jpg", 1), sampling) == [0.0]
    animation = taken(write_animation(tmp_path / "b.gif", [1, 2, 3], 500), sampling, rate=2.0)
    assert animation[0] == 0.0 and set(animation) <= {0.0, 0.5, 1.0}
    if sampling in ("shots", "auto"):
        assert animation == [0.0, 0.5, 1.0]


def test_a_sandbox_takes_the_same(film: Path) -> None:
    with Sandbox(workers=1) as sandbox:
        found = sandbox.read_frames(film, 0.4, MediaLimits(), sampling="shots")
        assert [float(s) for frames in found for s in frames.seconds] == pytest.approx([0.0, 2.0, 4.0, 6.0])
