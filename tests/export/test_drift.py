"""vicmae.export.drift: the measure of two engines' agreement, and its limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_items import unit_vectors

from vicmae.errors import DriftError
from vicmae.export.drift import LIMITS, Drift, compare, require_within_limits


def test_the_same_vectors_have_no_drift() -> None:
    vectors = unit_vectors(0, 40)
    drift = compare(vectors, vectors, "made")
    assert (drift.pictures, drift.source, drift.top10_overlap) == (40, "made", 1.0)
    assert drift.mean_cosine == pytest.approx(1, abs=1e-6) and drift.min_cosine == pytest.approx(1, abs=1e-6)


def test_cosines_by_hand() -> None:
    reference = np.eye(2, dtype=np.float32)
    turned = np.array([[0.6, 0.8], [0, 1]], np.float32)
    drift = compare(reference, turned, "made")
    assert drift.mean_cosine == pytest.approx(0.8) and drift.min_cosine == pytest.approx(0.6)
    assert drift.top10_overlap == 1.0, "two pictures have no ten neighbours to disagree on"


def test_other_neighbours_lower_the_overlap() -> None:
    reference, other = unit_vectors(0, 200), unit_vectors(1, 200)
    assert compare(reference, other, "made").top10_overlap == pytest.approx(10 / 199, abs=0.03)


@settings(max_examples=20)
@given(st.floats(0, 0.5), st.integers(0, 100))
def test_noise_never_counts_as_better(noise: float, seed: int) -> None:
    reference = unit_vectors(seed, 30, 16)
    moved = reference + noise * np.random.default_rng(seed).normal(size=reference.shape).astype(np.float32)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    drift = compare(reference, moved.astype(np.float32), "made")
    assert drift.min_cosine <= drift.mean_cosine <= 1 + 1e-6
    assert 0 <= drift.top10_overlap <= 1


def test_another_shape_is_refused() -> None:
    with pytest.raises(DriftError, match=r"vectors \(3, 4\), the trained model \(3, 5\)"):
        compare(np.zeros((3, 5), np.float32), np.zeros((3, 4), np.float32), "made")


@pytest.mark.parametrize("precision", LIMITS)
def test_at_the_limits_passes_and_below_is_refused(precision: str) -> None:
    limits = LIMITS[precision]
    at = (limits.mean_cosine, limits.min_cosine, limits.top10_overlap)
    require_within_limits(Drift(500, "made", *at), precision, "m.onnx")
    for index, name in enumerate(("mean cosine", "minimum cosine", "top-10 overlap")):
        below = [value - (1e-5 if i == index else 0) for i, value in enumerate(at)]
        with pytest.raises(DriftError, match=f"m.onnx: {name} to the trained model is .* over 500 pictures"):
            require_within_limits(Drift(500, "made", *below), precision, "m.onnx")


def test_the_limits_of_the_design() -> None:
    assert LIMITS["fp32"].min_cosine == 0.9999 and LIMITS["fp16"].min_cosine == 0.999
    assert (LIMITS["int8"].mean_cosine, LIMITS["int8"].min_cosine) == (0.99, 0.97)


def test_overlap_is_not_judged_on_few_pictures() -> None:
    require_within_limits(Drift(8, "canary", 1.0, 1.0, 0.1), "fp32", "m.onnx")


def test_no_number_is_no_pass() -> None:
    with pytest.raises(DriftError, match="nan"):
        require_within_limits(Drift(8, "canary", float("nan"), 1.0, 1.0), "fp32", "m.onnx")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(DriftError, match="'fp4'; known are fp32, fp16, int8"):
        require_within_limits(Drift(8, "canary", 1.0, 1.0, 1.0), "fp4", "m.onnx")
