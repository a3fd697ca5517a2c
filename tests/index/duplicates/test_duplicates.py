"""vicmae.index.duplicates: copies are found and named, shared intros are no duplicates, dismissed pairs stay away."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from made_items import ENGINE, new_item, unit_vectors
from made_media import picture, write_image, write_video
from made_queries import sure
from PIL import ImageOps

from vicmae.errors import InvalidRequest, NotFound
from vicmae.index.catalog.dismissals import dismiss
from vicmae.index.collection import Collection
from vicmae.index.duplicates import Found, find_duplicates, report_csv, report_dict, report_html
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import align_items, tools_of

TOOLS = tools_of(ENGINE)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path) as library:
        yield library.create("c", ENGINE)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collection, Found]]:
    """A film, copies of it, its beginning alone, another film, and pictures; what was found among them."""
    folder = tmp_path_factory.mktemp("films")
    write_video(folder / "film.mp4", 1, 16.0, fps=10)
    shutil.copy(folder / "film.mp4", folder / "bytes.mp4")
    write_video(folder / "again.mkv", 1, 16.0, fps=12, size=(96, 72), codec="mpeg4")
    write_video(folder / "part.mp4", 1, 6.0, fps=10)
    write_video(folder / "other.mp4", 2, 16.0, fps=10)
    write_image(folder / "photo.png", 9)
    picture(9).save(folder / "photo.jpg", quality=40)
    ImageOps.mirror(picture(10)).save(folder / "turned.png")
    write_image(folder / "photo10.png", 10)
    with Library(folder / "data") as library:
        collection = library.create("c", ENGINE)
        for path in sorted(folder.iterdir()):
            if path.is_file():
                assert ingest_file(collection, ENGINE, path).state == "added"
        yield collection, find_duplicates(collection, TOOLS)


def kinds(found: Found) -> dict[frozenset[str], str]:
    pairs = [pair for _, group in found.groups for pair in group]
    return {frozenset((found.items[p.a].name, found.items[p.b].name)): p.kind for p in pairs}


def test_copies_are_found_and_named(films: tuple[Collection, Found]) -> None:
    _, found = films
    groups = sorted(sorted(found.items[i].name for i in ids) for ids, _ in found.groups)
    assert ["again.mkv", "bytes.mp4", "film.mp4", "part.mp4"] in groups
    assert ["photo.jpg", "photo.png"] in groups
    assert not any("other.mp4" in group for group in groups)
    told = kinds(found)
    assert told[frozenset(("film.mp4", "bytes.mp4"))] == "exact"
    assert told[frozenset(("photo.jpg", "photo.png"))] == "copy"
    assert "copy" in {kind for names, kind in told.items() if "again.mkv" in names}
    assert "subclip" in {kind for names, kind in told.items() if "part.mp4" in names}


def test_a_part_tells_where_it_lies_in_the_film(films: tuple[Collection, Found]) -> None:
    _, found = films
    pairs = [p for _, group in found.groups for p in group if p.kind == "subclip"]
    for pair in pairs:
        assert found.items[pair.a].name == "part.mp4"
        best = pair.segments[0]
        assert best.start_seconds == pytest.approx(0, abs=1) and best.end_seconds == pytest.approx(6, abs=1)
        assert pair.variant == "same"


def test_reports_hold_every_pair_and_no_markup_of_names(films: tuple[Collection, Found]) -> None:
    collection, found = films
    report = report_dict(collection.name, found)
    pairs = [pair for group in report["groups"] for pair in group["pairs"]]
    rows = report_csv(report).splitlines()
    assert len(rows) == 1 + sum(max(1, len(pair["segments"])) for pair in pairs + report["shared"])
    first = next(iter(report["items"].values()))
    first["name"] = "</script><script>alert(1)</script>"
    page = report_html(report, lambda item_id: f"file:///{item_id}.mp4")
    assert "<script>alert" not in page and "alert(1)" in page
    assert "@DATA@" not in page and "@SCRIPT@" not in page


def test_a_shared_intro_is_no_duplicate(collection: Collection) -> None:
    intro = unit_vectors(500, 16)
    for seed in (1, 2):
        vectors = np.concatenate([intro, unit_vectors(seed, 120)])
        collection.add(new_item(seed, 136, vectors=vectors))
    found = find_duplicates(collection, TOOLS)
    assert found.groups == []
    (pair,) = found.shared
    assert pair.kind == "intro"
    best = pair.segments[0]
    assert (best.query_start_seconds, best.start_seconds) == (0, 0)
    assert best.query_end_seconds == pytest.approx(8) and best.end_seconds == pytest.approx(8)


def test_shared_credits_and_a_stretch_in_the_middle_are_told_apart(collection: Collection) -> None:
    same = unit_vectors(500, 16)
    for seed, before, after in ((1, 80, 0), (2, 90, 0), (3, 60, 60), (4, 70, 80)):
        shared = same if after == 0 else unit_vectors(600, 16)
        own = unit_vectors(seed, before + after)
        collection.add(
            new_item(seed, 16 + before + after, vectors=np.concatenate([own[:before], shared, own[before:]]))
        )
    found = find_duplicates(collection, TOOLS)
    assert found.groups == []
    assert sorted(pair.kind for pair in found.shared) == ["credits", "overlap"]


def test_a_film_that_repeats_another_one_holds_it_and_is_no_copy(collection: Collection) -> None:
    once = unit_vectors(500, 30)
    collection.add(new_item(1, 30, vectors=once))
    collection.add(new_item(2, 60, vectors=np.concatenate([once, once])))
    ((_, (pair,)),) = find_duplicates(collection, TOOLS).groups
    assert pair.kind == "subclip" and len(pair.segments) == 2


def test_black_beginnings_are_not_shared(collection: Collection) -> None:
    """The most repeated complaint about duplicates in video libraries: a black intro."""
    black = np.repeat(unit_vectors(500, 1), 10, axis=0)
    for seed in (1, 2):
        informative = np.array([0.0] * 10 + [1.0] * 40, np.float32)
        vectors = np.concatenate([black, unit_vectors(seed, 40)])
        collection.add(new_item(seed, 50, vectors=vectors, informative=informative))
    found = find_duplicates(collection, TOOLS)
    assert (found.groups, found.shared) == ([], [])


def test_a_dismissed_pair_stays_away(collection: Collection) -> None:
    vectors = unit_vectors(1, 40)
    a = collection.add(new_item(1, 40, vectors=vectors))
    b = collection.add(new_item(2, 40, vectors=vectors))
    assert len(find_duplicates(collection, TOOLS).groups) == 1
    dismiss(collection.catalog, b.id, a.id)
    dismiss(collection.catalog, a.id, b.id)
    found = find_duplicates(collection, TOOLS)
    assert (found.groups, found.dismissed) == ([], 1)
    with pytest.raises(NotFound):
        dismiss(collection.catalog, a.id, "none")
    with pytest.raises(InvalidRequest, match="itself"):
        dismiss(collection.catalog, a.id, a.id)


def test_a_mirrored_copy_of_a_stored_film_is_told_by_its_pixels(collection: Collection, tmp_path: Path) -> None:
    """The vectors are the same, as those of the shipped model are for a mirrored frame."""
    vectors = unit_vectors(1, 12)
    film = write_video(tmp_path / "film.mp4", 1, 6.0, fps=10)
    plain = collection.add(new_item(1, 12, vectors=vectors, path=film))
    again = collection.add(new_item(2, 12, vectors=vectors, path=write_video(tmp_path / "b.mkv", 1, 6.0, fps=10)))
    turned = collection.add(new_item(3, 12, vectors=vectors, path=mirrored(film, tmp_path / "turned.mp4")))
    found = find_duplicates(collection, TOOLS)
    told = {frozenset((p.a, p.b)): p for _, group in found.groups for p in group}
    for one, other, is_mirrored in ((plain, turned, True), (plain, again, False)):
        pair = told[frozenset((one.id, other.id))]
        assert pair.variant == ("mirrored" if is_mirrored else "same")
        assert [segment.mirrored for segment in pair.segments] == [is_mirrored]
        assert [segment.mirrored for segment in align_items(collection, one.id, other.id, tools=TOOLS)] == [is_mirrored]


def mirrored(film: Path, path: Path) -> Path:
    """The film with left and right exchanged."""
    with av.open(str(film)) as whole, av.open(str(path), "w") as turned:
        stream = turned.add_stream("libx264", rate=10)
        stream.width, stream.height = 160, 120
        for frame in whole.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24")[:, ::-1].copy()
            turned.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        turned.mux(stream.encode(None))
    return path


def test_an_empty_collection_has_none(collection: Collection) -> None:
    found = find_duplicates(collection, TOOLS)
    assert (found.groups, found.shared, found.compared) == ([], [], 0)


def test_two_items_are_aligned_within_windows(collection: Collection) -> None:
    same = unit_vectors(7, 20)
    a = collection.add(new_item(1, 60, vectors=np.concatenate([unit_vectors(1, 40), same])))
    b = collection.add(new_item(2, 50, vectors=np.concatenate([unit_vectors(2, 10), same, unit_vectors(3, 20)])))
    (segment,) = align_items(collection, a.id, b.id, tools=TOOLS)
    assert (segment.query_start_seconds, segment.query_end_seconds) == (20, 30)
    assert (segment.start_seconds, segment.end_seconds) == (5, 15)
    assert sure(segment) > 0.8 and segment.speed == 1 and not segment.mirrored
    (part,) = align_items(collection, a.id, b.id, (24.0, None), (0.0, 12.0), TOOLS)
    assert (part.query_start_seconds, part.start_seconds, part.end_seconds) == (24, 9, 12)
    assert align_items(collection, a.id, b.id, (0.0, 15.0), tools=TOOLS) == []
    with pytest.raises(NotFound):
        align_items(collection, a.id, "none")
    with pytest.raises(InvalidRequest, match="after the start"):
        align_items(collection, a.id, b.id, (5.0, 5.0))
