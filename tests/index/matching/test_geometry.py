"""vicmae.index.matching.geometry: edited pictures are found with their place, strangers are not, differences named."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_scenes import EDITS, Matrix, Pixels, as_jpeg, bordered, form, scene, warped
from numpy.typing import NDArray

from vicmae.index.matching import Features, Quad, features_of, is_same_picture, query_features_of, verify
from vicmae.index.matching.quads import mapped, overlap, rectangle

ENTRIES = ["Ada Winter", "12 Mill Lane", "Oldbury", "1,250.00", "New windows", "4 March", "Leeds", "A. Winter"]


def stored(picture: Pixels) -> Features:
    """As a frame store gives it back."""
    return features_of(as_jpeg(picture, 80))


def ends_apart(found: Matrix, true: Matrix) -> float:
    """The largest distance, in shares of the stored picture, of where the corners of the overlap should lie."""
    corners = overlap(true, (1, 1), (1, 1))
    return float(np.abs(mapped(found, corners) - mapped(true, corners)).max())


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("seed", [1, 2])
def test_an_edited_picture_is_found_with_its_place(edit: str, seed: int) -> None:
    picture = scene(seed)
    query, true = EDITS[edit](picture)
    found = verify(query_features_of(query), stored(picture))
    assert found is not None and is_same_picture(found)
    assert found.mirrored == (edit == "mirrored")
    assert ends_apart(found.transform, true) < 0.02
    shown = overlap(true, (1, 1), (1, 1))
    assert found.coverage == pytest.approx(area(shown), abs=0.03)
    assert found.stored_coverage == pytest.approx(area(mapped(true, shown)), abs=0.03)
    assert np.abs(mapped(true, np.array(found.query_region)) - np.array(found.region)).max() < 0.04


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_random_similarity_is_recovered(seed: int, mirror: bool) -> None:
    dice = np.random.default_rng(seed)
    picture = scene(100 + seed)
    width, height = 640, 480
    angle, scale = dice.uniform(0, 2 * np.pi), dice.uniform(0.5, 1.3)
    onto = np.array([(np.cos(angle), -np.sin(angle), 0), (np.sin(angle), np.cos(angle), 0), (0, 0, 1)])
    onto[:2] *= scale
    if mirror:
        onto = onto @ np.diag((-1.0, 1.0, 1.0))
    middle = np.array([picture.shape[1] / 2, picture.shape[0] / 2])
    onto[:2, 2] = np.array([width / 2, height / 2]) + dice.uniform(-60, 60, 2) - onto[:2, :2] @ middle
    query = warped(picture, onto, width, height)
    found = verify(query_features_of(query), stored(picture))
    shares = (
        np.diag((1 / picture.shape[1], 1 / picture.shape[0], 1.0)) @ np.linalg.inv(onto) @ np.diag((width, height, 1.0))
    )
    assert found is not None and is_same_picture(found) and found.mirrored == mirror
    assert ends_apart(found.transform, shares) < 0.02


def test_strangers_are_not_the_same_picture() -> None:
    sides = [stored(scene(seed)) for seed in range(20, 24)]
    queries = [query_features_of(edit(scene(seed))[0]) for seed in (30,) for edit in EDITS.values()]
    for query in queries:
        for side in sides:
            found = verify(query, side)
            assert found is None or not is_same_picture(found)


def test_what_differs_is_named_with_its_place() -> None:
    other = ENTRIES.copy()
    other[3] = "98,760.55"
    found = verify(query_features_of(form(other)), stored(form(ENTRIES)))
    assert found is not None and found.inliers > 50
    assert any(covers(place, np.array([240, 280]) / (480, 640)) for place in found.differs)
    assert not any(covers(place, np.array([0.5, 0.08])) for place in found.differs)
    same = verify(query_features_of(as_jpeg(form(ENTRIES), 50)), stored(form(ENTRIES)))
    assert same is not None and same.differs == () and same.residual < 0.02


def test_every_other_entry_of_a_form_is_named() -> None:
    other = ["Bo Summers", "7 High Street", "Newtown Bay", "88.10", "Broken gate", "19 July", "York", "Bo S."]
    found = verify(query_features_of(form(other)), stored(form(ENTRIES)))
    assert found is not None and len(found.differs) >= 5


def test_the_quadrilaterals_say_which_part_is_shown() -> None:
    picture = scene(5)
    query, _ = bordered(picture)
    found = verify(query_features_of(query), stored(picture))
    assert found is not None
    assert np.allclose(found.region, rectangle(1, 1), atol=0.02)
    height, width = query.shape[:2]
    true = [
        (40 / width, 80 / height),
        (520 / width, 80 / height),
        (520 / width, 400 / height),
        (40 / width, 400 / height),
    ]
    assert np.allclose(found.query_region, true, atol=0.02)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (12, 12), (40, 4000)])
def test_pictures_without_structure_or_size_are_no_match(size: tuple[int, int]) -> None:
    flat = np.full((*size, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    for picture in (flat, noise):
        found = verify(query_features_of(picture), stored(scene(1)))
        assert found is None or not is_same_picture(found)
        found = verify(query_features_of(scene(1)), features_of(picture))
        assert found is None or not is_same_picture(found)


def test_the_answer_is_the_same_every_time_and_in_every_thread() -> None:
    query, side = query_features_of(EDITS["aslant"](scene(3))[0]), stored(scene(3))
    first = verify(query, side)
    with ThreadPoolExecutor(4) as threads:
        others = list(threads.map(lambda _: verify(query, side), range(12)))
    for other in others:
        assert first is not None and other is not None
        assert np.array_equal(first.transform, other.transform)
        assert (first.inliers, first.residual, first.region) == (other.inliers, other.residual, other.region)


def test_the_mirrored_features_are_those_of_the_mirrored_picture() -> None:
    picture = scene(8)
    found = verify(query_features_of(picture).mirrored(), stored(picture[:, ::-1].copy()))
    assert found is not None and not found.mirrored and found.residual < 0.02


def area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)


def covers(place: Quad, point: NDArray[np.float64]) -> bool:
    corners = np.array(place)
    return bool((corners.min(axis=0) <= point).all() and (point <= corners.max(axis=0)).all())
