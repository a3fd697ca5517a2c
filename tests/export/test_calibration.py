"""vicmae.export.calibration: what a manifest keeps of a model's statistics, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_runs import NANO, write_bundle

from vicmae.errors import BundleError
from vicmae.export.bundle import MANIFEST, read_manifest, write_manifest
from vicmae.export.calibration import Calibration, Curve
from vicmae.export.engine.engine import FAKE_CALIBRATION

MADE = replace(FAKE_CALIBRATION, mean=(0.25,) * NANO.dim, fitted_on={"pictures": 400})


@given(
    st.floats(0.01, 1.0),
    st.floats(-50, 50),
    st.floats(0.01, 50),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8),
    st.booleans(),
)
def test_a_calibration_comes_back_as_it_was(
    cosine: float, intercept: float, slope: float, mean: list[float], clips: bool
) -> None:
    made = replace(
        MADE,
        folding_cosine=cosine,
        frame=Curve(intercept, slope),
        stretch=Curve(1.0, 2.0, 0.02) if clips else None,
        mean=tuple(mean),
    )
    assert Calibration.from_dict(json.loads(json.dumps(made.to_dict())), len(mean)) == made


def test_a_manifest_keeps_it_and_one_without_has_none(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    manifest = read_manifest(bundle)
    assert manifest.calibration is None
    write_manifest(bundle, replace(manifest, calibration=MADE))
    assert read_manifest(bundle).calibration == MADE
    assert read_manifest(bundle).fingerprint == manifest.fingerprint


def test_manifests_of_older_versions_are_not_calibrated(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    values = json.loads((bundle / MANIFEST).read_text())
    del values["calibration"]
    (bundle / MANIFEST).write_text(json.dumps(values))
    assert read_manifest(bundle).calibration is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"folding_cosine": 1.5}, "folding_cosine is 1.5; expected 0 to 1"),
        ({"folding_cosine": 0.0}, "folding_cosine is 0.0; expected above 0"),
        ({"max_background": 1}, "max_background is 1; expected below 1"),
        ({"varied": 0}, "varied is 0"),
        ({"frame": None}, "no curve for frames"),
        ({"frame": {"offset": 0.0, "slope": -1.0}}, "slope above 0"),
        ({"frame": {"offset": float("nan"), "slope": 1.0}}, "offset nan"),
        ({"frame": {"offset": 0.0, "slope": 1.0, "least": 0.0}}, "least 0.0"),
        ({"mean": "not base64!"}, "not base64 of float32"),
        ({"mean": "AAAA"}, "not base64 of float32"),
        ({"mean": MADE.to_dict()["mean"][:-4]}, "mean"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_damaged_calibration_is_refused_with_a_sentence(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    bundle = write_bundle(tmp_path / "b")
    values = json.loads((bundle / MANIFEST).read_text())
    values["calibration"] = {**MADE.to_dict(), **changed}
    (bundle / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=f"damaged or from another version: .*{why}"):
        read_manifest(bundle)


def test_the_mean_is_the_width_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 32 numbers; the model's vectors have 33"):
        Calibration.from_dict(MADE.to_dict(), 33)
    assert np.isclose(Calibration.from_dict(MADE.to_dict(), 32).mean, 0.25).all()
