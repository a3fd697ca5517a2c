"""vicmae.index.calibrate: curves and thresholds fitted to made media; too little of it is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_items import ENGINE, unit_vectors
from made_media import write_text, write_video
from made_runs import write_pictures

from vicmae.errors import InvalidRequest
from vicmae.export.calibration import UNCALIBRATED, Calibration
from vicmae.export.engine import FakeEngine
from vicmae.index.calibrate import Asked, calibrate, cost_of, fit_curve
from vicmae.index.calibrate.folding import folding_cosine
from vicmae.index.catalog import Moments
from vicmae.index.matching import confidence


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_pictures(tmp_path_factory.mktemp("pictures"), 40).iterdir())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [write_video(folder / f"{seed}.mp4", 100 + seed, 8.0, fps=6, size=(96, 72)) for seed in range(8)]


@pytest.fixture(scope="module")
def fitted(pictures: list[Path], clips: list[Path]) -> Calibration:
    return calibrate([*pictures, *clips], FakeEngine(calibration=UNCALIBRATED))


def test_curves_are_fitted_and_more_is_surer(fitted: Calibration) -> None:
    assert fitted.frame is not None and fitted.stretch is not None and fitted.is_fitted
    for chance, most in (
        ([confidence.of_frame(x, fitted) or 0.0 for x in np.linspace(0, 1, 21)], confidence.MOST_BY_VECTORS),
        ([confidence.of_stretch(x, fitted) or 0.0 for x in np.linspace(0, 1, 21)], 1.0),
    ):
        assert (np.diff(chance) >= 0).all() and chance[0] < 0.4 < chance[-1] <= most


def test_what_was_fitted_is_told_and_is_the_models(fitted: Calibration) -> None:
    assert (fitted.fitted_on["photos"], fitted.fitted_on["clips"], fitted.fitted_on["unreadable"]) == (40, 8, 0)
    assert fitted.fitted_on["questions"] > 300 and fitted.fitted_on["stretches"] > 16
    assert len(fitted.mean) == ENGINE.spec.dim and np.linalg.norm(fitted.mean) <= 1
    assert 0 <= fitted.same_footage <= fitted.same_frame <= 1
    assert fitted.folding_cosine >= 0.99


def test_pictures_alone_say_nothing_of_clips(pictures: list[Path]) -> None:
    fitted = calibrate(pictures, ENGINE)
    assert fitted.frame is not None and fitted.stretch is None
    assert fitted.folding_cosine == UNCALIBRATED.folding_cosine


def test_a_copy_in_the_media_is_no_stranger(tmp_path: Path, pictures: list[Path]) -> None:
    """Every picture is there twice, under two names: that the other file is found is no mistake."""
    twins = [tmp_path / f"again-{path.name}" for path in pictures]
    for path, twin in zip(pictures, twins, strict=True):
        twin.write_bytes(path.read_bytes())
    twice, once = calibrate([*pictures, *twins], ENGINE), calibrate(pictures, ENGINE)
    sure = confidence.of_frame(1.0, twice)
    assert sure is not None and sure == pytest.approx(confidence.of_frame(1.0, once), abs=0.05)


def test_too_little_is_refused_with_the_least_counts(pictures: list[Path], tmp_path: Path) -> None:
    bad = write_text(tmp_path / "notes.jpg")
    with pytest.raises(InvalidRequest, match=r"39 photos and 0 .*\(1 files could not\).* 40 pictures of 10 files"):
        calibrate([*pictures[:39], bad], ENGINE)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_a_curve_rises_or_is_refused(right: list[float], wrong: list[float]) -> None:
    labels = [True] * len(right) + [False] * len(wrong)
    try:
        curve = fit_curve([*right, *wrong], labels, None, "made rows")
    except InvalidRequest:
        assert np.mean(right) <= np.mean(wrong) + 1e-3  # the slope of the best curve has the sign of this difference
        return
    assert curve.slope > 0 and np.isfinite(curve.offset)
    assert np.mean(right) >= np.mean(wrong) - 1e-3


def test_a_curve_of_rows_that_do_not_overlap_is_no_certainty() -> None:
    curve = fit_curve([0.9] * 20 + [0.1] * 20, [True] * 20 + [False] * 20, None, "made rows")
    assert 0.9 < 1 / (1 + np.exp(-curve.offset - 0.9 * curve.slope)) < 0.99
    with pytest.raises(InvalidRequest, match="0 were right"):
        fit_curve([0.1, 0.2], [False, False], None, "made rows")


def test_frames_that_stand_still_fold_and_those_that_move_do_not() -> None:
    still, moving = np.repeat(unit_vectors(0, 1), 12, axis=0), unit_vectors(1, 12)
    starts = np.arange(12) / 2
    films = [Moments(vectors, starts, starts + 0.5, np.ones(12, np.float32)) for vectors in (still, moving)]
    asked = [Asked(1, float(second), vector) for second, vector in zip(starts, moving, strict=True)]
    cost = cost_of(films, asked, folding_cosine(films, asked))
    assert cost.kept == 13 / 24 and cost.first == 1 and cost.mean_seconds == 0
    in_the_still_film = [Asked(0, float(second), still[0]) for second in starts]
    assert folding_cosine(films, in_the_still_film) == 0.99  # equal frames answer their first second, folded or not
