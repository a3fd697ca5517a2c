"""vicmae.index.search.search: the right items, in the right order, at the right seconds."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_decoders import CountingDecoder
from made_items import DIM, ENGINE, new_item, unit_vectors
from made_media import frame_of, picture, scene_at, write_image, write_video
from made_queries import search_clip, search_frame, sure
from numpy.typing import NDArray

from vicmae.errors import InvalidRequest
from vicmae.index.catalog.packing import unit_length
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import (
    Hit,
    Query,
    SearchRequest,
    SearchResult,
    embed_query,
    search,
    tools_of,
)
from vicmae.index.vectors.plan import IndexOptions

FILM_SECONDS = 60.0
NAMES = {f"film{seed}.mp4": seed for seed in range(3)}


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collection, Path]]:
    """A collection of three made films of a minute and a few pictures, and the folder they lie in."""
    folder = tmp_path_factory.mktemp("films")
    with Library(folder / "data") as library:
        collection = library.create("c", ENGINE)
        for name, seed in NAMES.items():
            ingest_file(collection, ENGINE, write_video(folder / name, seed, FILM_SECONDS, fps=10))
        for seed in range(90, 94):
            ingest_file(collection, ENGINE, write_image(folder / f"{seed}.png", seed))
        yield collection, folder


def asked(collection: Collection, path: Path, **more: Any) -> SearchResult:
    """By the vectors of a file."""
    return search(collection, SearchRequest(Query(source=path, **more), 3, verify=False), tools_of(ENGINE))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 15), st.integers(0, 1000))
def test_frame_search_equals_brute_force(
    tmp_path_factory: pytest.TempPathFactory, frame_counts: list[int], limit: int, seed: int
) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        best = []
        query = unit_vectors(5000 + seed, 1)[0]
        for place, frames in enumerate(frame_counts):
            item = collection.add(new_item(place, frames, vectors=unit_vectors(seed + place, frames)))
            moments = collection.moments_of(item.id)
            cosines = moments.vectors @ query
            best.append((float(cosines.max()), float(moments.start_seconds[cosines.argmax()]), item.id))
        hits = search_frame(collection, query, limit)
        best.sort(reverse=True)
        assert len(hits) == min(limit, len(frame_counts))
        assert [hit.item.id for hit in hits] == [item_id for _, _, item_id in best[:limit]]
        for hit, (score, start, _) in zip(hits, best, strict=False):
            assert hit.score == pytest.approx(score, abs=1e-5)
            assert hit.start_seconds == start


def test_one_item_whose_frames_are_all_nearest_does_not_hide_the_others(collection: Collection) -> None:
    query = unit_vectors(1, 1)
    crowd = query + 0.01 * unit_vectors(2, 600)
    collection.add(new_item(0, 600, vectors=crowd.astype(np.float32)))
    for seed in range(1, 6):
        collection.add(new_item(seed, frames=2))
    hits = search_frame(collection, query[0], 6)
    assert len({hit.item.id for hit in hits}) == 6
    assert len(search_clip(collection, query.repeat(3, axis=0), np.arange(3) / 2, 6)) == 6


@pytest.mark.parametrize("kind", ["exact", "ivf"])
@pytest.mark.parametrize("frames", [1, 12])
def test_a_few_long_films_do_not_hide_the_others(kind: Literal["exact", "ivf"], frames: int, tmp_path: Path) -> None:
    """Two films hold all of the nearest frames: the rest is found all the same, and in the right order."""
    place = unit_vectors(0, 1)
    chance = np.random.default_rng(3)

    def about(seed: int, count: int, distance: float) -> NDArray[np.float32]:
        return unit_length(place + distance * unit_vectors(seed, count))

    with Library(tmp_path, IndexOptions(kind=kind, min_recall=0.9)) as library:
        collection = library.create("c", ENGINE)
        for seed in (1, 2):
            collection.add(new_item(seed, 900, vectors=about(seed, 900, 0.2)))
        for seed in chance.permutation(np.arange(3, 15)).tolist():
            collection.add(new_item(seed, 40, vectors=about(seed, 40, 0.4 + 0.1 * seed)))
        assert collection.index.seal(everything=True)
        collection.add(new_item(15, 40, vectors=about(15, 40, 5.0)))
        collection.index.refresh()
        query = about(1, 900, 0.2)[100 : 100 + frames]
        if frames == 1:
            hits = search_frame(collection, query[0], 10)
        else:
            hits = search_clip(collection, query, np.arange(frames) / 2, 10)
        assert hits[0].item.uri == "file:///made/1" and len(hits) == 10
        numbers = {int(hit.item.uri.rpartition("/")[2]) for hit in hits}
        assert {1, 2, 3, 4} <= numbers and 15 not in numbers, "the farthest ones are those left out"


def test_other_strong_moments_are_told_best_first(collection: Collection) -> None:
    query = unit_vectors(1, 1)[0]
    vectors = unit_vectors(2, 40)
    vectors[10:13] = query
    vectors[30] = query + 0.2 * vectors[30]
    item = collection.add(new_item(0, 40, vectors=vectors))
    (hit,) = search_frame(collection, query, 5)
    assert hit.item == item
    assert [(s.start_seconds, s.end_seconds) for s in hit.segments] == [(5.0, 6.5), (15.0, 15.5)]
    assert hit.start_seconds in (5.0, 5.5, 6.0)


def test_a_frame_finds_one_moment_a_shot(collection: Collection) -> None:
    """The same scene in three shots, each a little different from frame to frame; other shots between two of them."""
    query, others = unit_vectors(1, 1)[0], unit_vectors(2, 3)
    shots = [(query, 6), (others[0], 8), (query + 0.1 * others[1], 5), (others[2], 30)]
    vectors = np.concatenate([np.repeat(shot[None], length, axis=0) for shot, length in shots])
    vectors[2] = query + 0.4 * unit_vectors(3, 1)[0]  # a frame of the first shot that is not among the strong ones
    collection.add(new_item(0, len(vectors), vectors=vectors + 0.02 * unit_vectors(4, len(vectors))))
    (hit,) = search_frame(collection, query, 5)
    assert [(s.start_seconds, s.end_seconds) for s in hit.segments] == [(0, 3), (7, 9.5)]


def test_a_shared_intro_makes_no_false_hit(collection: Collection) -> None:
    """Ten videos begin with the same eight seconds; a clip of one of them, intro included, is of that one."""
    intro = unit_vectors(500, 16)
    own = {seed: unit_vectors(seed, 60) for seed in range(1, 11)}
    for seed, vectors in own.items():
        collection.add(new_item(seed, 76, vectors=np.concatenate([intro, vectors])))
    clip = np.concatenate([intro, own[4][:24]])
    best, *others = search_clip(collection, clip, np.arange(40) / 2, 10)
    assert best.item.name == "4.mp4" and sure(best.segments[0]) > 0.8
    assert (best.segments[0].query_start_seconds, best.segments[0].query_end_seconds) == (0, 20)
    assert max(sure(segment) for hit in others for segment in hit.segments) < 0.3


def test_copies_and_the_intro_itself_keep_their_confidence(collection: Collection) -> None:
    """What many items hold as a whole is no less sure for that."""
    film = unit_vectors(500, 40)
    for seed in range(1, 7):
        collection.add(new_item(seed, 40, vectors=film))
    hits = search_clip(collection, film[5:30], np.arange(25) / 2, 10)
    assert len(hits) == 6 and min(sure(hit.segments[0]) for hit in hits) > 0.8


def test_an_empty_collection_has_no_hits(collection: Collection) -> None:
    assert search_frame(collection, unit_vectors(0, 1)[0], 3) == []
    assert search_clip(collection, unit_vectors(0, 2), np.array([0, 0.5]), 3) == []


def test_what_was_deleted_is_not_found(collection: Collection) -> None:
    item = collection.add(new_item(1))
    assert search_frame(collection, new_item(1).vectors[0], 3)
    collection.delete(item.id)
    assert search_frame(collection, new_item(1).vectors[0], 3) == []


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(DIM),
        np.full(DIM, np.nan),
        np.full(DIM, np.inf),
        np.ones(DIM - 1),
        np.ones(0),
        np.ones((DIM, 1)),
    ],
)
def test_vectors_that_make_no_sense_are_refused(collection: Collection, vector: np.ndarray) -> None:
    collection.add(new_item(1))
    with pytest.raises(InvalidRequest):
        search_frame(collection, vector.astype(np.float32), 3)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(collection: Collection, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        search_frame(collection, unit_vectors(0, 1)[0], limit)


@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, 110), length=st.integers(4, 10), which=st.integers(0, 3))
def test_a_cut_of_made_vectors_is_found(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, which: int
) -> None:
    with Library(tmp_path_factory.mktemp("d")) as library:
        collection = library.create("c", ENGINE)
        items = [collection.add(new_item(seed, frames=120)) for seed in range(4)]
        cut = new_item(which, frames=120).vectors[start : start + length]
        length = len(cut)
        noisy = cut + 0.3 * unit_vectors(77, length)
        best = search_clip(collection, noisy.astype(np.float32), np.arange(length) / 2, 3)[0]
        assert best.item == items[which]
        assert (best.start_seconds, best.end_seconds) == (start / 2, (start + length) / 2)


@pytest.mark.parametrize(("name", "start"), [("film0.mp4", 12.3), ("film1.mp4", 0.0), ("film2.mp4", 54.9)])
def test_five_seconds_of_a_film_are_found_within_a_second(
    films: tuple[Collection, Path], name: str, start: float
) -> None:
    collection, folder = films
    hits = asked(collection, folder / name, start_seconds=start, end_seconds=start + 5).hits
    assert hits[0].item.name == name
    assert hits[0].start_seconds == pytest.approx(start, abs=1)
    assert hits[0].end_seconds == pytest.approx(start + 5, abs=1)
    assert hits[0].score > 2 * hits[1].score


def test_a_clip_encoded_again_is_found(films: tuple[Collection, Path], tmp_path: Path) -> None:
    """Seconds 0 to 6 of film1, smaller, at another rate, in another codec."""
    collection, _ = films
    clip = write_video(tmp_path / "again.mkv", NAMES["film1.mp4"], 6.0, fps=13, size=(96, 72), codec="mpeg4")
    best = asked(collection, clip).hits[0]
    assert best.item.name == "film1.mp4"
    assert best.start_seconds == pytest.approx(0, abs=1) and best.end_seconds == pytest.approx(6, abs=1)


def test_a_film_shown_within_another_one_is_found(films: tuple[Collection, Path], tmp_path: Path) -> None:
    """Seconds 20 to 30 of film2, small in the corner of a film that is not in the collection."""
    collection, _ = films
    clip = tmp_path / "within.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "18"})
        (stream.width, stream.height), stream.pix_fmt = (320, 240), "yuv420p"
        for i in range(100):
            picture = scene_at(77, i / 10, (320, 240)).copy()
            picture[40:160, 120:280] = scene_at(NAMES["film2.mp4"], 20 + i / 10, (160, 120))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    decoder = CountingDecoder()
    query = embed_query(collection, Query(source=clip), replace(tools_of(ENGINE), decoder=decoder))
    assert query.inset is not None and query.inset.shape == query.vectors.shape
    assert decoder.decoded == 1
    best = search_clip(collection, query.vectors, query.seconds, 3, informative=query.informative, inset=query.inset)[0]
    assert best.item.name == "film2.mp4" and sure(best.segments[0]) > 0.5
    assert best.start_seconds == pytest.approx(20, abs=1) and best.end_seconds == pytest.approx(30, abs=1)
    without = search_clip(collection, query.vectors, query.seconds, 3, informative=query.informative)[0]
    assert sure(without.segments[0]) < 0.3


@pytest.mark.parametrize("second", [0.0, 7.25, 33.5, 59.0])
def test_a_frame_of_a_film_is_found_within_a_second(
    films: tuple[Collection, Path], tmp_path: Path, second: float
) -> None:
    collection, _ = films
    frame_of(NAMES["film2.mp4"], second, fps=10).save(tmp_path / "frame.png")
    best = asked(collection, tmp_path / "frame.png").hits[0]
    assert best.item.name == "film2.mp4"
    assert best.start_seconds - 0.5 <= second <= best.end_seconds + 0.5


def test_a_picture_finds_itself(films: tuple[Collection, Path], tmp_path: Path) -> None:
    collection, _ = films
    picture(91).save(tmp_path / "again.jpg")
    best = asked(collection, tmp_path / "again.jpg").hits[0]
    assert best.item.name == "91.png" and best.score > 0.99
    assert (best.start_seconds, best.end_seconds) == (0, 0)


def test_many_threads_search_while_one_writes(collection: Collection) -> None:
    for seed in range(5):
        collection.add(new_item(seed))

    def work(seed: int) -> list[Hit]:
        if seed % 4 == 0:
            collection.add(new_item(100 + seed))
        return search_frame(collection, unit_vectors(seed, 1)[0], 3)

    with ThreadPoolExecutor(6) as pool:
        assert all(len(hits) == 3 for hits in pool.map(work, range(60)))
