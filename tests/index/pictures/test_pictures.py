"""vicmae.index.pictures: which picture an item shows at a second; what is named can be read, and nothing else stays."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from made_items import ENGINE, new_item
from made_pictures import is_of, jpegs_of

from vicmae.errors import CorruptMedia, StorageError
from vicmae.index.catalog import picture_files
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.locks import file_lock


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def files_of(collection: Collection) -> set[Path]:
    return {path for path in collection.pictures.files.folder.rglob("*") if path.is_file()}


def named_files(collection: Collection) -> set[Path]:
    ids = [item.id for item in collection.items(1000)[0]]
    with collection.catalog.read() as db:
        return {collection.pictures.files.path(file.token) for file in picture_files(db, ids).values()}


def test_the_frame_that_stands_for_a_second(collection: Collection) -> None:
    new = new_item(1, 4)  # at 0, 0.5, 1 and 1.5 s
    collection.add(new, pictures=jpegs_of(new))
    found = collection.pictures_at(new.id, [0.0, 0.49, 0.4996, 0.5, 1.2, 1.9, 99.0])
    assert all(is_of(picture, 1, place) for picture, place in zip(found, [0, 0, 1, 1, 2, 3, 3], strict=True))
    third = found[4]
    assert third is not None and (third.item_id, third.start_seconds, third.end_seconds) == (new.id, 1.0, 1.5)


def test_before_the_first_frame_the_first_is_shown(collection: Collection) -> None:
    starts = np.array([2.0, 2.5])
    new = new_item(1, 2, start_seconds=starts, end_seconds=starts + 0.5)
    collection.add(new, pictures=jpegs_of(new))
    assert is_of(collection.pictures_at(new.id, [0.0])[0], 1, 0)


def test_items_without_pictures_have_none(collection: Collection) -> None:
    collection.add(new_item(1, 4))
    other = new_item(2, 1)
    collection.add(other, pictures=jpegs_of(other))
    found = collection.pictures_of_many({new_item(1).id: [0.0, 1.0], other.id: [0.0], "unknown": [3.0], "x": []})
    assert is_of(found.pop(other.id)[0], 2, 0)
    assert found == {new_item(1).id: [None, None], "unknown": [None], "x": []}
    assert collection.stats()["without_pictures"] == 1


def test_a_key_is_that_of_the_picture(collection: Collection) -> None:
    new = new_item(1, 4)
    collection.add(new, pictures=jpegs_of(new))
    first, same, second = collection.pictures_at(new.id, [0.0, 0.3, 0.5])
    assert first is not None and same is not None and second is not None
    assert first.key == same.key != second.key
    collection.add(new, pictures=jpegs_of(new))
    again = collection.pictures_at(new.id, [0.0])[0]
    assert again is not None and again.key != first.key


def test_all_pictures_of_a_long_item(collection: Collection) -> None:
    new = new_item(3, 150)
    collection.add(new, pictures=jpegs_of(new))
    found = list(collection.pictures.all_of(new.id))
    assert [picture.start_seconds for picture in found] == new.start_seconds.tolist()
    assert all(is_of(picture, 3, place) for place, picture in enumerate(found))
    assert list(collection.pictures.all_of("unknown")) == []


def test_bytes_are_counted(collection: Collection) -> None:
    items = [new_item(seed, seed) for seed in (1, 3, 5)]
    for new in items:
        collection.add(new, pictures=jpegs_of(new))
    sizes = {new.id: sum(map(len, jpegs_of(new))) for new in items}
    assert collection.stats()["picture_bytes"] == sum(sizes.values())
    collection.delete(items[1].id)
    collection.add(items[2])  # without
    assert collection.pictures.total_bytes() == sizes[items[0].id]


def test_one_picture_a_frame_is_expected(collection: Collection) -> None:
    new = new_item(1, 4)
    with pytest.raises(ValueError, match="pictures must be those of 4 frames"):
        collection.add(new, pictures=jpegs_of(new)[:3])
    assert collection.count() == 0 and files_of(collection) == set()


def test_a_file_that_is_gone_or_cut_is_told_and_the_rest_goes_on(
    collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    items = [new_item(seed, 3) for seed in (1, 2, 3)]
    for new in items:
        collection.add(new, pictures=jpegs_of(new))
    paths = {path.stat().st_size: path for path in files_of(collection)}
    gone, cut, well = items
    with collection.catalog.read() as db:
        found = picture_files(db, [new.id for new in items])
    collection.pictures.files.path(found[gone.id].token).unlink()
    os.truncate(collection.pictures.files.path(found[cut.id].token), 100)
    with caplog.at_level(logging.WARNING):
        pictures = collection.pictures_of_many({new.id: [0.0, 1.0] for new in items})
    assert pictures[gone.id] == pictures[cut.id] == [None, None] and paths
    assert is_of(pictures[well.id][1], 3, 2)
    assert gone.id in caplog.text and cut.id in caplog.text
    assert set(collection.pictures.faults()) == {gone.id, cut.id}
    for new in (gone, cut):
        frames = collection.pictures.frames_of(new.id)
        assert frames is not None and collection.pictures.give(new.id, frames, jpegs_of(new))
        assert not collection.pictures.give(new.id, frames, jpegs_of(new))  # it has another file by now
    assert collection.pictures.faults() == {} and is_of(collection.pictures_at(cut.id, [1.0])[0], 2, 2)
    assert files_of(collection) == named_files(collection)


def test_a_picture_that_is_no_jpeg_says_so(collection: Collection) -> None:
    new = new_item(1, 1)
    collection.add(new, pictures=[b"no picture"])
    picture = collection.pictures_at(new.id, [0.0])[0]
    assert picture is not None
    with pytest.raises(CorruptMedia, match="vicmae verify"):
        picture.pixels()


def test_a_reader_meets_an_item_that_is_replaced_meanwhile(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    new, other = new_item(1, 4), new_item(2, 2, id=new_item(1).id)
    collection.add(new, pictures=jpegs_of(new))
    look_up = collection.pictures._look_up

    def replaced_after(ids: list[str]) -> object:
        monkeypatch.undo()
        found = look_up(ids)
        collection.add(other, pictures=jpegs_of(other))
        return found

    monkeypatch.setattr(collection.pictures, "_look_up", replaced_after)
    with caplog.at_level(logging.WARNING):
        assert is_of(collection.pictures_at(new.id, [0.5])[0], 2, 1)
    assert caplog.text == ""


def test_what_is_being_written_is_not_swept(collection: Collection) -> None:
    new = new_item(1, 3)
    with collection.pictures.written(jpegs_of(new)) as file:
        assert collection.pictures.spare() == 1
        assert collection.pictures.sweep() == 0
        assert collection.pictures.files.fault(file) is None
    assert collection.pictures.sweep() == 1  # nobody has named it
    assert collection.pictures.sweep() == 0 and files_of(collection) == set()


def test_where_a_lock_is_held_nothing_is_removed(collection: Collection) -> None:
    with collection.pictures.written([b"x"]) as file:
        pass
    with file_lock(collection.pictures.files.path(file.token)):
        assert collection.pictures.sweep() == 0
    assert collection.pictures.sweep() == 1


def test_a_folder_that_cannot_be_written_is_a_storage_error(collection: Collection) -> None:
    collection.pictures.files.folder.write_bytes(b"")  # a file in its place
    with pytest.raises(StorageError, match="Pictures cannot be kept"):
        collection.add(new_item(1), pictures=jpegs_of(new_item(1)))
    with pytest.raises(StorageError, match="Pictures cannot be kept"):
        collection.pictures.spool()
    assert collection.count() == 0


class Killed(Exception):
    """Stands for a kill: nothing that comes after it runs."""


class Store(RuleBasedStateMachine):
    """Whatever is added, replaced, removed or killed: what is named can be read; after a sweep nothing else stays."""

    def __init__(self) -> None:
        super().__init__()
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory()
        self.library = Library(Path(self.folder.name))
        self.collection = self.library.create("c", ENGINE)
        self.held: dict[str, tuple[int, int, bool]] = {}  # seed, frames, whether it has pictures

    ids = st.sampled_from(["a", "b", "c", "d"])
    seeds = st.integers(0, 200)
    counts = st.integers(1, 6)

    @rule(item_id=ids, seed=seeds, frames=counts, pictures=st.booleans())
    def add(self, item_id: str, seed: int, frames: int, pictures: bool) -> None:
        new = new_item(seed, frames, id=item_id, uri=f"file:///made/{item_id}")
        self.collection.add(new, pictures=jpegs_of(new) if pictures else None)
        self.held[item_id] = seed, frames, pictures

    @rule(item_id=ids)
    def delete(self, item_id: str) -> None:
        if self.held.pop(item_id, None) is not None:
            self.collection.delete(item_id)

    @rule(item_id=ids, seed=seeds, frames=counts, step=st.sampled_from(["write", "rename", "commit", "remove"]))
    def add_and_be_killed(self, item_id: str, seed: int, frames: int, step: str) -> None:
        """A kill while the pictures are written, before they have their name, before the commit, and after it."""
        new = new_item(seed, frames, id=item_id, uri=f"file:///made/{item_id}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "unlink", _nothing)  # a killed process tidies nothing up
            pictures: Iterator[bytes] | list[bytes] = jpegs_of(new)
            if step == "write":
                pictures = _cut(jpegs_of(new))
            elif step == "rename":
                patch.setattr(Path, "rename", _killed)
            elif step == "commit":
                patch.setattr("vicmae.index.collection.item_table.put_items", _killed)
            else:
                patch.setattr(self.collection, "_remove", _killed)
            with pytest.raises(Killed):
                self.collection.add(new, pictures=pictures)
        if step == "remove":
            self.held[item_id] = seed, frames, True

    @rule(item_id=ids)
    def delete_and_be_killed(self, item_id: str) -> None:
        if self.held.pop(item_id, None) is None:
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.collection, "_remove", _killed)
            with pytest.raises(Killed):
                self.collection.delete(item_id)

    @rule()
    def sweep(self) -> None:
        self.collection.pictures.sweep()
        assert files_of(self.collection) == named_files(self.collection)

    @rule()
    def open_again(self) -> None:
        self.library.close()
        self.library = Library(Path(self.folder.name))
        self.collection = self.library.open("c")

    @invariant()
    def all_that_is_named_can_be_read(self) -> None:
        assert self.collection.pictures.faults() == {}
        for item_id, (seed, frames, has_pictures) in self.held.items():
            found = self.collection.pictures_at(item_id, [place / 2 for place in range(frames)])
            expected = [is_of(picture, seed, place) for place, picture in enumerate(found)]
            assert expected == [has_pictures] * frames
        kept = sum(has_pictures for _, _, has_pictures in self.held.values())
        assert self.collection.stats()["without_pictures"] == len(self.held) - kept

    def teardown(self) -> None:
        self.library.close()
        self.folder.cleanup()


def _killed(*_: object, **__: object) -> None:
    raise Killed


def _nothing(*_: object, **__: object) -> None:
    pass


def _cut(jpegs: list[bytes]) -> Iterator[bytes]:
    yield jpegs[0][:10]
    raise Killed


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
