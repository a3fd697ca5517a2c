"""vicmae.index.catalog.filters: what passes is what the words say, and a wrong filter is told with its place."""

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_items import ENGINE, new_item, unit_vectors
from made_queries import search_clip, search_frame

from vicmae.errors import InvalidRequest
from vicmae.index.catalog.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_NAMES, parse_filter, read_filter
from vicmae.index.catalog.items import Item
from vicmae.index.collection import Collection
from vicmae.index.library import Library

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["", "a", "ab", "b", "ü", "100%", "_"]), st.integers(-2, 2), st.booleans(), st.just(0.5)
)
VALUES = st.recursive(
    st.one_of(SCALARS, st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["x", "a"]), inner, max_size=2)
    ),
    max_leaves=6,
)
PEOPLE = st.lists(
    st.one_of(SCALARS, st.dictionaries(st.sampled_from("ax"), VALUES, min_size=1)), min_size=1, max_size=3
)
METADATA = st.dictionaries(st.sampled_from(["a", "b", "c d"]), VALUES, max_size=3)
KEYS = st.sampled_from(
    ["metadata.a", "metadata.b", "metadata.c d", "metadata.a.x", "metadata.a[].x", "metadata.b[]", "metadata.b.x[].a"]
)
NUMBERS = st.one_of(st.integers(-2, 2), st.just(0.5))
CONDITIONS = st.one_of(
    st.builds(lambda key, value: {"key": key, "match": {"value": value}}, KEYS, SCALARS),
    st.builds(lambda key, values: {"key": key, "match": {"any": values}}, KEYS, st.lists(SCALARS, max_size=3)),
    st.builds(lambda key, text: {"key": key, "match": {"prefix": text}}, KEYS, st.sampled_from(["", "a", "ü", "_"])),
    st.builds(
        lambda key, bounds: {"key": key, "range": bounds},
        st.one_of(KEYS, st.just("duration_seconds")),
        st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), NUMBERS, min_size=1),
    ),
    st.builds(lambda key: {"is_empty": {"key": key}}, KEYS),
    st.builds(lambda kind: {"key": "kind", "match": {"value": kind}}, st.sampled_from(["image", "video"])),
)
FILTERS = st.recursive(
    st.dictionaries(st.sampled_from(["must", "should", "must_not"]), st.lists(CONDITIONS, max_size=2)),
    lambda inner: st.dictionaries(
        st.sampled_from(["must", "should", "must_not"]),
        st.lists(st.one_of(CONDITIONS, inner.filter(bool)), max_size=2),
    ),
    max_leaves=4,
)


COMPARED = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def passes(item: Item, clause: dict[str, Any]) -> bool:
    """The words of the grammar, said in Python."""
    if set(clause) <= {"must", "should", "must_not"}:
        should = clause.get("should", [])
        return (
            all(passes(item, inner) for inner in clause.get("must", []))
            and (not should or any(passes(item, inner) for inner in should))
            and not any(passes(item, inner) for inner in clause.get("must_not", []))
        )
    if "is_empty" in clause:
        found = found_at(item, clause["is_empty"]["key"])
        members = [list(value.values()) if isinstance(value, dict) else each_of(value) for value in found]
        return all(value is None for each in members for value in each)
    return any(holds(one, clause) for value in found_at(item, clause["key"]) for one in each_of(value))


def found_at(item: Item, key: str) -> list[Any]:
    """All values at the key, which may go through lists."""
    if not key.startswith("metadata."):
        return [getattr(item, key)]
    found: list[Any] = [item.metadata]
    for step in key.removeprefix("metadata.").replace("[]", "").split("."):
        holders = [one for value in found for one in each_of(value)]
        found = [holder[step] for holder in holders if isinstance(holder, dict) and step in holder]
    return found


def each_of(value: Any) -> list[Any]:
    """A list's elements; of any other value itself."""
    return value if isinstance(value, list) else [value]


def holds(value: Any, clause: dict[str, Any]) -> bool:
    if "range" in clause:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and all(COMPARED[name](value, bound) for name, bound in clause["range"].items())
    match = clause["match"]
    if "prefix" in match:
        return isinstance(value, str) and value.startswith(match["prefix"])
    wanted = match["any"] if "any" in match else [match["value"]]
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in wanted)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


def ids(collection: Collection, *must: dict[str, Any]) -> set[str]:
    """Ids of the items that pass all of these conditions."""
    return {item.id for item in collection.items(100, filter=parse_filter({"must": list(must)}))[0]}


def test_of_a_list_on_the_way_one_element_is_enough(collection: Collection) -> None:
    people = [{"name": "Ada", "age": 36, "dogs": [{"name": "Rex"}]}, {"name": "Bo"}, "nobody", None]
    collection.add(new_item(1, 1, id="two", metadata={"people": people}))
    collection.add(new_item(2, 1, id="one", metadata={"people": {"name": "Ada"}}))
    collection.add(new_item(3, 1, id="none", metadata={"people": [], "name": "Ada"}))
    for key in ("metadata.people[].name", "metadata.people.name"):
        assert ids(collection, {"key": key, "match": {"value": "Ada"}}) == {"one", "two"}
        assert ids(collection, {"key": key, "match": {"any": ["Bo", "Cy"]}}) == {"two"}
        assert ids(collection, {"key": key, "match": {"prefix": "B"}}) == {"two"}
        assert ids(collection, {"is_empty": {"key": key}}) == {"none"}
    assert ids(collection, {"key": "metadata.people[].dogs[].name", "match": {"value": "Rex"}}) == {"two"}
    assert ids(collection, {"key": "metadata.people.age", "range": {"gt": 30}}) == {"two"}
    assert ids(collection, {"key": "metadata.people[].people", "match": {"value": "Ada"}}) == set()


@settings(max_examples=40)
@given(st.lists(PEOPLE, min_size=1, max_size=6), st.lists(SCALARS, min_size=1, max_size=4))
def test_keys_through_lists_give_what_plain_python_gives(
    tmp_path_factory: pytest.TempPathFactory, made: list[Any], wanted: list[Any]
) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        items = collection.add_many([new_item(seed, 1, metadata={"a": people}) for seed, people in enumerate(made)])
        for key in ("metadata.a[].x", "metadata.a.x", "metadata.a[].x[].a", "metadata.a[].a[]"):
            conditions: list[dict[str, Any]] = [{"key": key, "match": {"value": value}} for value in wanted]
            more: list[dict[str, Any]] = [
                {"is_empty": {"key": key}},
                {"key": key, "range": {"gte": 0}},
                {"key": key, "match": {"prefix": "a"}},
            ]
            for clause in (*conditions, *more):
                assert ids(collection, clause) == {item.id for item in items if passes(item, clause)}, clause


@settings(max_examples=60)
@example([({"a": ""}, 1)], {"must": [{"key": "metadata.a", "match": {"prefix": ""}}]}, 1)
@given(st.lists(st.tuples(METADATA, st.integers(1, 3)), min_size=1, max_size=8), FILTERS, st.integers(1, 9))
def test_search_and_list_give_what_brute_force_gives(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[dict[str, Any], int]], raw: dict[str, Any], limit: int
) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        items = [
            collection.add(new_item(seed, frames, metadata=metadata)) for seed, (metadata, frames) in enumerate(made)
        ]
        filter = parse_filter(raw)
        passing = {item.id for item in items if passes(item, raw)}
        assert {item.id for item in collection.items(100, filter=filter)[0]} == passing
        query = unit_vectors(7, 1)[0]
        closest = {
            item.id: float((collection.moments_of(item.id).vectors @ query).max())
            for item in items
            if item.id in passing
        }
        hits = search_frame(collection, query, limit, filter)
        assert [hit.item.id for hit in hits] == sorted(closest, key=lambda name: -closest[name])[:limit]
        clip_hits = search_clip(collection, unit_vectors(8, 3), np.arange(3) / 2, limit, filter=filter)
        assert len(clip_hits) == min(limit, len(passing))
        assert {hit.item.id for hit in clip_hits} <= passing


def test_every_hit_is_found_though_all_others_are_nearer(collection: Collection) -> None:
    query = unit_vectors(1, 1)
    near = (query + 0.01 * unit_vectors(2, 400)).astype(np.float32)
    for seed in range(8):
        collection.add(new_item(seed, 50, vectors=near[seed * 50 : seed * 50 + 50], metadata={"near": True}))
    far = {collection.add(new_item(100 + seed, 2, metadata={"near": False})).id for seed in range(3)}
    wanted = parse_filter({"must_not": {"key": "metadata.near", "match": {"value": True}}})
    assert {hit.item.id for hit in search_frame(collection, query[0], 3, wanted)} == far
    clip = query.repeat(4, axis=0)
    assert {hit.item.id for hit in search_clip(collection, clip, np.arange(4) / 2, 3, filter=wanted)} == far


def test_columns_can_be_asked(collection: Collection) -> None:
    image = collection.add(new_item(1, 1, path=Path("/made/ü/a b.png"), name="a b.png"))
    film = collection.add(new_item(2, 20))
    upload = collection.add(new_item(3, 1, uri="upload:x", id="mine", path=collection.uploads / "x"))
    assert ids(collection, {"key": "kind", "match": {"value": "video"}}) == {film.id}
    assert ids(collection, {"key": "duration_seconds", "range": {"gte": 10, "lt": 10.5}}) == {film.id}
    assert ids(collection, {"key": "path", "match": {"prefix": "/made/ü/"}}) == {image.id}
    assert ids(collection, {"key": "path", "match": {"value": "/made/2"}}) == {film.id}
    assert ids(collection, {"is_empty": {"key": "path"}}) == {upload.id}
    assert ids(collection, {"key": "path", "match": {"prefix": ""}}) == {image.id, film.id}
    assert ids(collection, {"key": "uri", "match": {"prefix": "file:///"}}) == {image.id, film.id}
    assert ids(collection, {"key": "id", "match": {"any": ["mine", "none"]}}) == {"mine"}
    assert ids(collection, {"key": "created_at", "range": {"gt": film.created_at}}) == {upload.id}
    assert ids(collection, {"key": "created_at", "range": {"lte": film.created_at}}) == {image.id, film.id}


def test_dates_in_metadata_are_moments(collection: Collection) -> None:
    taken = {
        "utc": "2026-05-01T10:00:00Z",
        "same": "2026-05-01T12:00:00+02:00",
        "later": "2026-05-01T10:00:00.250Z",
        "day": "2026-05-02",
        "none": "now",
        "number": 2461161,
    }
    for seed, (name, value) in enumerate(taken.items()):
        collection.add(new_item(seed, 1, id=name, metadata={"taken": value}))
    key = "metadata.taken"
    assert ids(collection, {"key": key, "range": {"lte": "2026-05-01T10:00:00Z"}}) == {"utc", "same"}
    assert ids(collection, {"key": key, "range": {"gt": "2026-05-01T08:00:00-02:00"}}) == {"later", "day"}
    assert ids(collection, {"key": key, "range": {"gte": "2026-05-02", "lt": "2026-05-03"}}) == {"day"}


def test_values_are_never_read_as_sql(collection: Collection) -> None:
    evil = "x'); DROP TABLE media; --"
    collection.add(new_item(1, 1, id="evil", metadata={"a": evil, "%_*": 1, "it's": 2}))
    collection.add(new_item(2, 1, id="good", metadata={"a": "x"}))
    assert ids(collection, {"key": "metadata.a", "match": {"value": evil}}) == {"evil"}
    assert ids(collection, {"key": "metadata.%_*", "match": {"value": 1}}) == {"evil"}
    assert ids(collection, {"key": "metadata.it's", "match": {"value": 2}}) == {"evil"}
    assert ids(collection, {"key": "metadata.a", "match": {"prefix": "%"}}) == set()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([], r"^filter: got a list"),
        ({"most": []}, r"^filter: unknown 'most'"),
        ({"must": 1}, r"^filter\.must: got a number"),
        ({"must": [1]}, r"^filter\.must\[0\]: got a number"),
        ({"must": [{}]}, r"^filter\.must\[0\]: got nothing"),
        ({"must": [{"key": "kind"}]}, r"^filter\.must\[0\]: got 'key'"),
        (
            {"must": [{"key": "place", "match": {"value": 1}}]},
            r"^filter\.must\[0\]\.key: 'place' is not known.*metadata",
        ),
        ({"must": [{"key": "metadata.", "match": {"value": 1}}]}, r"\.key: 'metadata\.'"),
        ({"must": [{"key": 'metadata."', "match": {"value": 1}}]}, r"\.key: names with quotes"),
        ({"must": [{"key": "metadata.a[0].b", "match": {"value": 1}}]}, r"\.key: got 'metadata\.a\[0\]\.b'.*NAME\[\]"),
        ({"must": [{"key": "metadata.[]", "match": {"value": 1}}]}, r"\.key: got 'metadata\.\[\]'"),
        ({"must": [{"key": "metadata.a", "match": 1}]}, r"\.match: expected an object"),
        ({"must": [{"key": "metadata.a", "match": {"value": None}}]}, r"\.match\.value: got null"),
        ({"must": [{"key": "metadata.a", "match": {"value": "\ud800"}}]}, r"\.match\.value: .*surrogates"),
        ({"must": [{"key": "metadata.a", "match": {"value": 10**400}}]}, r"\.match\.value: got a number"),
        ({"must": [{"key": "metadata.a", "match": {"any": "a"}}]}, r"\.match\.any: expected a list"),
        ({"must": [{"key": "kind", "match": {"value": "photo"}}]}, r"\.match\.value: got 'photo', expected 'image'"),
        ({"must": [{"key": "name", "match": {"value": 1}}]}, r"\.match\.value: got a number, expected a text"),
        ({"must": [{"key": "name", "range": {"gt": 1}}]}, r"^filter\.must\[0\]\.range: name is a text"),
        ({"must": [{"key": "width", "match": {"prefix": "1"}}]}, r"\.match\.prefix"),
        ({"must": [{"key": "width", "range": {"gt": True}}]}, r"\.range\.gt: got true or false, expected a number"),
        ({"must": [{"key": "width", "range": {}}]}, r"\.range: expected an object"),
        ({"must": [{"key": "created_at", "range": {"gt": 5}}]}, r"\.range\.gt: got a number, expected a date"),
        ({"must": [{"key": "created_at", "match": {"value": "2026-01-01"}}]}, r"\.match: created_at is a moment"),
        ({"must": [{"key": "metadata.a", "range": {"gt": 5, "lt": "2026-01-01"}}]}, r"\.range: one bound"),
        ({"should": [{}, {"must_not": [{"key": "metadata.a", "range": {"gt": "x"}}]}]}, r"^filter\.should\[0\]"),
        ({"should": {"must_not": [{"key": "metadata.a", "range": {"gt": "x"}}]}}, r"^filter\.should\.must_not\[0\]\."),
        ({"must": [{"is_empty": "a"}]}, r"\.is_empty: expected"),
    ],
)
def test_a_wrong_filter_is_told_with_its_place(raw: Any, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        parse_filter(raw)


def test_filters_have_limits() -> None:
    deep: dict[str, Any] = {"must": []}
    for _ in range(MAX_DEPTH):
        deep = {"must": [deep]}
    with pytest.raises(InvalidRequest, match="deeper than"):
        parse_filter(deep)
    parse_filter(deep["must"][0])
    one = {"key": "kind", "match": {"value": "image"}}
    with pytest.raises(InvalidRequest, match=f"at most {MAX_CONDITIONS}"):
        parse_filter({"must": [one] * (MAX_CONDITIONS + 1)})
    with pytest.raises(InvalidRequest, match=f"at most {MAX_NAMES}"):
        parse_filter({"must": {"key": "metadata" + ".a" * (MAX_NAMES + 1), "match": {"value": 3}}})
    for text in ("{", "[" * 100_000, "NaN"):
        with pytest.raises(InvalidRequest, match="filter: "):
            read_filter(text)


def test_the_largest_filter_runs(collection: Collection) -> None:
    collection.add(new_item(1, 1, metadata={"a": 3}))
    one = {"key": "metadata.a", "match": {"value": 3}}
    assert len(ids(collection, *[one] * MAX_CONDITIONS)) == 1
    assert len(ids(collection, {"key": "metadata.a", "match": {"any": list(range(10_000))}})) == 1
    deep = {"key": "metadata" + ".a" * MAX_NAMES, "match": {"value": 3}}
    assert ids(collection, *[deep] * MAX_CONDITIONS) == set()
