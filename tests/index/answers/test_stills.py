"""index/answers/stills.py: photos and frames alike, the same for a seed, and what a clip shows at that second."""

from pathlib import Path

import numpy as np
import pytest
from made_library import LIMITS, library_folder, material
from made_media import write_video
from PIL import Image

from vicmae.index.answers.material import Material
from vicmae.index.answers.stills import SIDE, draw_stills, draw_strangers, picture_of
from vicmae.index.paths import file_uri
from vicmae.media.decoding import HERE

__all__ = ["library_folder", "material"]


def test_half_are_photos_and_half_are_frames(material: Material) -> None:
    stills = draw_stills(material, 12, None, 0, HERE, LIMITS)
    kinds = [still.kind for still in stills]
    assert kinds.count("photo") == kinds.count("frame") == 6
    assert len({still.name for still in stills}) == 12  # some clips twice, at other seconds
    again = draw_stills(material, 12, None, 0, HERE, LIMITS)
    assert [(s.name, s.seconds) for s in again] == [(s.name, s.seconds) for s in stills]
    assert [s.name for s in draw_stills(material, 12, None, 1, HERE, LIMITS)] != [s.name for s in stills]


def test_a_frame_is_what_its_clip_shows_then(material: Material) -> None:
    frames = [still for still in draw_stills(material, 8, None, 3, HERE, LIMITS) if still.kind == "frame"]
    for still in frames:
        assert still.path is not None and still.uri == file_uri(still.path)
        shown = HERE.frame_at(still.path, still.seconds, LIMITS).data[0]
        np.testing.assert_array_equal(still.picture, shown)


def test_the_halves_share_no_file(material: Material) -> None:
    a, b = (draw_stills(material, 200, half, 0, HERE, LIMITS) for half in ("a", "b"))
    assert not {still.uri for still in a} & {still.uri for still in b}
    assert {still.uri for still in a + b if still.kind == "photo"} == {file_uri(p) for p in material.photos.values()}


def test_strangers_are_in_no_file_of_the_index(material: Material) -> None:
    strangers = draw_strangers(material, 100, None, 0, HERE, LIMITS)
    assert {still.name for still in strangers} == set(material.strangers)
    assert all(still.uri is None and still.kind == "stranger" for still in strangers)


def test_a_library_without_clips_asks_photos_only(material: Material) -> None:
    stills = draw_stills(Material(material.folder, material.photos), 9, None, 0, HERE, LIMITS)
    assert [still.kind for still in stills] == ["photo"] * 9


def test_black_frames_are_not_asked_and_large_photos_are_made_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1000), (200, 30, 30)).save(tmp_path / "large.png")
    assert picture_of(tmp_path / "large.png", HERE, LIMITS).shape[:2] == (SIDE, 2 * SIDE)
    black = write_video(tmp_path / "black.mp4", 0, 1.0, fps=5)
    Image.new("RGB", (64, 64)).save(tmp_path / "black.gif")
    clip = Material(tmp_path, {"p": tmp_path / "large.png"}, {"black": tmp_path / "black.gif", "film": black})
    asked = draw_stills(clip, 6, None, 0, HERE, LIMITS)
    assert {still.path for still in asked if still.kind == "frame"} == {black}


@pytest.mark.parametrize("queries", [2, 3, 7])
def test_as_many_as_were_wished_for(material: Material, queries: int) -> None:
    assert len(draw_stills(material, queries, None, 0, HERE, LIMITS)) == queries
