"""A data folder of an earlier release opens: its catalog is brought up to date, its index segments are built anew.

The folder was made by that release (git archive ec3af6e), with build.LEAST_ROWS = 60 and IndexOptions(kind="ivf",
min_recall=0.9): new_item(seed, frames=40, vectors=alike(seed, 40)) for the seeds 0 and 1, new_item(9, frames=20),
index.seal(everything=True), then the item 9 deleted and new_item(20, frames=7) added.
"""

import tarfile
from pathlib import Path

import pytest
from made_index import agrees, alike, awaited
from made_items import ENGINE, new_item
from made_queries import search_frame

from vicmae.index.backup.verify import verify
from vicmae.index.library import Library
from vicmae.index.vectors.plan import IndexOptions

OLD = Path(__file__).parent.parent / "golden" / "data_of_release_0.tar.xz"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with tarfile.open(OLD) as file:
        file.extractall(tmp_path, filter="data")
    return tmp_path


def test_it_answers_at_once_and_its_segments_are_built_anew(data: Path) -> None:
    (old,) = (data / "collections" / "lists" / "index").glob("seg-*")
    with Library(data, IndexOptions(background=True)) as library:
        collection = library.open_for("lists", ENGINE)
        collection.index.refresh()
        agrees(collection.index, collection)
        hits = search_frame(collection, alike(1, 40)[7], 3)
        assert [hit.item.uri for hit in hits][0] == new_item(1).uri and len(hits) == 3
        assert hits[0].score > 0.999 and hits[0].start_seconds == 3.5
        awaited(lambda: not old.exists())
        collection.index.refresh()
        status = collection.index.status()
        assert [segment["alive"] for segment in status["segments"]] == [87] and status["damaged"] == {}
        agrees(collection.index, collection)
        assert verify(collection).is_well
    with Library(data) as library:
        collection = library.open("lists")
        collection.index.refresh()
        assert collection.index.status()["tail_rows"] == 0
        agrees(collection.index, collection)


def test_it_can_be_used_without_writing_its_index(data: Path) -> None:
    with Library(data) as library:
        collection = library.open("lists")
        collection.index.refresh()
        assert "format 5" in str(collection.index.status()["damaged"])
        collection.delete(new_item(0).id)
        collection.add(new_item(30, frames=5))
        collection.index.refresh()
        agrees(collection.index, collection)
