"""vicmae.index.library: the folder of collections, each bound to one model."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from made_items import ENGINE, new_item

from vicmae.errors import InvalidRequest, ModelMismatch, NotFound, StorageError
from vicmae.export.engine import FakeEngine
from vicmae.index import atomic
from vicmae.index.library import Library, make_collection

OTHER = FakeEngine(fingerprint="other-1")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "data") as opened:
        yield opened


def test_a_collection_is_made_and_stays(tmp_path: Path, library: Library) -> None:
    made = library.create("trips", ENGINE)
    assert (made.name, made.model, made.fingerprint, made.spec) == ("trips", "fake", "fake-0", ENGINE.spec)
    with Library(tmp_path / "data") as again:
        assert again.open("trips").fingerprint == "fake-0"


def test_creating_again_opens_what_is_there(library: Library) -> None:
    item = library.create("c", ENGINE).add(new_item(1))
    assert library.create("c", ENGINE).get(item.id) == item


@pytest.mark.parametrize("name", ["", "A", "ä", "-a", "_a", "a b", "a/b", "..", "a" * 64, "a\n", "a.b"])
def test_unusable_names_are_refused(library: Library, name: str) -> None:
    calls: list[Callable[[str], Any]] = [
        library.open,
        library.drop,
        lambda name: library.create(name, ENGINE),
    ]
    for call in calls:
        with pytest.raises(InvalidRequest, match="not usable"):
            call(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 63])
def test_usable_names(library: Library, name: str) -> None:
    assert library.create(name, ENGINE).name == name


def test_a_missing_collection_names_those_that_exist(library: Library) -> None:
    with pytest.raises(NotFound, match="None exists"):
        library.open("x")
    library.create("b", ENGINE)
    library.create("a", ENGINE)
    with pytest.raises(NotFound, match="'x'.*: a, b"):
        library.open("x")
    assert [each.name for each in library.survey()[0]] == ["a", "b"]


def test_nothing_is_written_before_something_is_made(tmp_path: Path, library: Library) -> None:
    assert library.names() == ()
    with pytest.raises(NotFound):
        library.open_for("c", ENGINE)
    assert not (tmp_path / "data").exists()


def test_another_model_is_refused_with_the_way_out(library: Library) -> None:
    library.create("c", ENGINE)
    for call in (library.open_for, library.create):
        with pytest.raises(ModelMismatch, match=r"fake-0.*other-1.*vicmae reembed -c c --into NEWNAME"):
            call("c", OTHER)
    assert library.open_for("new", OTHER, create=True).fingerprint == "other-1"


def test_a_dropped_collection_is_gone_for_everybody(library: Library) -> None:
    collection = library.create("c", ENGINE)
    collection.add(new_item(1))
    library.drop("c")
    with pytest.raises(NotFound):
        collection.count()
    with pytest.raises(NotFound):
        library.open("c")
    assert list(library.folder.iterdir()) == []
    assert library.create("c", ENGINE).count() == 0


def test_a_collection_dropped_and_made_again_elsewhere_is_noticed(tmp_path: Path, library: Library) -> None:
    library.create("c", ENGINE).add(new_item(1))
    with Library(tmp_path / "data") as elsewhere:
        elsewhere.drop("c")
        with pytest.raises(NotFound):
            library.open("c")
        elsewhere.create("c", OTHER)
    assert library.open("c").fingerprint == "other-1"


def test_a_half_made_collection_does_not_exist_and_can_be_made(library: Library) -> None:
    (library.folder / "empty").mkdir(parents=True)
    (library.folder / "started").mkdir()
    (library.folder / "started" / "catalog.sqlite").touch()
    assert library.names() == ()
    for name in ("empty", "started"):
        with pytest.raises(NotFound):
            library.open(name)
        assert library.create(name, ENGINE).count() == 0


def test_leftovers_of_a_crash_while_dropping_are_swept(library: Library) -> None:
    library.create("c", ENGINE)
    leftover = library.folder / ".vicmae-0123456789abcdef"
    leftover.mkdir()
    assert [each.name for each in library.survey()[0]] == ["c"]
    library.drop("c")
    assert not leftover.exists()


def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="not a folder"):
        Library(tmp_path / "file")


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Library(tmp_path / "file" / "below") as library, pytest.raises(StorageError, match="--data"):
        library.create("c", ENGINE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with Library(tmp_path) as library, pytest.raises(StorageError, match="write"):
        library.create("c", ENGINE)
    tmp_path.chmod(0o700)


def test_a_damaged_catalog_is_told_by_its_path(library: Library) -> None:
    library.create("c", ENGINE)
    library.close()
    (library.folder / "c" / "catalog.sqlite").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        library.open("c")


def test_a_damaged_catalog_harms_no_other_collection(library: Library) -> None:
    library.create("broken", ENGINE)
    library.create("whole", ENGINE)
    library.close()
    (library.folder / "broken" / "catalog.sqlite").write_bytes(b"rubbish" * 1000)
    assert [each.name for each in library.survey()[0]] == ["whole"]
    assert "damaged" in library.survey()[1]["broken"]
    assert library.open("whole").count() == 0


def test_a_relative_data_folder_is_the_same_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Library(tmp_path.relative_to(tmp_path) / "data") as library:
        collection = library.create("c", ENGINE)
        assert collection.uploads.is_absolute()


@pytest.mark.parametrize("slow", ["flush_all", "sweep"])
def test_collections_are_opened_while_another_is_put_in_place_or_removed(
    library: Library, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Neither a folder that is flushed to disk nor one whose bytes are deleted holds back who searches."""
    library.create("other", ENGINE)
    make_collection(library.folder / "made", "new", ENGINE)
    reached, go_on = threading.Event(), threading.Event()
    real = getattr(atomic, slow)

    def waiting(path: Path) -> None:
        reached.set()
        assert go_on.wait(60)
        real(path)

    monkeypatch.setattr(atomic, slow, waiting)
    with ThreadPoolExecutor(1) as pool:
        adopted = pool.submit(library.adopt, library.folder / "made", "new")
        try:
            assert reached.wait(60)
            assert library.open("other").count() == 0
            assert "other" in library.names()
        finally:
            go_on.set()
        assert adopted.result().name == "new"


def test_a_collection_that_is_dropped_while_all_are_looked_at_is_left_out(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        library.create(name, ENGINE)
    monkeypatch.setattr(library, "names", lambda: ("a", "b", "dropped"))
    opened, damaged = library.survey()
    assert ([each.name for each in opened], damaged) == (["a", "b"], {})
