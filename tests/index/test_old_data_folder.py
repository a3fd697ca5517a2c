"""A data folder as an earlier release wrote it opens, answers and is kept, whatever became of its formats."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_index import agrees, awaited
from made_items import ENGINE, new_item, unit_vectors

from vicmae.index.backup.verify import verify
from vicmae.index.catalog.dismissals import dismissed
from vicmae.index.catalog.jobs import list_jobs
from vicmae.index.catalog.ledger import read_ledger
from vicmae.index.library import Library
from vicmae.index.vectors.plan import IndexOptions

WRITTEN = Path(__file__).parent.parent / "golden" / "data_folder_before_plain_faiss.tar.xz"
FRAMES = {0: 1, 1: 5, 3: 13, 4: 17, 5: 21, 8: 3}  # of the items by seed; 2 was removed
SEGMENT = "seg-1-67-760ad9dd"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with tarfile.open(WRITTEN) as tar:
        tar.extractall(tmp_path, filter="data")
    with Library(tmp_path / "data") as opened:
        yield opened


def test_items_vectors_and_all_that_people_said_are_there(library: Library) -> None:
    assert library.names() == ("films",) and library.aliases.all() == {"now": "films"}
    collection = library.open_for("now", ENGINE)
    assert collection.stats()["frames"] == sum(FRAMES.values()) + 1
    for seed, frames in FRAMES.items():
        moments = collection.moments_of(new_item(seed).id)
        assert np.allclose(moments.vectors, unit_vectors(seed, frames), atol=1e-3)
    assert collection.get(new_item(3).id).metadata == {"seed": 3, "place": "Ulm"}
    upload = collection.get("mine")
    assert upload.metadata == {"k": 1} and upload.path.read_bytes() == b"picture of before"
    assert [job.item_id for job in list_jobs(collection.catalog)] == ["later"]
    assert len(dismissed(collection.catalog)) == 1 and len(read_ledger(collection.catalog)) == 5


def test_it_is_searched_and_its_segments_are_built_anew(library: Library) -> None:
    collection = library.open("films")
    seal(library)
    for seed, frames in FRAMES.items():
        collection.index.refresh()
        scores, ids = collection.index.search(unit_vectors(seed, frames), 1)
        assert np.allclose(scores, 1, atol=2e-3)
        assert set(collection.owners(ids).values()) == {new_item(seed).id}
    verdict = verify(collection)
    assert verdict.faults == [] and verdict.counts["vectors_in_index"] == sum(FRAMES.values()) + 1


def test_it_answers_at_once_while_its_segments_are_built_anew_in_the_background(library: Library) -> None:
    with Library(library.data_dir, IndexOptions(background=True)) as served:
        collection = served.open("films")
        collection.index.refresh()
        assert "format 5" in str(collection.index.status()["damaged"]) or collection.index.status()["segments"]
        agrees(collection.index, collection)
        awaited(lambda: not (collection.folder / "index" / SEGMENT).exists())
        collection.index.refresh()
        agrees(collection.index, collection)
        assert collection.index.status()["damaged"] == {} and collection.index.status()["segments"]


def seal(library: Library) -> None:
    """Its upkeep, done now."""
    collection = library.open("films")
    folder = collection.folder / "index"
    assert (folder / SEGMENT).is_dir()
    collection.index.refresh()
    collection.index.seal()
    assert not (folder / SEGMENT).exists()


def test_it_can_be_written_to(library: Library) -> None:
    collection = library.open("films")
    item = collection.add(new_item(20, 4))
    collection.delete(new_item(5).id)
    assert item.frames == 4 and verify(collection).faults == []
