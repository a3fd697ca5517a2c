"""vicmae.index.search.rerank, of frames: the source comes before its copies, at the second of the very frame."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_media import frame_of, picture, write_image, write_video
from made_queries import search_frame, sure
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import EmbeddedQuery, Hit, Query, embed_query, tools_of
from vicmae.index.search.rerank import rerank, rerank_frame
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import read_frames

ENGINE = FakeEngine()
TOOLS = tools_of(ENGINE)
FILM, LARGE, SMALL = 5, (320, 240), (80, 60)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    write_video(tmp_path / "film.mp4", FILM, seconds=10, size=LARGE)
    write_video(tmp_path / "copy.webm", FILM, seconds=10, size=SMALL, codec="libvpx-vp9")
    write_video(tmp_path / "other.mp4", 77, seconds=4, size=LARGE)
    write_image(tmp_path / "photo.png", 31, size=LARGE)
    write_image(tmp_path / "photo-small.jpg", 31, size=SMALL, quality=20)
    with Library(tmp_path / "data") as library:
        made = library.create("films", ENGINE)
        for path in sorted(tmp_path.glob("*.*")):
            assert ingest_file(made, ENGINE, path, IngestOptions(4.0)).state == "added"
        yield made


def found(collection: Collection, query_path: Path) -> tuple[list[Hit], list[Hit]]:
    """-> hits before and after reranking."""
    query = embed_query(collection, Query(source=query_path), TOOLS)
    before = search_frame(collection, query.vectors[0], 10)
    return before, rerank(collection, before, query, TOOLS)


def picture_of(collection: Collection, path: Path) -> NDArray[np.uint8]:
    picture = embed_query(collection, Query(source=path), TOOLS).picture
    assert picture is not None
    return picture


@pytest.mark.parametrize("second", [0.0, 1.45, 4.3, 7.95, 9.9])
def test_the_source_and_the_very_frame_come_first(collection: Collection, tmp_path: Path, second: float) -> None:
    frame_of(FILM, second, size=LARGE).save(tmp_path / "query.png")
    before, after = found(collection, tmp_path / "query.png")
    assert after[0].item.name == "film.mp4"
    assert after[0].start_seconds == pytest.approx(second, abs=0.051)  # one frame at 20 a second
    assert after[0].start_seconds < after[0].end_seconds <= 10.05
    assert {hit.item.id for hit in before} == {hit.item.id for hit in after} and len(before) == len(after)


def test_the_larger_original_of_a_photo_comes_before_its_thumbnail(collection: Collection, tmp_path: Path) -> None:
    picture(31, LARGE).save(tmp_path / "query.png")
    _, after = found(collection, tmp_path / "query.png")
    assert [hit.item.name for hit in after[:2]] == ["photo.png", "photo-small.jpg"]
    assert (after[0].start_seconds, after[0].end_seconds) == (0, 0)


def test_hits_that_do_not_tie_keep_their_place_and_values(collection: Collection, tmp_path: Path) -> None:
    frame_of(FILM, 5.0, size=LARGE).save(tmp_path / "query.png")
    before, after = found(collection, tmp_path / "query.png")
    tied = [hit for hit in before if hit.score >= before[0].score - 0.02]
    assert after[len(tied) :] == before[len(tied) :]


def test_another_picture_is_left_as_it_was_found(collection: Collection, tmp_path: Path) -> None:
    picture(400).save(tmp_path / "query.png")
    before, after = found(collection, tmp_path / "query.png")
    assert before[0].score < 0.9 and after == before


def test_a_file_that_is_gone_or_broken_comes_behind_and_harms_nobody(collection: Collection, tmp_path: Path) -> None:
    frame_of(FILM, 4.3, size=LARGE).save(tmp_path / "query.png")
    (tmp_path / "film.mp4").unlink()
    (tmp_path / "other.mp4").write_bytes(b"no longer a film")
    before, after = found(collection, tmp_path / "query.png")
    assert sorted(hit.item.name for hit in after) == sorted(hit.item.name for hit in before)
    assert after[0].item.name == "copy.webm"
    assert after[0].start_seconds == pytest.approx(4.3, abs=0.051)


def test_a_mirrored_frame_is_found_at_its_second(collection: Collection, tmp_path: Path) -> None:
    ImageOps.mirror(frame_of(FILM, 4.3, size=LARGE)).save(tmp_path / "query.png")
    upright = ENGINE.embed(to_pixels(next(read_frames(tmp_path / "film.mp4", 20, start_seconds=4.3)), ENGINE.spec))[0]
    before = search_frame(collection, upright, 10)  # as a network that does not mind mirroring would find it
    after = rerank_frame(collection, before, upright, picture_of(collection, tmp_path / "query.png"), TOOLS)
    assert after[0].item.name == "film.mp4" and after[0].start_seconds == pytest.approx(4.3, abs=0.051)


def test_pixels_that_lie_elsewhere_move_nothing_and_make_it_unsure(collection: Collection, tmp_path: Path) -> None:
    turned = frame_of(FILM, 4.3, size=LARGE).transpose(Image.Transpose.ROTATE_90)
    upright = ENGINE.embed(to_pixels(next(read_frames(tmp_path / "film.mp4", 20, start_seconds=4.3)), ENGINE.spec))[0]
    turned.save(tmp_path / "query.png")
    before = search_frame(collection, upright, 10)
    after = rerank_frame(collection, before, upright, picture_of(collection, tmp_path / "query.png"), TOOLS)
    assert [(hit.item.id, hit.start_seconds) for hit in after] == [(hit.item.id, hit.start_seconds) for hit in before]
    assert sure(after[0]) < 0.3 < sure(before[0])


def test_nothing_found_stays_nothing(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        empty = library.create("empty", ENGINE)
        query = EmbeddedQuery("frame", np.ones((1, ENGINE.spec.dim), np.float32), np.zeros(1))
        for picture in (None, np.zeros((160, 160, 3), np.uint8)):
            assert rerank(empty, [], replace(query, picture=picture), TOOLS) == []
