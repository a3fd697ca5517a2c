"""vicmae.index.matching.evidence: the same footage moves at the same time; another take of its scene does not."""

from pathlib import Path

import numpy as np
import pytest
from made_decoders import CountingDecoder
from made_media import frame_of, picture, write_video
from numpy.typing import NDArray

from vicmae.index.catalog.items import Item
from vicmae.index.matching import Segment, pictures_of
from vicmae.index.matching.evidence import PICTURES_KEPT, compared, evidence_of
from vicmae.media.decoding import HERE
from vicmae.media.limits import MediaLimits

Pixels = NDArray[np.uint8]
STAGE = np.asarray(picture(3, (160, 120)))


def take(path: float) -> list[Pixels]:
    """Three moments of one scene: before the same stage a block goes another way for each take."""
    moments = []
    for step in range(3):
        frame = STAGE.copy()
        x, y = int(20 + 45 * ((step + path) % 3)), int(20 + 30 * ((2 * step + path) % 3))
        frame[y : y + 30, x : x + 30] = (250, 250, 0)
        moments.append(frame)
    return moments


def near(moments: list[Pixels]) -> list[list[Pixels]]:
    return [[np.roll(moment, 40, axis=1), moment] for moment in moments]


def test_the_same_footage_agrees_in_pixels_and_motion() -> None:
    found = compared(take(0), near([np.clip(frame.astype(int) + 30, 0, 255).astype(np.uint8) for frame in take(0)]))
    assert found.variant == "same" and found.pixels > 0.85
    assert found.motion is not None and found.motion > 0.7


def test_another_take_agrees_in_pixels_only() -> None:
    found = compared(take(0), near(take(1)))
    assert found.pixels > 0.6
    assert found.motion is not None and found.motion < 0.4


def test_mirrored_footage_is_told() -> None:
    found = compared(take(0), near([frame[:, ::-1] for frame in take(0)]))
    assert found.variant == "mirrored" and found.motion is not None and found.motion > 0.7


def test_a_part_of_the_picture_is_told_as_a_crop() -> None:
    found = compared([frame[12:108, 16:144] for frame in take(0)], near(take(0)))
    assert found.variant == "crop" and found.pixels > 0.8


def test_where_nothing_moves_motion_says_nothing() -> None:
    assert compared([STAGE] * 3, near([STAGE] * 3)).motion is None


def test_other_pictures_do_not_agree() -> None:
    found = compared([np.asarray(picture(seed)) for seed in (1, 2, 3)], near(take(0)))
    assert found.variant is None and found.pixels < 0.6


@pytest.fixture
def film(tmp_path: Path) -> Item:
    path = write_video(tmp_path / "film.mp4", 5, seconds=10)
    return item_at(path, "video")


def item_at(path: Path, kind: str) -> Item:
    plain = {name: "" for name in Item.__dataclass_fields__}
    return Item(**{**plain, "path": path, "kind": kind})  # type: ignore[arg-type]


def test_a_clip_is_compared_where_it_was_laid(film: Item, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", 5, seconds=10)
    limits = MediaLimits()
    shown = pictures_of(clip, limits, HERE)
    right = evidence_of(shown, film, Segment(2.0, 8.0, 2.0, 8.0, 1.0), limits, HERE)
    late = evidence_of(shown, film, Segment(2.0, 6.0, 4.0, 8.0, 1.0), limits, HERE)
    assert right is not None and right.variant == "same" and right.motion is not None and right.motion > 0.7
    assert late is not None and late.variant is None and (late.motion is None or late.motion < 0.3)


def test_a_picture_stands_at_any_second(film: Item, tmp_path: Path) -> None:
    frame_of(5, 1.0).save(tmp_path / "frame.png")
    limits, still = MediaLimits(), item_at(tmp_path / "frame.png", "image")
    found = evidence_of(pictures_of(film.path, limits, HERE), still, Segment(1.0, 1.0, 0, 0, 1.0), limits, HERE)
    assert found is not None and found.variant == "same" and found.motion is None


def test_a_file_that_is_gone_says_nothing(film: Item, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", 5, seconds=2)
    film.path.unlink()
    limits = MediaLimits()
    assert evidence_of(pictures_of(clip, limits, HERE), film, Segment(0, 1, 0, 1, 1.0), limits, HERE) is None


def test_a_moment_is_decoded_once_however_many_items_it_is_compared_with(film: Item) -> None:
    counting = CountingDecoder()
    picture_at = pictures_of(film.path, MediaLimits(), counting)
    pictures = [picture_at(second) for second in (1.0, 2.0, 1.0, 2.0, 1.0)]
    assert counting.decoded == 2 and pictures[0] is pictures[2] and PICTURES_KEPT >= 2
