"""vicmae.index.duplicates: copies are found and named, shared intros are no duplicates, dismissed pairs stay away."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from made_items import ENGINE, new_item, unit_vectors
from made_media import picture, write_image, write_video
from made_queries import sure
from made_scenes import form, scene
from numpy.typing import NDArray
from PIL import ImageOps

from vicmae.errors import InvalidRequest, NotFound
from vicmae.index.catalog.dismissals import dismiss
from vicmae.index.collection import Collection
from vicmae.index.duplicates import Found, find_duplicates, report_csv, report_dict, report_html, report_lines
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import Tools, align_items, tools_of
from vicmae.media.decoding import InProcess
from vicmae.media.frames import Frames
from vicmae.media.limits import MediaLimits
from vicmae.media.reader import Source

TOOLS = tools_of(ENGINE)
Film = Callable[[float], NDArray[np.uint8]]


class Drawn(InProcess):
    """Shows, in place of files, what a function of the second draws for each path."""

    def __init__(self, films: dict[Source, Film]) -> None:
        super().__init__()
        self.films = films

    def frame_at(self, source: Source, seconds: float, limits: MediaLimits, shorter_side: int | None = None) -> Frames:
        if source not in self.films:
            raise NotFound(f"There is no file {source!r}.")
        return Frames(self.films[source](seconds)[None], np.array([seconds]))


def cut(*parts: tuple[float, int, float]) -> Film:
    """A film of parts (lasts seconds, seed of its scenes, second of that film where it begins), a scene a second."""

    def picture_at(seconds: float) -> NDArray[np.uint8]:
        for lasts, seed, begins in parts:
            if seconds < lasts:
                return scene(1000 * seed + int(begins + seconds), 240, 160)
            seconds -= lasts
        return scene(1000 * parts[-1][1] + int(parts[-1][2] + parts[-1][0]), 240, 160)

    return picture_at


def shows(**films: Film) -> Tools:
    """films: by the seed of new_item, as s1, s2, ..."""
    return replace(TOOLS, decoder=Drawn({Path(f"/made/{name[1:]}"): film for name, film in films.items()}))


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
    pairs = [pair for group in found.groups for pair in group.pairs]
    return {frozenset((found.items[p.a].name, found.items[p.b].name)): p.kind for p in pairs}


def test_copies_are_found_and_named(films: tuple[Collection, Found]) -> None:
    _, found = films
    groups = sorted(sorted(found.items[i].name for i in group.items) for group in found.groups)
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
    pairs = [p for group in found.groups for p in group.pairs if p.kind == "subclip"]
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
    found = find_duplicates(collection, shows(s1=cut((8, 5, 0), (60, 1, 0)), s2=cut((8, 5, 0), (60, 2, 0))))
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
    films = {
        "s1": cut((40, 1, 0), (8, 5, 0)),
        "s2": cut((45, 2, 0), (8, 5, 0)),
        "s3": cut((30, 3, 0), (8, 6, 0), (30, 3, 30)),
        "s4": cut((35, 4, 0), (8, 6, 0), (40, 4, 35)),
    }
    found = find_duplicates(collection, shows(**films))
    assert found.groups == []
    assert sorted(pair.kind for pair in found.shared) == ["credits", "overlap"]


def test_a_film_that_repeats_another_one_holds_it_and_is_no_copy(collection: Collection) -> None:
    once = unit_vectors(500, 30)
    collection.add(new_item(1, 30, vectors=once))
    collection.add(new_item(2, 60, vectors=np.concatenate([once, once])))
    films = {"s1": cut((15, 5, 0)), "s2": cut((15, 5, 0), (15, 5, 0))}
    (group,) = find_duplicates(collection, shows(**films)).groups
    (pair,) = group.pairs
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
    tools = shows(s1=cut((20, 5, 0)), s2=cut((20, 5, 0)))
    assert len(find_duplicates(collection, tools).groups) == 1
    dismiss(collection.catalog, b.id, a.id)
    dismiss(collection.catalog, a.id, b.id)
    found = find_duplicates(collection, tools)
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
    told = {frozenset((p.a, p.b)): p for group in found.groups for p in group.pairs}
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


def test_what_cannot_be_looked_at_is_counted_and_in_no_group(collection: Collection) -> None:
    vectors = unit_vectors(1, 40)
    for seed in (1, 2):
        collection.add(new_item(seed, 40, vectors=vectors))
    found = find_duplicates(collection, shows(s1=cut((20, 5, 0))))
    assert (found.groups, found.shared, len(found.unseen)) == ([], [], 1)
    assert "could not be looked at: 1 pair" in report_lines(found)[-1]


def test_one_file_under_two_names_is_told_apart_from_two_files(collection: Collection, tmp_path: Path) -> None:
    first = write_image(tmp_path / "a.png", 1)
    os.link(first, tmp_path / "b.png")
    shutil.copy(first, tmp_path / "c.png")
    for seed, name in enumerate("abc"):
        collection.add(new_item(seed, 1, vectors=unit_vectors(1, 1), path=tmp_path / f"{name}.png", sha256="1" * 64))
    found = find_duplicates(collection, TOOLS)
    assert [pair.kind for pair in found.shared] == ["same_file"]
    assert [pair.kind for group in found.groups for pair in group.pairs] == ["exact"]


def test_the_best_of_a_group_is_named_with_the_reason(collection: Collection) -> None:
    for seed, changes in enumerate(({"width": 80, "height": 60}, {}, {"size_bytes": 5000})):
        collection.add(new_item(seed, 1, vectors=unit_vectors(1, 1), **changes))
    (group,) = find_duplicates(collection, shows(**{f"s{seed}": lambda _: scene(7) for seed in range(3)})).groups
    names = [collection.get(item_id).name for item_id in group.items]
    assert (group.best, names[0], names[-1]) == (group.items[0], "2.png", "0.png")
    assert group.reason == "of the largest picture, most bytes: 5000"


def test_one_form_with_another_entry_is_no_copy_and_undecided_without_its_file(collection: Collection) -> None:
    entries = ["Ada Winter", "12 Mill Lane", "Oldbury", "1,250.00", "New windows", "4 March", "Leeds", "A. Winter"]
    other = [*entries[:3], "1,259.00", *entries[4:]]
    for seed in (1, 2):
        collection.add(new_item(seed, 1, vectors=unit_vectors(1, 1), width=960, height=1280))
    drawn = {"s1": lambda _: form(entries, 2), "s2": lambda _: form(other, 2)}
    found = find_duplicates(collection, shows(**drawn))
    assert found.groups == [] and [pair.kind for pair in found.shared] == ["same_form"]
    found = find_duplicates(collection, shows(s1=drawn["s1"], s2=lambda _: form(entries, 2)))
    assert [pair.kind for group in found.groups for pair in group.pairs] == ["copy"]


def test_progress_only_goes_forward(films: tuple[Collection, Found]) -> None:
    told: list[tuple[str, int, int]] = []
    find_duplicates(films[0], TOOLS, lambda *step: told.append(step))
    assert {stage for stage, _, _ in told} == {"candidates", "align", "look"}
    done = [done for _, done, _ in told]
    assert done == sorted(done) and len({total for _, _, total in told}) == 1 and done[-1] <= told[0][2]


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
