"""vicmae.index.search.cursor: pages of a search hold every item once, whatever happens between them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_items import ENGINE, new_item, unit_vectors

from vicmae.errors import InvalidRequest
from vicmae.index.collection import Collection
from vicmae.index.library import Library
from vicmae.index.search import Query, SearchRequest, search
from vicmae.index.search.cursor import Cursor, first_cursor, read_cursor, write_cursor

QUERY = unit_vectors(900, 1)[0]
DIGEST = SearchRequest(Query(vector=QUERY)).digest()


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def pages(collection: Collection, limits: list[int], between: Callable[[int], None]) -> Iterator[list[str]]:
    """The ids of each page of a search; between(n) happens after the n-th."""
    cursor: str | None = None
    for number, limit in enumerate(limits):
        page = search(collection, SearchRequest(Query(vector=QUERY), limit, cursor=cursor))
        yield [hit.item.id for hit in page.hits]
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
        between(number)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.lists(st.integers(1, 5), min_size=12, max_size=12),
    st.data(),
)
def test_pages_continue_the_first_ranking(
    tmp_path_factory: pytest.TempPathFactory, frames: list[int], limits: list[int], data: st.DataObject
) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        for seed, count in enumerate(frames):
            collection.add(new_item(seed, count))
        ranking = [hit.item.id for hit in search(collection, SearchRequest(Query(vector=QUERY), 100)).hits]
        deleted: set[str] = set()
        chance, places = st.booleans(), st.integers(0, 100)

        def disturb(number: int) -> None:
            """A newcomer nearer than all, and perhaps a deletion."""
            collection.add(new_item(500 + number, 1, vectors=QUERY[None]))
            here = [name for name in ranking if name not in deleted]
            unlucky: bool = data.draw(chance)
            if here and unlucky:
                gone = here[data.draw(places) % len(here)]
                collection.delete(gone)
                deleted.add(gone)

        seen: list[str] = []
        for page in pages(collection, limits, disturb):
            seen += page
        assert len(set(seen)) == len(seen)
        assert [name for name in ranking if name in seen] == seen
        if sum(limits) >= len(ranking):
            assert set(ranking) - deleted <= set(seen)


def test_a_replaced_item_does_not_come_again(collection: Collection) -> None:
    for seed in range(4):
        collection.add(new_item(seed))

    def replace(number: int) -> None:
        collection.add(new_item(number))

    seen: list[str] = []
    for page in pages(collection, [2, 2, 2], replace):
        seen += page
    assert len(set(seen)) == len(seen)


def test_a_cursor_is_held_to_its_search(collection: Collection, tmp_path: Path) -> None:
    item = collection.add(new_item(1))
    cursor = write_cursor(collection, first_cursor(collection), [item.id], DIGEST)
    assert read_cursor(collection, cursor, DIGEST) == Cursor(4, (1,))
    with pytest.raises(InvalidRequest, match="another search"):
        read_cursor(collection, cursor, "other")
    with Library(tmp_path / "other") as library:
        with pytest.raises(InvalidRequest, match="expired"):
            read_cursor(library.create("c", ENGINE), cursor, DIGEST)


@pytest.mark.parametrize(
    "cursor", ["", "x", "nonsense", "eJwDAAAAAAE=", "eJyLBgAAXQBd", "\ud800", "ü", "eJyLNtQx0jHWMYnVMVGIBgAVLgMF"]
)
def test_nonsense_is_no_cursor(collection: Collection, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        read_cursor(collection, cursor, DIGEST)
