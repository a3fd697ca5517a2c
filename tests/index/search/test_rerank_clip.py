"""vicmae.index.search.rerank, of clips: what is not the same footage is no longer believed, and what is comes first."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from made_decoders import CountingDecoder
from made_media import write_video
from made_queries import sure

from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.matching import pictures_of
from vicmae.index.search import Hit, Query, SearchRequest, Tools, search, tools_of
from vicmae.index.search.rerank import MAX_STRETCHES, rerank_clip
from vicmae.media.limits import MediaLimits

ENGINE = FakeEngine()
TOOLS = tools_of(ENGINE)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    write_video(tmp_path / "film.mp4", 5, seconds=12)
    write_video(tmp_path / "copy.webm", 5, seconds=12, codec="libvpx-vp9", size=(80, 60))
    write_video(tmp_path / "other.mp4", 77, seconds=8)
    with Library(tmp_path / "data") as library:
        made = library.create("films", ENGINE)
        for path in sorted(tmp_path.glob("*.*")):
            assert ingest_file(made, ENGINE, path).state == "added"
        yield made


def found(collection: Collection, clip: Path, start: float, end: float) -> list[Hit]:
    query = Query(source=clip, start_seconds=start, end_seconds=end)
    return search(collection, SearchRequest(query, 5, rerank=False), TOOLS).hits


def reranked(hits: list[Hit], clip: Path, tools: Tools = TOOLS) -> list[Hit]:
    return rerank_clip(hits, pictures_of(clip, MediaLimits(), tools.decoder), tools)


def test_footage_that_is_there_is_surer_than_before(collection: Collection, tmp_path: Path) -> None:
    before = found(collection, tmp_path / "film.mp4", 3, 7)
    after = reranked(before, tmp_path / "film.mp4")
    assert {hit.item.name for hit in after[:2]} == {"film.mp4", "copy.webm"}
    assert min(sure(hit) for hit in after[:2]) > 0.9
    assert [sure(hit) for hit in after[:2]] >= [sure(hit) for hit in before[:2]]
    assert sure(after[2]) < 0.1
    assert after[0].start_seconds == pytest.approx(3, abs=0.5) and after[0].end_seconds == pytest.approx(7, abs=0.5)


def test_what_only_looks_alike_goes_behind_what_is_the_same(collection: Collection, tmp_path: Path) -> None:
    """Vectors that were wrong: the other film's stretch had the best score and the most confidence."""
    hits = {hit.item.name: hit for hit in found(collection, tmp_path / "film.mp4", 3, 7)}
    right, wrong = hits["film.mp4"], hits["other.mp4"]
    stretch = replace(right.segments[0], score=1.0, confidence=0.6)
    fooled = replace(wrong, segments=[stretch], score=1.0, confidence=0.6)
    after = reranked([fooled, right], tmp_path / "film.mp4")
    assert [hit.item.name for hit in after] == ["film.mp4", "other.mp4"]
    assert sure(after[0]) > 0.9 and sure(after[1]) < 0.5


def test_a_mirrored_copy_is_called_so(collection: Collection, tmp_path: Path) -> None:
    """The shipped model gives a picture and its mirror image one vector: only pixels know."""
    hits = found(collection, tmp_path / "film.mp4", 3, 7)[:1]
    wrongly = [replace(hit, segments=[replace(s, mirrored=True) for s in hit.segments]) for hit in hits]
    assert not reranked(wrongly, tmp_path / "film.mp4")[0].segments[0].mirrored


def test_files_that_are_gone_stay_as_they_were_found(collection: Collection, tmp_path: Path) -> None:
    before = found(collection, tmp_path / "copy.webm", 3, 7)
    for name in ("film.mp4", "other.mp4"):
        (tmp_path / name).unlink()
    after = {hit.item.name: hit for hit in reranked(before, tmp_path / "copy.webm")}
    for hit in before:
        if hit.item.name != "copy.webm":
            assert sure(after[hit.item.name]) == sure(hit)


def test_only_a_few_stretches_are_looked_at(collection: Collection, tmp_path: Path) -> None:
    (hit,) = [hit for hit in found(collection, tmp_path / "film.mp4", 3, 7) if hit.item.name == "film.mp4"]
    counting = CountingDecoder()
    many = [replace(hit, confidence=0.5) for _ in range(3 * MAX_STRETCHES)]
    assert len(reranked(many, tmp_path / "film.mp4", replace(TOOLS, decoder=counting))) == len(many)
    of_items = 3 * MAX_STRETCHES
    assert 0 < counting.decoded <= of_items + 2 * 3, (
        "the clip's moments are decoded once, or once by each of two threads"
    )


def test_no_hits_stay_none(tmp_path: Path) -> None:
    assert reranked([], tmp_path / "nothing.mp4") == []
