"""index/answers/material.py: every file has one part, a fifth of the photos is left out, other files are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_library import CLIPS, LIMITS, PHOTOS, indexed, library_folder, material, write_distractors

from vicmae.errors import InvalidRequest
from vicmae.index.answers.material import Material, is_stranger, read_material, require_only
from vicmae.index.collection import Collection
from vicmae.media.decoding import HERE

__all__ = ["indexed", "library_folder", "material"]


def test_every_file_has_one_part(material: Material, library_folder: Path) -> None:
    assert len(material.photos) + len(material.strangers) == PHOTOS and len(material.clips) == CLIPS
    assert set(material.lookalikes) == {f"lookalikes/shapes/{n}.png" for n in range(3)}
    ((name, reason),) = material.unreadable
    assert name == "photos/broken.jpg" and reason
    assert not set(material.indexed) & set(material.strangers.values())
    assert len(material.everything) == PHOTOS + CLIPS + 3
    assert all((library_folder / name).samefile(path) for name, path in material.everything.items())


@given(st.integers(0, 10**6))
def test_about_a_fifth_of_any_names_are_strangers(first: int) -> None:
    strangers = sum(is_stranger(f"photos/{number}.jpg") for number in range(first, first + 500))
    assert 60 <= strangers <= 140


def test_distractors_are_indexed_and_not_asked(library_folder: Path, tmp_path: Path) -> None:
    material = read_material(library_folder, [write_distractors(tmp_path / "others")], HERE, LIMITS)
    assert material.counts()["distractors"] == 5 and set(material.distractors) <= set(material.indexed)


def test_too_few_photos_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="0 photos to ask for and 0 to leave out"):
        read_material(tmp_path, [], HERE, LIMITS)


def test_an_index_with_other_files_is_refused(indexed: Collection, material: Material) -> None:
    require_only(indexed, material.indexed)
    with pytest.raises(InvalidRequest, match="holds 1 files that are not part"):
        require_only(indexed, material.indexed[1:])
