"""vicmae.index.search.verification: which hits of a picture are looked at, and what is told of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from made_media import picture, write_image
from made_queries import sure
from numpy.typing import NDArray

from vicmae.export.engine import FakeEngine
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import Hit, Query, Region, SearchRequest, search, tools_of
from vicmae.index.search.hypotheses import Hypothesis
from vicmae.index.search.verification import IDENTICAL, Verifier, identical, in_whole, is_strong, refuted

ENGINE = FakeEngine()
TOOLS = tools_of(ENGINE)
SIZE = (480, 360)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        made = library.create("photos", ENGINE)
        for seed in range(6):
            ingest_file(made, ENGINE, write_image(tmp_path / f"{seed}.png", seed, size=SIZE))
        yield made


def pixels(seed: int) -> NDArray[np.uint8]:
    return np.asarray(picture(seed, SIZE))


def hits_of(collection: Collection, tmp_path: Path, seed: int) -> list[Hit]:
    """By vectors alone, of a picture that is no file of the collection."""
    picture(seed, SIZE).save(tmp_path / "query.bmp")
    return search(collection, SearchRequest(Query(source=tmp_path / "query.bmp"), 6, verify=False), TOOLS).hits


def test_the_same_picture_is_verified_and_located(collection: Collection, tmp_path: Path) -> None:
    hits = hits_of(collection, tmp_path, 2)
    with Verifier(collection, pixels(2), TOOLS) as verifier:
        looked = verifier.look_at_all(hits)
    assert [hit.verified for hit in looked] == [hit.item.name == "2.png" for hit in hits]
    for hit in looked:
        if hit.verified:
            assert sure(hit) > 0.9 and is_strong(hit) and hit.verification is not None
            assert np.allclose(hit.verification.transform, np.eye(3), atol=0.06)
        else:
            assert sure(hit) < 0.1 and hit.verification is None


def test_after_a_strong_one_only_what_ties_with_it_is_looked_at(collection: Collection, tmp_path: Path) -> None:
    right, *others = hits_of(collection, tmp_path, 2)
    far = [replace(hit, score=right.score - 2 * TOOLS.calibration.rerank_tie) for hit in others]
    with Verifier(collection, pixels(2), TOOLS) as verifier:
        looked = verifier.look([right, *far])
        assert len(looked) == 2 and looked[0].verified, "those of one round are looked at together"
        assert verifier.look(far, looked) == [], "what was strong before counts too"
        near = [replace(hit, score=right.score) for hit in others]
        assert len(verifier.look([right, *near])) == 6


def test_nothing_is_looked_at_once_the_time_is_over(collection: Collection, tmp_path: Path) -> None:
    hits = hits_of(collection, tmp_path, 2)
    with Verifier(collection, pixels(2), replace(TOOLS, verify_budget_seconds=0.0)) as verifier:
        assert verifier.look(hits) == [] and verifier.is_over
    found = search(
        collection,
        SearchRequest(Query(source=tmp_path / "query.bmp"), 6),
        replace(TOOLS, verify_budget_seconds=0.0),
    )
    assert all(hit.verified is None and sure(hit) < 0.5 for hit in found.hits) and found.found is None


def test_a_picture_that_cannot_be_read_says_so(collection: Collection, tmp_path: Path) -> None:
    hits = hits_of(collection, tmp_path, 2)
    rmtree(collection.folder / "pictures")
    (tmp_path / "2.png").unlink()
    with Verifier(collection, pixels(2), TOOLS) as verifier:
        (right,) = [hit for hit in verifier.look_at_all(hits) if hit.item.name == "2.png"]
    assert right.verified is None and sure(right) < 0.5


def test_a_part_of_the_query_is_located_in_the_whole_of_it(collection: Collection, tmp_path: Path) -> None:
    hit = hits_of(collection, tmp_path, 2)[0]
    canvas = np.full((720, 1280, 3), 200, np.uint8)
    canvas[240:600, 700:1180] = pixels(2)
    where = Region(700 / 1280, 240 / 720, 1180 / 1280, 600 / 720)
    with Verifier(collection, canvas, TOOLS) as verifier:
        (found,) = verifier.look_at_all([replace(hit, hypothesis=Hypothesis(where))])
    assert found.verification is not None
    corners = np.array(found.verification.query_region)
    assert np.allclose(corners[0], (where.left, where.top), atol=0.02)
    assert np.allclose(corners[2], (where.right, where.bottom), atol=0.02)
    centre = found.verification.transform @ ((where.left + where.right) / 2, (where.top + where.bottom) / 2, 1)
    assert np.allclose(centre[:2] / centre[2], 0.5, atol=0.03)
    assert found.verification.coverage == pytest.approx(480 * 360 / (1280 * 720), rel=0.1)


def test_the_whole_of_a_whole_is_the_whole() -> None:
    assert in_whole(IDENTICAL, Region(0, 0, 1, 1)) is IDENTICAL
    half = in_whole(IDENTICAL, Region(0.5, 0, 1, 1))
    assert half.query_region == ((0.5, 0), (1, 0), (1, 1), (0.5, 1)) and half.region == IDENTICAL.region


def test_identical_bytes_are_certain_and_what_is_refuted_is_not(collection: Collection, tmp_path: Path) -> None:
    hit = hits_of(collection, tmp_path, 2)[0]
    assert identical(hit).confidence == 1 and identical(hit).verified and is_strong(identical(hit))
    assert refuted(hit).verified is False and sure(refuted(hit)) < 0.1
    with Verifier(collection, pixels(4), TOOLS) as verifier:
        assert verifier.look_at_all([identical(hit)]) == [identical(hit)], "nothing needs to be looked at"
