"""vicmae.index.cache: bounded in bytes; long videos stay in it only as long as they are what they were."""

import secrets
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import ENGINE, new_item

from vicmae.index import frame_reader
from vicmae.index.cache import ByteCache
from vicmae.index.library import Library


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 60)), max_size=60))
def test_bytes_are_bounded_and_the_latest_stays(puts: list[tuple[str, int]]) -> None:
    cache, last = ByteCache[str, bytes](30, len), dict[str, bytes]()
    for name, size in puts:
        last[name] = secrets.token_bytes(size)
        cache.put(name, last[name])
        held = {name: found for name in "abcdef" if (found := cache.get(name)) is not None}
        assert sum(map(len, held.values())) <= 30
        assert (name in held) == (size <= 30)
        for other, found in held.items():
            assert found == last[other], "never another's, nor what was there before"


def test_what_is_asked_for_outlives_what_is_not() -> None:
    cache = ByteCache[str, bytes](3, len)
    for name in "abc":
        cache.put(name, b"x")
    assert cache.get("a") is not None
    cache.put("d", b"x")
    assert cache.get("a") is not None and cache.get("b") is None


@pytest.mark.parametrize("fps", [2.0, 1.0])
def test_a_film_read_again_is_the_same_until_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fps: float
) -> None:
    monkeypatch.setattr(frame_reader, "LONG_FRAMES", 20)
    with Library(tmp_path) as library, Library(tmp_path) as another:
        collection = library.create("c", ENGINE)
        item = collection.add(new_item(1, 40, fps))
        short = collection.add(new_item(2, 5))
        first, again = (collection.moments_of_many([item.id, short.id, "none"]) for _ in range(2))
        assert set(first) == set(again) == {item.id, short.id}
        for before, after in zip(first.values(), again.values(), strict=True):
            for field in ("vectors", "start_seconds", "end_seconds", "informative"):
                assert np.array_equal(getattr(before, field), getattr(after, field))
        changed = new_item(1, 40, fps, vectors=new_item(9, 40).vectors)
        another.open("c").add(changed)
        assert collection.moments_of(item.id).vectors == pytest.approx(changed.vectors, abs=1e-3)
        another.open("c").delete(item.id)
        assert collection.moments_of_many([item.id]) == {}


def test_another_collection_of_the_same_name_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_reader, "LONG_FRAMES", 20)
    with Library(tmp_path) as library:
        for seed in (1, 2):
            collection = library.create("c", ENGINE)
            item = collection.add(new_item(1, 40, vectors=new_item(seed, 40).vectors))
            for _ in range(2):
                found = collection.moments_of(item.id).vectors
                assert found == pytest.approx(new_item(seed, 40).vectors, abs=1e-3)
            library.drop("c")
