"""vicmae.index.vectors.kept: what a filter allows is what the catalog says, and is not read again in vain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_index import alike, begin_small, stored
from made_items import ENGINE, new_item

from vicmae.index.catalog.filters import Filter, parse_filter
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.search.cursor import Scope
from vicmae.index.search.search import search_frame
from vicmae.index.vectors import kept
from vicmae.index.vectors.id_ranges import allowed_of
from vicmae.index.vectors.kept import KeptFilters
from vicmae.index.vectors.merge_policy import trim
from vicmae.index.vectors.plan import Effort, IndexOptions

RED = parse_filter({"must": [{"key": "metadata.colour", "match": {"value": "red"}}]})
IVF = IndexOptions("ivf", background=False)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def coloured(seed: int, colour: str, frames: int = 3) -> Any:
    return new_item(seed, frames, vectors=alike(seed, frames), metadata={"colour": colour})


def in_catalog(collection: Collection, colour: str = "red") -> list[int]:
    with collection.catalog.read() as db:
        rows = db.execute(
            "SELECT vector_id FROM frames JOIN media ON media.id = media_id "
            "WHERE json_extract(metadata, '$.colour') = ? ORDER BY 1",
            (colour,),
        )
        return [row[0] for row in rows]


def allowed(collection: Collection, filter: Filter | None = RED) -> list[int]:
    return list(collection.allowed(filter).within(0, 10**9))


OPS = st.lists(
    st.tuples(st.sampled_from(["add", "delete", "recolour", "seal", "trim"]), st.integers(0, 9), st.booleans()),
    max_size=15,
)


@settings(max_examples=12, deadline=None)
@given(OPS)
def test_it_follows_what_is_done(tmp_path_factory: pytest.TempPathFactory, ops: list[tuple[str, int, bool]]) -> None:
    """And a search under the filter finds just what comparing all of its vectors finds."""
    query = alike(77, 1)
    with pytest.MonkeyPatch.context() as patch, Library(tmp_path_factory.mktemp("d"), IVF) as library:
        begin_small(patch)
        collection = library.create("c", ENGINE)
        for seed in range(4):
            collection.add(coloured(seed, "red" if seed % 2 else "blue", 60))
        there = set(range(4))
        for op, seed, is_red in ops:
            colour = "red" if is_red else "blue"
            if op == "add":
                collection.add(coloured(seed, colour, 60))
                there.add(seed)
            elif op == "delete" and seed in there:
                collection.delete(new_item(seed).id)
                there.remove(seed)
            elif op == "recolour" and seed in there:
                collection.update_metadata(new_item(seed).id, {"colour": colour})
            elif op == "seal":
                assert collection.index.seal(everything=True)
            elif op == "trim":
                trim(collection.catalog, [], 10**6)
            ids = in_catalog(collection)
            assert allowed(collection) == ids
            hits = search_frame(collection, query[0], 3, Scope(RED), Effort(exact=True))
            best = {
                new_item(seed).id: float((collection.vectors_of(new_item(seed).id)[0] @ query[0]).max())
                for seed in there
                if collection.get(new_item(seed).id).metadata["colour"] == "red"
            }
            assert [hit.item.id for hit in hits] == sorted(best, key=lambda name: -best[name])[:3]


def test_it_is_read_again_only_after_a_change(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = kept._read

    def counted(*asked: Any) -> Any:
        read.append(asked[3] if len(asked) > 3 else 0)
        return real(*asked)

    monkeypatch.setattr(kept, "_read", counted)
    for seed in range(3):
        collection.add(coloured(seed, "red"))
    assert allowed(collection) == allowed(collection) == list(range(1, 10)) and read == [0]
    collection.add(coloured(3, "red"))
    assert allowed(collection) == list(range(1, 13)) and read == [0, 9], "only what is newer is looked at"
    collection.delete(new_item(1).id)
    assert allowed(collection) == [1, 2, 3, *range(7, 13)] and len(read) == 2
    collection.merge_metadata(new_item(0).id, {"colour": "blue"})
    assert allowed(collection) == list(range(7, 13)) and read[2:] == [0]


def test_what_looks_alike_is_told_apart(collection: Collection) -> None:
    """True and 1 are the same to Python, and not to a filter."""
    collection.add(new_item(0, 2, metadata={"a": True}))
    collection.add(new_item(1, 2, metadata={"a": 1}))
    found = [
        allowed(collection, parse_filter({"must": [{"key": "metadata.a", "match": {"value": value}}]}))
        for value in (True, 1)
    ]
    assert found == [[1, 2], [3, 4]]
    assert allowed(collection, None) == [1, 2, 3, 4]


def test_collections_do_not_mix(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        first, second = library.create("a", ENGINE), library.create("b", ENGINE)
        first.add(coloured(0, "red"))
        second.add(coloured(1, "red", 5))
        assert (allowed(first), allowed(second)) == ([1, 2, 3], [1, 2, 3, 4, 5])


def test_a_reader_that_is_overtaken_sees_its_own_moment(collection: Collection) -> None:
    filters = KeptFilters()
    collection.add(coloured(0, "red"))
    with collection.catalog.read() as early:
        assert len(filters.allowed(early, 0, RED)) == 3
        collection.add(coloured(1, "red"))
        with collection.catalog.read() as late:
            assert filters.allowed(late, 0, RED).within(0, 100).tolist() == [1, 2, 3, 4, 5, 6]
        assert filters.allowed(early, 0, RED).within(0, 100).tolist() == [1, 2, 3]
    with collection.catalog.read() as late:
        assert filters.allowed(late, 0, RED).within(0, 100).tolist() == [1, 2, 3, 4, 5, 6]


def test_memory_is_bounded(collection: Collection) -> None:
    filters = KeptFilters(most_bytes=1000)
    for seed in range(20):
        collection.add(coloured(seed, str(seed % 10)))
    for colour in [*"0123456789", *"89"]:
        wanted = parse_filter({"must": [{"key": "metadata.colour", "match": {"value": colour}}]})
        with collection.catalog.read() as db:
            found = filters.allowed(db, 0, wanted)
            everything = filters.allowed(db, 0, None)
        assert found.within(0, 100).tolist() == in_catalog(collection, colour) and len(everything) == 60
    assert 0 < sum(held.nbytes for _, held in filters._held.values()) <= 1000


def test_a_known_filter_answers_as_a_new_one(tmp_path: Path) -> None:
    """Of a sealed segment, also while rows of it go."""
    with pytest.MonkeyPatch.context() as patch, Library(tmp_path, IVF) as library:
        begin_small(patch)
        collection = library.create("c", ENGINE)
        for seed in range(60):
            collection.add(coloured(seed, "red" if seed % 12 == 0 else "blue", 50))
        assert collection.index.seal(everything=True)
        collection.index.refresh()
        (sealed,) = collection.index._state.segments
        query = alike(500, 20)
        for turn in range(3):
            ids = np.array(in_catalog(collection))
            every, rows = stored(collection)
            true = ids[np.argsort(-(query @ rows[np.isin(every, ids)].T), axis=1)[:, :10]]
            kept, effort = collection.allowed(RED), Effort()
            found = [collection.index.search(query, 10, each, effort)[1] for each in (kept, kept, allowed_of(ids))]
            assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
            assert np.mean([np.isin(a, b).mean() for a, b in zip(true, found[0], strict=True)]) >= 0.95
            assert effort.parts[0].kind == "sketch" and effort.to_dict()["allowed"] == len(ids)
            assert (known := kept.known.get(sealed.file)) is not None and known[1].count == len(ids)
            collection.delete(new_item(12 * turn).id)
            collection.index.refresh()


def test_a_filter_that_all_pass_is_searched_as_none(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, Library(tmp_path, IVF) as library:
        begin_small(patch)
        collection = library.create("c", ENGINE)
        for seed in range(10):
            collection.add(coloured(seed, "red", 50))
        assert collection.index.seal(everything=True)
        collection.delete(new_item(3).id)
        collection.index.refresh()
        query, plain, told = alike(500, 5), Effort(), Effort()
        without = collection.index.search(query, 10, None, plain)
        under = collection.index.search(query, 10, collection.allowed(RED), told)
        assert np.array_equal(without[1], under[1]) and plain.parts == told.parts
        assert told.to_dict()["allowed"] == 450
