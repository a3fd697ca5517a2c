"""index/answers/moments.py: a second nearby is right, and so is any second of a still stretch; nothing else is."""

from pathlib import Path

import numpy as np
import pytest
from made_library import LIMITS
from made_media import picture, write_video

from vicmae.index.answers.moments import correlation, same_moment
from vicmae.media.decoding import HERE
from vicmae.media.edits.clip_edits import encoded


def test_near_seconds_are_one_moment_and_far_ones_are_not(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", 1, 6.0, fps=10)
    same = same_moment(HERE, LIMITS)
    assert same(film, 1.0, 1.7, 0.75)
    assert not same(film, 1.0, 1.8, 0.75)
    assert not same(film, 0.5, 5.0, 0.75)


def test_a_still_stretch_is_one_moment(tmp_path: Path) -> None:
    shown = [np.asarray(picture(4))] * 40 + [np.asarray(picture(5))] * 20
    (tmp_path / "still.mp4").write_bytes(encoded(shown, 10.0))
    same = same_moment(HERE, LIMITS)
    assert same(tmp_path / "still.mp4", 0.2, 3.5, 0.75)
    assert not same(tmp_path / "still.mp4", 0.2, 5.0, 0.75)


def test_a_file_that_cannot_be_read_is_no_excuse(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").write_bytes(b"nothing")
    assert not same_moment(HERE, LIMITS)(tmp_path / "gone.mp4", 0.0, 5.0, 0.75)


def test_correlation_is_of_what_varies() -> None:
    one = np.asarray(picture(1))
    assert correlation(one, one) == pytest.approx(1)
    assert correlation(one, (one // 2 + 40).astype(np.uint8)) > 0.99
    assert correlation(one, np.asarray(255 - one, np.uint8)) == pytest.approx(-1)
    flat = np.full((8, 8, 3), 7, np.uint8)
    assert correlation(flat, flat) == 1 and correlation(flat, flat + 1) == 0
