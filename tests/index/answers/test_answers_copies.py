"""index/answers/copies.py: made copies are found by edit, and two different files called copies are told by name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_items import ENGINE
from made_library import LIMITS, library_folder, material

from vicmae.index.answers import copies
from vicmae.index.answers.copies import Copy, judge_copies, make_copies
from vicmae.index.answers.material import Material
from vicmae.index.answers.report import copies_figures
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import tools_of
from vicmae.media.decoding import HERE

__all__ = ["library_folder", "material"]


@pytest.fixture
def made(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Copy]:
    monkeypatch.setattr(copies, "PHOTO_EDITS", ("jpeg 20", "mirrored"))
    return list(make_copies(material, tmp_path / "made", 2, 0, HERE, LIMITS))


@pytest.fixture
def collection(material: Material, made: list[Copy], tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        collection = library.create("copies", ENGINE)
        for path in [*material.everything.values(), *(copy.path for copy in made)]:
            assert ingest_file(collection, ENGINE, path).state == "added"
        yield collection


def test_copies_are_files_and_made_once(made: list[Copy], material: Material, tmp_path: Path) -> None:
    assert all(copy.path.is_file() and copy.source in material.everything.values() for copy in made)
    assert len({copy.path for copy in made}) == len(made)
    written = {copy.path: copy.path.stat().st_mtime_ns for copy in made}
    assert list(make_copies(material, tmp_path / "made", 2, 0, HERE, LIMITS)) == made
    assert written == {copy.path: copy.path.stat().st_mtime_ns for copy in made}


def test_true_copies_are_counted_and_false_ones_named(
    collection: Collection, material: Material, made: list[Copy]
) -> None:
    judged = judge_copies(collection, material, made, tools_of(ENGINE))
    assert judged.made["jpeg 20"] == 2 and judged.found["jpeg 20"] == 2
    assert judged.made["clip: low bitrate"] == 2
    assert judged.items == len(material.everything) + len(made)
    liar = [copy for copy in made if copy.edit == "jpeg 20"][0]
    other = next(path for path in material.lookalikes.values())
    lied = [Copy(copy.path, copy.edit, other) if copy is liar else copy for copy in made]
    false = copies_figures(judge_copies(collection, material, lied, tools_of(ENGINE)), 1.0)["false"]
    assert {pair["kind"] for pair in false} == {"copy"}
    assert any("lookalikes/shapes/" in pair["a"] + pair["b"] for pair in false)
