"""vicmae.index.collection: items go in, come out, are listed, changed and removed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_items import DIM, ENGINE, new_item, unit_vectors

from vicmae.errors import Conflict, InvalidRequest, NotFound
from vicmae.index.catalog.ledger import LedgerRow, read_ledger
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.paths import present, printable


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def test_an_item_comes_back_as_it_went_in(collection: Collection) -> None:
    new = new_item(3, frames=5, metadata={"a": [1, "ü"]})
    item = collection.add(new)
    assert collection.get(new.id) == item
    for name in ("id", "uri", "name", "path", "sha256", "kind", "mime", "size_bytes", "width", "metadata"):
        assert getattr(item, name) == getattr(new, name)
    assert item.frames == 5
    moments = collection.moments_of(item.id)
    assert (moments.vectors * new.vectors).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert moments.start_seconds.tolist() == new.start_seconds.tolist()
    assert moments.end_seconds.tolist() == new.end_seconds.tolist()
    assert moments.vectors.shape == (5, DIM) and moments.start_seconds.shape == (5,)


def test_adding_twice_changes_nothing(collection: Collection) -> None:
    first = collection.add(new_item(1))
    assert collection.add(new_item(1)) == first
    assert collection.stats()["frames"] == first.frames
    assert collection.count() == 1


def test_the_same_uri_replaces_and_keeps_metadata_and_age(collection: Collection) -> None:
    first = collection.add(new_item(1, metadata={"tag": "x"}))
    second = collection.add(new_item(1, frames=2, sha256="f" * 64))
    assert (second.metadata, second.created_at, second.frames) == ({"tag": "x"}, first.created_at, 2)
    assert collection.add(new_item(1, metadata={})).metadata == {}


def test_the_same_id_under_another_uri_replaces(collection: Collection) -> None:
    collection.add(new_item(1, id="mine"))
    collection.add(new_item(2, id="mine"))
    assert collection.count() == 1
    assert collection.get("mine").uri == new_item(2).uri


def test_an_id_is_not_replaced_where_that_is_not_wanted(collection: Collection) -> None:
    first = collection.add(new_item(1, id="mine", replaces=False))
    record = LedgerRow("file:///made/2", 1, 1, 2.0, "done")
    with pytest.raises(Conflict, match="'mine' exists already"):
        collection.add(new_item(2, id="mine", replaces=False), record, pictures=[b"a", b"b", b"c", b"d"])
    assert collection.get("mine") == first
    assert not read_ledger(collection.catalog) and collection.stats()["picture_bytes"] == 0
    again = collection.add(new_item(1, id="mine", frames=2, replaces=False))  # the same file, as a job is run again
    assert again.frames == 2


def test_an_id_and_a_uri_of_two_items_replace_both(collection: Collection) -> None:
    collection.add(new_item(1, id="one"))
    collection.add(new_item(2, id="two"))
    collection.add(new_item(2, id="one"))
    assert [item.id for item in collection.items()[0]] == ["one"]


def test_item_and_ledger_are_one_transaction(collection: Collection) -> None:
    row = LedgerRow("file:///made/1", 1, 2, 2.0, "done", item_id="x")
    with pytest.raises(InvalidRequest):
        collection.add(new_item(1, metadata={"nan": float("nan")}), row)
    assert collection.count() == 0 and read_ledger(collection.catalog) == {}
    collection.add(new_item(1), row)
    assert read_ledger(collection.catalog) == {row.uri: row}


@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 12), limit=st.integers(1, 5))
def test_pages_give_each_item_once_newest_first(
    tmp_path_factory: pytest.TempPathFactory, count: int, limit: int
) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        added = [collection.add(new_item(seed, frames=1)).id for seed in range(count)]
        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = collection.items(limit, cursor)
            assert len(page) <= limit
            seen += [item.id for item in page]
            if cursor is None:
                break
        assert seen == added[::-1]


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "e30=", "WzEsMl0=", "ü", "WyJhIl0=", "WyJcdWQ4MDAiLCAieCJd"])
def test_a_wrong_cursor_is_refused(collection: Collection, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        collection.items(10, cursor)


def test_a_limit_below_one_is_refused(collection: Collection) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        collection.items(0)


def test_unknown_items_are_not_found(collection: Collection) -> None:
    for call in (collection.get, collection.delete, collection.moments_of):
        with pytest.raises(NotFound, match="no item 'x'"):
            call("x")
    with pytest.raises(NotFound):
        collection.update_metadata("x", {})
    assert collection.find_by_uri("x") is None and collection.find_by_sha256("x") is None
    assert collection.get_many(["x"]) == {}


def test_deleting_takes_vectors_and_ledger_along(collection: Collection) -> None:
    item = collection.add(new_item(1), LedgerRow("file:///made/1", 1, 2, 2.0, "done"))
    collection.delete(item.id)
    assert collection.stats()["frames"] == 0 and read_ledger(collection.catalog) == {}


def test_deleting_an_upload_deletes_its_bytes_but_a_users_file_stays(collection: Collection, tmp_path: Path) -> None:
    uploaded, own = collection.uploads / "a.png", tmp_path / "b.png"
    for path in (uploaded, own):
        path.write_bytes(b"x")
    one = collection.add(new_item(1, path=uploaded))
    two = collection.add(new_item(2, path=own))
    assert one.path == uploaded
    collection.delete(one.id)
    collection.delete(two.id)
    assert not uploaded.exists() and own.exists()


def test_replacing_an_upload_deletes_the_old_bytes(collection: Collection) -> None:
    old, new = collection.uploads / "old", collection.uploads / "new"
    for path in (old, new):
        path.write_bytes(b"x")
    collection.add(new_item(1, path=old))
    collection.add(new_item(1, path=new))
    assert not old.exists() and new.exists()


def test_uploads_move_with_the_data_folder(tmp_path: Path) -> None:
    with Library(tmp_path / "a") as library:
        collection = library.create("c", ENGINE)
        (collection.uploads / "x.png").write_bytes(b"x")
        item = collection.add(new_item(1, path=collection.uploads / "x.png"))
    (tmp_path / "a").rename(tmp_path / "b")
    with Library(tmp_path / "b") as library:
        moved = library.open("c")
        assert moved.get(item.id).path.read_bytes() == b"x"


def test_a_file_name_that_is_no_text_is_kept(collection: Collection, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(b"x")
    item = collection.add(new_item(1, path=path, uri=path.as_uri()))
    assert collection.get(item.id).path == path
    assert printable(path).endswith("caf\ufffd.png")


def test_a_vanished_file_is_told(collection: Collection) -> None:
    with pytest.raises(NotFound, match="no longer at /made/1"):
        present(collection.add(new_item(1)).path, "1.mp4")


def test_stats_count(collection: Collection) -> None:
    collection.add(new_item(1, frames=1))
    collection.add(new_item(2, frames=4))
    stats = collection.stats()
    assert (stats["items"], stats["images"], stats["videos"], stats["frames"]) == (2, 1, 1, 5)
    assert stats["video_seconds"] == 2.0 and stats["failed_files"] == 0


def test_the_oldest_of_twins_is_found(collection: Collection) -> None:
    first = collection.add(new_item(1, sha256="a" * 64))
    collection.add(new_item(2, sha256="a" * 64))
    assert collection.find_by_sha256("a" * 64) == first


def test_owners_leave_out_what_is_not_there(collection: Collection) -> None:
    item = collection.add(new_item(1, frames=2))
    assert collection.owners(np.array([[1, 2], [-1, 99]])) == {1: item.id, 2: item.id}


@pytest.mark.parametrize("item_id", ["", "a b", "ä", "a/b", "x" * 129, "a\n", "a\0"])
def test_an_unusable_id_is_refused(item_id: str) -> None:
    with pytest.raises(InvalidRequest, match="not usable"):
        new_item(1, id=item_id)


def test_vectors_that_make_no_sense_are_refused(collection: Collection) -> None:
    broken = unit_vectors(0, 4)
    broken[1, 1] = np.nan
    for vectors in (broken, unit_vectors(0, 3), np.zeros((0, DIM), np.float32), np.zeros(DIM, np.float32)):
        with pytest.raises(ValueError):
            new_item(1, frames=4, vectors=vectors)
    with pytest.raises(ValueError, match=str(DIM)):
        collection.add(replace(new_item(1), vectors=unit_vectors(0, 4, DIM - 1)))


def test_the_path_of_an_item_is_absolute(collection: Collection) -> None:
    assert collection.add(new_item(1)).path == Path("/made/1")
