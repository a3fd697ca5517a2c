"""vicmae.index.search.clips: what is not the same footage is no longer believed, and what is comes first."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import av
import numpy as np
import pytest
from made_decoders import CountingDecoder
from made_media import scene_at, write_video
from made_queries import sure

from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import EmbeddedQuery, Hit, Query, SearchRequest, Tools, embed_query, search, tools_of
from vicmae.index.search.clips import MAX_STRETCHES, PLACES, verified_clips

ENGINE = FakeEngine()
TOOLS = tools_of(ENGINE)
SIZE = (320, 240)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    write_video(tmp_path / "film.mp4", 5, seconds=12, size=SIZE)
    write_video(tmp_path / "copy.webm", 5, seconds=12, codec="libvpx-vp9", size=(160, 120))
    write_video(tmp_path / "other.mp4", 77, seconds=8, size=SIZE)
    with Library(tmp_path / "data") as library:
        made = library.create("films", ENGINE)
        for path in sorted(tmp_path.glob("*.*")):
            assert ingest_file(made, ENGINE, path).state == "added"
        yield made


def asked(collection: Collection, clip: Path, start: float, end: float) -> tuple[EmbeddedQuery, list[Hit]]:
    """The query, and what vectors alone find."""
    query = embed_query(collection, Query(source=clip, start_seconds=start, end_seconds=end), TOOLS)
    return query, search(collection, SearchRequest(query, 5, verify=False), TOOLS).hits


def verified(collection: Collection, query: EmbeddedQuery, hits: list[Hit], tools: Tools = TOOLS) -> list[Hit]:
    return verified_clips(collection, hits, query, tools)


def test_footage_that_is_there_is_verified(collection: Collection, tmp_path: Path) -> None:
    after = verified(collection, *asked(collection, tmp_path / "film.mp4", 3, 7))
    assert {hit.item.name for hit in after[:2]} == {"film.mp4", "copy.webm"}
    assert all(hit.verified and sure(hit) > 0.9 for hit in after[:2])
    assert sure(after[2]) < 0.1 and not after[2].verified
    assert after[0].start_seconds == pytest.approx(3, abs=0.5) and after[0].end_seconds == pytest.approx(7, abs=0.5)


def test_what_only_looks_alike_goes_behind_what_is_the_same(collection: Collection, tmp_path: Path) -> None:
    """Vectors that were wrong: the other film's stretch had the best score and the most confidence."""
    query, found = asked(collection, tmp_path / "film.mp4", 3, 7)
    hits = {hit.item.name: hit for hit in found}
    right, wrong = hits["film.mp4"], hits["other.mp4"]
    stretch = replace(right.segments[0], score=1.0, confidence=0.6)
    fooled = replace(wrong, segments=[stretch], score=1.0, confidence=0.6)
    after = verified(collection, query, [fooled, right])
    assert [hit.item.name for hit in after] == ["film.mp4", "other.mp4"]
    assert sure(after[0]) > 0.9 and sure(after[1]) < 0.5 and after[1].verified is False


def test_another_moment_of_one_scene_is_not_believed(collection: Collection, tmp_path: Path) -> None:
    """The same ground, and a disc that is elsewhere at each moment."""
    ground = scene_at(9, 0.0, SIZE)

    def scene(second: float, phase: float) -> np.ndarray:
        frame = ground.copy()
        x = int(150 + 140 * np.sin(1.3 * second + phase))
        y = int(110 + 100 * np.cos(0.9 * second + 2 * phase))
        frame[max(0, y - 25) : y + 25, max(0, x - 25) : x + 25] = (250, 240, 10)
        return frame

    for name, phase in (("take1.mp4", 0.0), ("take2.mp4", 2.0)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=10, options={"crf": "18"})
            (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
            for i in range(80):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(i / 10, phase), format="rgb24")))
            container.mux(stream.encode(None))
    ingest_file(collection, ENGINE, tmp_path / "take1.mp4")
    for clip, is_same in (("take1.mp4", True), ("take2.mp4", False)):
        query, hits = asked(collection, tmp_path / clip, 1, 7)
        take = next(hit for hit in verified(collection, query, hits) if hit.item.name == "take1.mp4")
        assert (sure(take) > 0.5) == is_same


def test_a_stretch_is_trimmed_to_where_it_holds(collection: Collection, tmp_path: Path) -> None:
    """Vectors said that all of the clip is there; only its second half is."""
    joined = tmp_path / "joined.mp4"
    with av.open(str(joined), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "18"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for i in range(80):
            shown = scene_at(300, i / 10, SIZE) if i < 40 else scene_at(5, i / 10, SIZE)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode(None))
    query, hits = asked(collection, joined, 0, 8)
    hit = next(hit for hit in hits if hit.item.name == "film.mp4")
    whole = replace(hit.segments[0], query_start_seconds=0.0, query_end_seconds=8.0, start_seconds=0.0, end_seconds=8.0)
    (after,) = verified(collection, query, [replace(hit, segments=[whole])])
    (segment,) = after.segments
    assert after.verified and segment.query_start_seconds == pytest.approx(4, abs=0.6)
    assert segment.query_end_seconds == pytest.approx(8, abs=0.01)
    assert segment.start_seconds == pytest.approx(segment.query_start_seconds)


def test_a_mirrored_copy_is_called_so(collection: Collection, tmp_path: Path) -> None:
    """The shipped model gives a picture and its mirror image one vector: only pictures know."""
    query, hits = asked(collection, tmp_path / "film.mp4", 3, 7)
    wrongly = [replace(hit, segments=[replace(s, mirrored=True) for s in hit.segments]) for hit in hits[:1]]
    assert not verified(collection, query, wrongly)[0].segments[0].mirrored


def test_what_cannot_be_read_stays_as_it_was_found(collection: Collection, tmp_path: Path) -> None:
    query, before = asked(collection, tmp_path / "copy.webm", 3, 7)
    for name in ("film.mp4", "other.mp4"):
        (tmp_path / name).unlink()
    rmtree(collection.folder / "pictures")
    after = {hit.item.name: hit for hit in verified(collection, query, before)}
    for hit in before:
        if hit.item.name != "copy.webm":
            assert after[hit.item.name].confidence == hit.confidence and after[hit.item.name].verified is None


def test_only_a_few_stretches_are_looked_at(collection: Collection, tmp_path: Path) -> None:
    query, hits = asked(collection, tmp_path / "film.mp4", 3, 7)
    (hit,) = [hit for hit in hits if hit.item.name == "film.mp4"]
    rmtree(collection.folder / "pictures")
    counting = CountingDecoder()
    many = [replace(hit, confidence=0.5) for _ in range(3 * MAX_STRETCHES)]
    assert len(verified(collection, query, many, replace(TOOLS, decoder=counting))) == len(many)
    assert 0 < counting.decoded <= MAX_STRETCHES * (2 + 3 * len(PLACES))


def test_nothing_is_looked_at_once_the_time_is_over(collection: Collection, tmp_path: Path) -> None:
    query, hits = asked(collection, tmp_path / "film.mp4", 3, 7)
    after = verified(collection, query, hits, replace(TOOLS, verify_budget_seconds=-1.0))
    assert all(hit.verified is None for hit in after)


def test_the_very_file_is_certain_and_its_copies_are_looked_at(collection: Collection, tmp_path: Path) -> None:
    best, copy, *_ = search(collection, SearchRequest(Query(source=tmp_path / "film.mp4"), 5), TOOLS).hits
    assert best.item.name == "film.mp4" and best.confidence == 1 and best.verified
    assert copy.item.name == "copy.webm" and copy.verified and 0.9 < sure(copy) < 1


def test_no_hits_stay_none(collection: Collection, tmp_path: Path) -> None:
    query, _ = asked(collection, tmp_path / "film.mp4", 3, 7)
    assert verified(collection, query, []) == []
