"""vicmae.index.search.frames: what people have in hand of a picture is found, verified and located."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_decoders import CountingDecoder
from made_media import picture, write_image
from made_queries import sure
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import Query, Region, SearchRequest, SearchResult, search, tools_of
from vicmae.index.search.frames import CANDIDATES, assembled

ENGINE = FakeEngine()
TOOLS = tools_of(ENGINE)
SIZE = (480, 360)
SEEDS = range(30)


def photo(seed: int) -> NDArray[np.uint8]:
    """With detail, as photos have it and made pictures hardly do."""
    blobs = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    detail = cv2.resize(blobs, SIZE, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.addWeighted(detail, 0.5, np.asarray(picture(seed, SIZE)), 0.5, 0), np.uint8)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("photos")
    with Library(folder / "data") as library:
        made = library.create("photos", ENGINE)
        for seed in SEEDS:
            Image.fromarray(photo(seed)).save(folder / f"{seed}.png")
            ingest_file(made, ENGINE, folder / f"{seed}.png")
        yield made


def asked(collection: Collection, shown: NDArray[np.uint8], folder: Path, **more: object) -> SearchResult:
    Image.fromarray(shown).save(folder / "query.png")
    return search(collection, SearchRequest(Query(source=folder / "query.png", **more), 5), TOOLS)  # type: ignore[arg-type]


def on_a_page(seed: int) -> NDArray[np.uint8]:
    page = np.full((900, 800, 3), 245, np.uint8)
    page[300:660, 160:640] = photo(seed)
    return page


def in_a_collage(seed: int) -> NDArray[np.uint8]:
    parts = [photo(100), photo(101), photo(102), photo(seed)]
    return np.concatenate([np.concatenate(parts[:2], axis=1), np.concatenate(parts[2:], axis=1)])


@pytest.mark.parametrize(
    "edit",
    [photo, on_a_page, in_a_collage, lambda seed: photo(seed)[:, ::-1], lambda seed: np.rot90(photo(seed)),
     lambda seed: photo(seed)[:240, :320]],
    ids=["as it was", "on a page", "in a collage", "mirrored", "turned", "a part"],
)  # fmt: skip
@pytest.mark.parametrize("seed", [3, 17])
def test_what_people_have_in_hand_is_found(collection: Collection, tmp_path: Path, edit, seed: int) -> None:  # type: ignore[no-untyped-def]
    found = asked(collection, np.ascontiguousarray(edit(seed)), tmp_path)
    best, *others = found.hits
    assert found.found and best.item.name == f"{seed}.png" and best.verified and sure(best) > 0.9
    assert best.segments[0].mirrored == (edit is not photo and np.array_equal(edit(seed), photo(seed)[:, ::-1]))
    assert len(found.hits) == 5 and all(sure(hit) < 0.5 and not hit.verified for hit in others)


def test_the_surest_hit_comes_first(collection: Collection, tmp_path: Path) -> None:
    """The second hit was looked at and is another picture; those after it were not, and may be."""
    first, second, *rest = asked(collection, photo(3), tmp_path).hits
    assert first.verified and second.verified is False and all(hit.verified is None for hit in rest)
    likely = [replace(hit, confidence=0.3) for hit in rest]
    order = assembled([first, second, *likely], [first, second])
    assert [sure(hit) for hit in order] == sorted(map(sure, order), reverse=True) and order[-1].item == second.item


def test_the_place_is_told_in_both_pictures(collection: Collection, tmp_path: Path) -> None:
    """Also where a region of the picture that was sent is looked for: in that picture."""
    for region in (None, Region(0.0, 0.25, 1.0, 1.0)):
        told = asked(collection, on_a_page(5), tmp_path, region=region).to_dict()["data"][0]
        assert np.allclose(told["query_region"][0], (160 / 800, 300 / 900), atol=0.02)
        assert np.allclose(told["query_region"][2], (640 / 800, 660 / 900), atol=0.02)
        assert np.allclose(told["region"], [(0, 0), (1, 0), (1, 1), (0, 1)], atol=0.03)
        assert told["verified"] is True and told["mirrored"] is False


def test_a_stranger_is_not_found(collection: Collection, tmp_path: Path) -> None:
    for shown in (photo(200), on_a_page(201), in_a_collage(202), np.full((300, 400, 3), 90, np.uint8)):
        found = asked(collection, shown, tmp_path)
        assert found.found is False and max(sure(hit) for hit in found.hits) < 0.5
        assert len(found.hits) == 5, "what only looks alike is told all the same"


def test_at_most_so_many_pictures_are_looked_at(collection: Collection, tmp_path: Path) -> None:
    """Where none is stored, each look decodes a file."""
    decoder = CountingDecoder()
    Image.fromarray(on_a_page(201)).save(tmp_path / "query.png")
    search(collection, SearchRequest(Query(source=tmp_path / "query.png"), 5), replace(TOOLS, decoder=decoder))
    assert decoder.decoded <= 1 + CANDIDATES < collection.count()


def test_the_very_bytes_are_certain_at_once(collection: Collection, tmp_path: Path) -> None:
    item = next(item for page in collection.pages(100) for item in page if item.name == "7.png")
    for verify in (True, False):
        result = search(collection, SearchRequest(Query(source=item.path), 5, verify=verify), TOOLS)
        assert result.hits[0].item.id == item.id and result.hits[0].confidence == 1 and result.found
        assert result.to_dict()["data"][0]["region"] is not None
    part = search(collection, SearchRequest(Query(source=item.path, region=Region(0, 0, 0.6, 1)), 5), TOOLS)
    assert part.hits[0].item.id == item.id and sure(part.hits[0]) < 1


def test_without_verification_nothing_is_sure(collection: Collection, tmp_path: Path) -> None:
    Image.fromarray(photo(3)).save(tmp_path / "query.jpg", quality=90)
    result = search(collection, SearchRequest(Query(source=tmp_path / "query.jpg"), 5, verify=False), TOOLS)
    assert result.found is None and all(hit.verified is None and sure(hit) < 0.5 for hit in result.hits)
    by_vector = search(collection, SearchRequest(Query(vector=np.ones(ENGINE.spec.dim, np.float32)), 5), TOOLS)
    assert by_vector.found is None and all(hit.verified is None for hit in by_vector.hits)


def test_candidates_are_told_before_they_are_verified(collection: Collection, tmp_path: Path) -> None:
    told: list[SearchResult] = []
    Image.fromarray(photo(3)).save(tmp_path / "query.jpg", quality=90)
    asking = SearchRequest(Query(source=tmp_path / "query.jpg"), 5)
    result = search(collection, asking, TOOLS, told.append)
    (first,) = told
    assert all(hit.verified is None for hit in first.hits) and first.found is None
    assert {hit.item.id for hit in first.hits} == {hit.item.id for hit in result.hits}


def test_an_item_finds_its_copies_and_not_itself(collection: Collection, tmp_path: Path) -> None:
    Image.fromarray(photo(9)).resize((240, 180)).save(tmp_path / "copy.jpg", quality=60)
    outcome = ingest_file(collection, ENGINE, tmp_path / "copy.jpg")
    try:
        original = next(item for page in collection.pages(100) for item in page if item.name == "9.png")
        result = search(collection, SearchRequest(Query(item_id=original.id), 5), TOOLS)
        assert result.hits[0].item.name == "copy.jpg" and result.hits[0].verified and result.found
    finally:
        assert outcome.state == "added"
        copy = next(item for page in collection.pages(100) for item in page if item.name == "copy.jpg")
        collection.delete(copy.id)


def test_copies_that_score_alike_are_all_verified(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        made = library.create("copies", ENGINE)
        for name, size, quality in (("large.jpg", (480, 360), 95), ("small.jpg", (240, 180), 40)):
            Image.fromarray(photo(4)).resize(size).save(tmp_path / name, quality=quality)
            ingest_file(made, ENGINE, tmp_path / name)
        ingest_file(made, ENGINE, write_image(tmp_path / "other.png", 77))
        found = asked(made, np.asarray(ImageOps.autocontrast(Image.fromarray(photo(4)))), tmp_path)
        assert [hit.item.name for hit in found.hits if hit.verified] == ["large.jpg", "small.jpg"]
