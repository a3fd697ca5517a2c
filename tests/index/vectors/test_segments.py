"""vicmae.index.vectors.segment and index: sealed or not, whole or damaged, the index equals the catalog."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_index import HALF, agrees, alike, begin_small, fill, stored
from made_items import DIM, ENGINE, new_item, unit_vectors
from numpy.typing import NDArray

from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.locks import file_lock
from vicmae.index.vectors import follower, merge_policy
from vicmae.index.vectors.id_ranges import allowed_of
from vicmae.index.vectors.index import LOCK_FILE, VectorIndex
from vicmae.index.vectors.plan import Effort, IndexOptions

IVF = IndexOptions(kind="ivf", min_recall=0.9)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_small(monkeypatch)


DEEDS = ["add", "delete", "refresh", "seal", "everything", "reopen"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 5)), max_size=20))
def test_any_history(tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, Library(tmp_path_factory.mktemp("d")) as library:
        patch.setattr(merge_policy, "SEAL_ROWS", 5)
        collection = library.create("c", ENGINE)
        index, follower = collection.index, VectorIndex(collection.catalog, DIM)
        for deed, seed in history:
            item = new_item(seed, frames=1 + seed % 3)
            if deed == "add":
                collection.add(item)
            elif deed == "delete" and collection.find_by_uri(item.uri) is not None:
                collection.delete(item.id)
            elif deed == "refresh":
                follower.refresh()
            elif deed in ("seal", "everything"):
                assert index.seal(deed == "everything")
            elif deed == "reopen":
                index = VectorIndex(collection.catalog, DIM)
        for each in (index, follower):
            each.refresh()
            agrees(each, collection)


def test_a_sealed_index_loads_its_segments_and_only_replays_what_is_newer(
    small: None, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(collection, 5, 4)
    assert collection.index.seal()
    fill(collection, 1, 2, first=50)
    collection.delete(new_item(2).id)
    again = VectorIndex(collection.catalog, DIM)
    again.refresh()
    assert again.status()["segments"] == [{"kind": "exact", "rows": 20, "alive": 16, "first_id": 1}]
    assert again.status()["tail_rows"] == 2
    agrees(again, collection)


def test_worn_segments_are_made_anew(small: None, collection: Collection) -> None:
    fill(collection, 10, 4)
    collection.index.seal()
    for seed in range(4):
        collection.delete(new_item(seed).id)
    assert collection.index.seal()
    assert [(s["rows"], s["alive"]) for s in collection.index.status()["segments"]] == [(24, 24)]
    assert len(list((collection.folder / "index").glob("seg-*"))) == 1
    agrees(collection.index, collection)


@pytest.fixture(scope="module")
def approximate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """3,000 vectors in an ivf segment, some removed, and a tail."""
    with Library(tmp_path_factory.mktemp("d"), IVF) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 30, 100)
        assert collection.index.seal(everything=True)
        collection.delete(new_item(3).id)
        fill(collection, 1, 50, first=99)
        collection.index.refresh()
        yield collection


def recall(collection: Collection, effort: Effort, allowed: NDArray[np.int64] | None = None) -> float:
    ids, rows = stored(collection)
    query = alike(5000, 30)
    if allowed is not None:
        rows, ids = rows[np.isin(ids, allowed)], allowed
    true = ids[np.argsort(-(query @ rows.T), axis=1)[:, :10]]
    scores, found = collection.index.search(query, 10, None if allowed is None else allowed_of(allowed), effort)
    assert (found >= 0).all() and np.isin(found, ids).all()
    places = np.searchsorted(ids, found)
    assert scores == pytest.approx(np.einsum("qd,qkd->qk", query, rows[places]), abs=HALF)
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(true, found, strict=True)]))


def test_an_approximate_answer_holds_its_recall_and_true_cosines(approximate: Collection) -> None:
    effort = Effort()
    assert recall(approximate, effort) >= 0.85
    assert [part.kind for part in effort.parts] == ["ivf", "exact"]
    told = effort.to_dict()
    assert told["index"] == "exact+ivf" and told["recall_estimate"] >= 0.9 and told["vectors"] == 2950
    assert told["width"] > 0


def test_exact_is_exact(approximate: Collection) -> None:
    effort = Effort(exact=True)
    assert recall(approximate, effort) == 1.0
    assert effort.to_dict()["recall_estimate"] == 1.0
    agrees(approximate.index, approximate, effort)


@pytest.mark.parametrize("step", [2, 20, 200])
def test_restricted_answers_are_full(approximate: Collection, step: int) -> None:
    ids, _ = stored(approximate)
    effort = Effort()
    assert recall(approximate, effort, ids[::step]) >= 0.85
    assert effort.to_dict()["allowed"] == len(ids[::step])


def test_all_that_there_are_can_be_asked_for(approximate: Collection) -> None:
    ids, _ = stored(approximate)
    _, found = approximate.index.search(unit_vectors(1, 1), len(ids))
    assert sorted(found[0].tolist()) == ids.tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(1, 3050), max_size=400),
    st.integers(0, 3050),
    st.integers(0, 3050),
    st.sampled_from([1, 10, 150]),
    st.integers(0, 3),
)
def test_whatever_a_filter_allows_is_found(
    approximate: Collection, some: set[int], first: int, last: int, k: int, seed: int
) -> None:
    """All k hits whenever k exist, and under a filter that leaves out much, exactly those of brute force."""
    ids, rows = stored(approximate)
    wanted = np.array(sorted(some | set(range(first, last))), np.int64)
    known = np.isin(ids, wanted)
    query = alike(6000 + seed, 2)
    effort = Effort()
    scores, found = approximate.index.search(query, k, allowed_of(wanted), effort)
    assert ((found >= 0).sum(axis=1) == min(k, known.sum())).all() and np.isin(found[found >= 0], ids[known]).all()
    if known.any() and not any(part.width for part in effort.parts):
        true = -np.sort(-(query @ rows[known].T), axis=1)[:, :k]
        assert scores[:, : true.shape[1]] == pytest.approx(true, abs=HALF)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x40
    path.write_bytes(raw)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit of the vectors": lambda folder: flip(folder / "vectors.faiss"),
    "vectors cut short": lambda folder: os.truncate(folder / "vectors.faiss", 100),
    "vectors empty": lambda folder: os.truncate(folder / "vectors.faiss", 0),
    "vectors missing": lambda folder: (folder / "vectors.faiss").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: os.truncate(folder / "manifest.json", 80),
    "a manifest of something else": lambda folder: (folder / "manifest.json").write_text('{"rows": 3}'),
    "no object": lambda folder: (folder / "manifest.json").write_text("[]"),
    "a file in its place": lambda folder: (folder.rename(folder.with_name("x")), folder.write_text("")),
}


@pytest.mark.parametrize("deed", DAMAGE)
def test_damage_is_told_and_made_good(small: None, tmp_path: Path, deed: str, caplog: pytest.LogCaptureFixture) -> None:
    with Library(tmp_path, IVF) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 4, 60)
        assert collection.index.seal()
        (folder,) = (collection.folder / "index").glob("seg-*")
        DAMAGE[deed](folder)
        with caplog.at_level(logging.WARNING):
            again = VectorIndex(collection.catalog, DIM, IVF)
            again.refresh()
        agrees(again, collection)
        if folder.is_dir():
            assert "built anew" in caplog.text and len(again.status()["damaged"]) == 1
        assert again.seal()
        assert again.status()["damaged"] == {} and [s["alive"] for s in again.status()["segments"]] == [240]
        agrees(again, collection, Effort(exact=True))


def test_damage_in_the_middle(small: None, collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_policy, "GROWTH", 0)  # nothing is merged
    for seed in range(3):
        fill(collection, 1, 6, first=seed)
        assert collection.index.seal()
    folders = sorted((collection.folder / "index").glob("seg-*"))
    assert len(folders) == 3
    flip(folders[1] / "vectors.faiss")
    again = VectorIndex(collection.catalog, DIM)
    again.refresh()
    agrees(again, collection)
    assert again.seal() and len(again.status()["segments"]) == 3 and again.status()["tail_rows"] == 0
    agrees(again, collection)


def test_another_collections_segment_is_not_taken(small: None, tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        ours, theirs = library.create("a", ENGINE), library.create("b", ENGINE)
        fill(ours, 3, 4)
        fill(theirs, 3, 4, first=10)
        assert theirs.index.seal()
        (folder,) = (theirs.folder / "index").glob("seg-*")
        (ours.folder / "index").mkdir()
        folder.rename(ours.folder / "index" / folder.name)
        ours.index.refresh()
        assert "another collection" in str(ours.index.status()["damaged"])
        agrees(ours.index, ours)


def test_a_restored_older_catalog_is_noticed(small: None, tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        collection = library.create("c", ENGINE)
        fill(collection, 2, 4)
        copy = tmp_path / "copy.sqlite"
        with collection.catalog.read() as db:
            db.execute("SELECT 1")
        collection.close()
        copy.write_bytes(collection.catalog.path.read_bytes())
    with Library(tmp_path) as library:
        collection = library.open("c")
        fill(collection, 2, 4, first=20)
        assert collection.index.seal()
    (tmp_path / "collections" / "c" / "catalog.sqlite").write_bytes(copy.read_bytes())
    with Library(tmp_path) as library:
        collection = library.open("c")
        collection.index.refresh()
        assert "restored" in str(collection.index.status()["damaged"])
        agrees(collection.index, collection)
        fill(collection, 2, 4, first=30)
    with Library(tmp_path) as library:
        collection = library.open("c")
        collection.index.refresh()
        assert "not those of the catalog" in str(collection.index.status()["damaged"])
        agrees(collection.index, collection)


def test_one_seals_at_a_time(small: None, collection: Collection) -> None:
    fill(collection, 3, 4)
    collection.index.refresh()
    (collection.folder / "index").mkdir(exist_ok=True)
    with file_lock(collection.folder / "index" / LOCK_FILE, wait=False) as is_ours:
        assert is_ours
        assert not collection.index.seal()
        agrees(collection.index, collection)
    assert collection.index.seal()


def test_what_another_seals_is_taken_in(small: None, tmp_path: Path, collection: Collection) -> None:
    fill(collection, 3, 4)
    collection.index.refresh()
    with Library(tmp_path) as elsewhere:
        assert elsewhere.open("c").index.seal()
    collection.index.refresh()
    assert collection.index.status()["tail_rows"] == 0
    agrees(collection.index, collection)


def test_a_full_disk_leaves_the_search_as_it_was(
    small: None, collection: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(collection, 3, 4)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not collection.index.seal()
    assert "No space left" in caplog.text
    assert not [p for p in (collection.folder / "index").iterdir() if p.name != "lock"]
    agrees(collection.index, collection)
    assert collection.index.seal()


def test_a_folder_that_cannot_be_written(small: None, collection: Collection) -> None:
    fill(collection, 3, 4)
    (collection.folder / "index").write_text("a file where the folder should be")
    assert not collection.index.seal()
    agrees(collection.index, collection)


def test_a_large_catalog_without_segments_answers_before_it_is_sealed(
    small: None, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(collection, 5, 4)
    collection.delete(new_item(1).id)
    monkeypatch.setattr(follower, "LARGE_SPAN", 10)
    index = VectorIndex(collection.catalog, DIM)
    index.refresh()
    assert (index.status()["unsealed"], index.status()["tail_rows"]) == ([[1, 20]], 0)
    effort = Effort()
    agrees(index, collection, effort)
    index.search(unit_vectors(1, 1), 3, None, effort)
    assert (effort.to_dict()["index"], effort.to_dict()["vectors"]) == ("catalog", 16)
    assert np.allclose(index.mean(), stored(collection)[1].mean(axis=0), atol=1e-6)
    collection.delete(new_item(2).id)
    fill(collection, 1, 3, first=30)
    index.refresh()
    assert (index.status()["unsealed"], index.status()["tail_rows"]) == ([[1, 20]], 3)
    agrees(index, collection)
    fill(collection, 3, 5, first=40)
    index.refresh()
    assert index.status()["unsealed"] == [[1, 20], [21, 38]] and index.status()["tail_rows"] == 0
    agrees(index, collection)
    assert index.seal()
    assert index.status()["unsealed"] == [] and sum(s["alive"] for s in index.status()["segments"]) == 30
    agrees(index, collection)


def test_a_segment_that_lost_all_its_vectors_answers_none(small: None, collection: Collection) -> None:
    fill(collection, 1, 6)
    assert collection.index.seal(everything=True) and collection.index.seal(everything=True)
    collection.delete(new_item(0).id)
    collection.index.refresh()
    agrees(collection.index, collection)


def removals(collection: Collection) -> int:
    with collection.catalog.read() as db:
        return int(db.execute("SELECT count(*) FROM removed").fetchone()[0])


def test_removals_are_forgotten_once_every_segment_follows(
    small: None, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_policy, "GROWTH", 0)  # nothing is merged
    fill(collection, 10, 4)
    assert collection.index.seal()
    other = VectorIndex(collection.catalog, DIM)
    other.refresh()
    collection.delete(new_item(1).id)
    fill(collection, 3, 4, first=20)
    collection.delete(new_item(20).id)
    assert removals(collection) == 8
    assert collection.index.seal()
    assert removals(collection) == 4, "the old segment needs those of its own ids"
    agrees(collection.index, collection)
    other.refresh()
    agrees(other, collection)
    again = VectorIndex(collection.catalog, DIM)
    again.refresh()
    agrees(again, collection)


def test_removals_that_others_forgot_are_noticed(small: None, collection: Collection) -> None:
    fill(collection, 10, 4)
    other = VectorIndex(collection.catalog, DIM)
    other.refresh()
    collection.delete(new_item(1).id)
    fill(collection, 1, 4, first=20)
    assert collection.index.seal()
    assert removals(collection) == 0
    collection.delete(new_item(2).id)
    other.refresh()
    agrees(other, collection)
