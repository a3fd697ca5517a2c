"""vicmae.index.search.moment: the source of a frame and its very second, among stored frames and in the film itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_media import frame_of, write_image, write_video
from PIL import Image

from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import Hit, Query, SearchRequest, search, tools_of

ENGINE = FakeEngine()
TOOLS = tools_of(ENGINE)
FILM, LARGE, SMALL = 5, (480, 360), (160, 120)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    write_video(tmp_path / "film.mp4", FILM, seconds=10, size=LARGE)
    write_video(tmp_path / "copy.webm", FILM, seconds=10, size=SMALL, codec="libvpx-vp9")
    write_video(tmp_path / "other.mp4", 77, seconds=4, size=LARGE)
    write_image(tmp_path / "photo.png", 31, size=LARGE)
    with Library(tmp_path / "data") as library:
        made = library.create("films", ENGINE)
        for path in sorted(tmp_path.glob("*.*")):
            assert ingest_file(made, ENGINE, path, IngestOptions(4.0)).state == "added"
        yield made


def found(collection: Collection, shown: Image.Image, folder: Path) -> list[Hit]:
    shown.save(folder / "query.png")
    return search(collection, SearchRequest(Query(source=folder / "query.png"), 10), TOOLS).hits


@pytest.mark.parametrize("second", [0.0, 1.45, 4.3, 7.95, 9.9])
def test_the_source_and_the_very_frame_come_first(collection: Collection, tmp_path: Path, second: float) -> None:
    best, *_ = found(collection, frame_of(FILM, second, size=LARGE), tmp_path)
    assert best.item.name == "film.mp4" and best.verified
    assert best.start_seconds == pytest.approx(second, abs=0.051)  # one frame at 20 a second
    assert best.start_seconds < best.end_seconds <= 10.05


@pytest.mark.parametrize(
    "edit", [lambda shown: shown.rotate(90, expand=True), lambda shown: shown.crop((60, 40, 400, 320))]
)
def test_so_does_a_frame_that_was_edited(collection: Collection, tmp_path: Path, edit) -> None:  # type: ignore[no-untyped-def]
    """Of a part, where the ground slides as here, to a few frames: the stored frame lies a little elsewhere."""
    best, *_ = found(collection, edit(frame_of(FILM, 4.3, size=LARGE)), tmp_path)
    assert best.item.name in ("film.mp4", "copy.webm") and best.start_seconds == pytest.approx(4.3, abs=0.151)


def test_of_a_film_that_is_gone_the_stored_frame_is_told(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").unlink()
    (tmp_path / "other.mp4").write_bytes(b"no longer a film")
    hits = {hit.item.name: hit for hit in found(collection, frame_of(FILM, 4.3, size=LARGE), tmp_path)}
    for name in ("film.mp4", "copy.webm"):
        assert hits[name].verified and hits[name].start_seconds == pytest.approx(4.3, abs=0.31)
    assert set(hits) == {"film.mp4", "copy.webm", "other.mp4", "photo.png"}
