"""media/edits/clip_edits.py: an edited clip is a film that lasts as long as is said and shows what was done to it."""

import numpy as np
import pytest
from made_media import scene_frames
from numpy.typing import NDArray

from vicmae.media.edits import CLIP_EDITS, compilation, edited_clip
from vicmae.media.edits.clip_edits import encoded
from vicmae.media.reader import probe, read_frames

RATE = 10.0


def film(seed: int = 0, seconds: float = 2.0, size: tuple[int, int] = (96, 64)) -> NDArray[np.uint8]:
    return np.stack(list(scene_frames(seed, seconds, RATE, size)))


def shown(data: bytes) -> NDArray[np.uint8]:
    return np.concatenate([frames.data for frames in read_frames(data, 100.0)])


@pytest.mark.parametrize("edit", CLIP_EDITS)
def test_an_edited_clip_is_a_film_and_lasts_as_long_as_is_said(edit: str) -> None:
    frames = film()
    before = frames.copy()
    data, lasts = edited_clip(edit, frames, RATE, "film", 3)
    assert probe(data).kind == "video" and probe(data).duration_seconds == pytest.approx(lasts, abs=0.05)
    assert len(shown(data)) == len(frames) and np.array_equal(frames, before)
    assert lasts == pytest.approx(2.0 / CLIP_EDITS[edit].speed)


def test_every_frame_is_cut_at_the_same_place() -> None:
    still = np.repeat(film()[:1], 5, axis=0)
    data, _ = edited_clip("crop 75 %", still, RATE, "film")
    frames = shown(data).astype(int)
    assert frames.shape[1] < 64 and np.abs(frames - frames[:1]).mean() < 2


def test_a_mirrored_clip_is_mirrored_and_a_subtitle_stands_below() -> None:
    frames = film(4)
    mirrored = shown(edited_clip("mirrored", frames, RATE, "film")[0])
    assert np.abs(mirrored[:, :, ::-1].astype(int) - frames).mean() < 12
    changed = np.abs(shown(edited_clip("subtitle", frames, RATE, "film")[0]).astype(int) - frames).mean(axis=(0, 2, 3))
    assert changed[-16:].max() > 3 * changed[:40].max()


def test_low_bitrate_is_a_much_smaller_file() -> None:
    frames = film(5)
    plain, _ = edited_clip("as it was", frames, RATE, "film")
    small, _ = edited_clip("low bitrate", frames, RATE, "film")
    assert len(small) < 0.6 * len(plain)


def test_a_compilation_shows_its_parts_one_after_the_other_in_one_shape() -> None:
    parts = [film(1), film(2, 1.0, (64, 64)), film(3, 1.5)]
    data = compilation(parts, RATE)
    frames = shown(data)
    assert len(frames) == 45 and frames.shape[1:3] == (64, 96)
    assert np.abs(frames[:20].astype(int) - parts[0]).mean() < 12
    assert np.abs(frames[30:].astype(int) - parts[2]).mean() < 12


def test_an_odd_side_loses_a_row() -> None:
    data = encoded([np.zeros((65, 97, 3), np.uint8)] * 3, RATE)
    assert (probe(data).width, probe(data).height) == (96, 64)
