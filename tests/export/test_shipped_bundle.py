"""The bundle that comes with the program: it opens, is small, and is as good as its manifest says."""

from pathlib import Path

import numpy as np
import pytest

from vicmae.export.bundle import CARD, Manifest, load_canary, read_manifest
from vicmae.export.drift import LIMITS
from vicmae.export.engine import open_engine
from vicmae.settings import SHIPPED_BUNDLE
from vicmae.training.evaluate import embed_samples, knn_accuracy, retrieval_scores
from vicmae.training.labelled import read_labelled

EVAL = Path(__file__).parents[3] / "shared" / "data" / "eval"
needs_data = pytest.mark.skipif(not EVAL.is_dir(), reason="needs the evaluation pack in ../shared/data/eval")

KNN, RETRIEVAL = "knn image_cls", "retrieval retrieval_ucf_scenes"
# What a public encoder for copies scores (docs/models.md), for scenes less one standard error of 125 queries.
FLOOR_OF_KNN, FLOOR_OF_RETRIEVAL = 0.81, 0.62


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(SHIPPED_BUNDLE)


def test_it_opens_and_is_small(manifest: Manifest) -> None:
    with open_engine(SHIPPED_BUNDLE, threads=1) as engine:
        assert engine.name == manifest.name == "vicmae-lite"
    assert sum(p.stat().st_size for p in SHIPPED_BUNDLE.iterdir()) < 20e6


def test_its_drift_was_measured_on_real_pictures(manifest: Manifest) -> None:
    assert {"model.onnx", "model.int8-static.onnx"} == set(manifest.engines)
    for file in manifest.engines.values():
        assert file.drift.pictures >= 100 and "real" in file.drift.source
        assert file.drift.min_cosine >= LIMITS[file.precision].min_cosine


OTHER_ENGINES = ["onnxruntime-int8-static", "openvino-fp32", "openvino-int8-static"]


@pytest.mark.parametrize("name", OTHER_ENGINES)
def test_every_engine_gives_the_same_vectors_and_patch_tokens(name: str) -> None:
    if name.startswith("openvino"):
        pytest.importorskip("openvino", reason="OpenVINO is not installed (extra openvino)")
    pixels, _ = load_canary(SHIPPED_BUNDLE)
    with open_engine(SHIPPED_BUNDLE, threads=1) as plain, open_engine(SHIPPED_BUNDLE, threads=1, engine=name) as other:
        assert plain.fingerprint == other.fingerprint
        (vectors, patches), (like, likewise) = plain.embed_with_patches(pixels), other.embed_with_patches(pixels)
        assert (other.embed(pixels) == like).all()
    assert (vectors * like).sum(axis=1).min() > LIMITS[other.precision].min_cosine
    assert patches.shape == likewise.shape == (len(pixels), plain.spec.tokens, plain.spec.dim)
    lengths = np.linalg.norm(patches, axis=-1) * np.linalg.norm(likewise, axis=-1)
    assert ((patches * likewise).sum(axis=-1) / lengths).mean() > 0.97


def test_its_card_names_the_training_and_the_scores(manifest: Manifest) -> None:
    card = (SHIPPED_BUNDLE / CARD).read_text()
    assert "make train-lite" in manifest.provenance["command"] and manifest.provenance["command"] in card
    assert f"10-NN {manifest.quality[KNN]['10-NN']}" in card
    assert f"R@1 {manifest.quality[RETRIEVAL]['R@1']}" in card
    assert manifest.fingerprint in card


def test_it_is_calibrated(manifest: Manifest) -> None:
    assert manifest.calibration is not None and manifest.calibration.fitted_on


def test_it_beats_the_floor(manifest: Manifest) -> None:
    assert manifest.quality[KNN]["10-NN"] > FLOOR_OF_KNN
    assert manifest.quality[RETRIEVAL]["R@1"] > FLOOR_OF_RETRIEVAL


@needs_data
@pytest.mark.parametrize(("name", "near"), [("onnxruntime-fp32", 0.005), ("onnxruntime-int8-static", 0.03)])
def test_its_retrieval_is_as_recorded(manifest: Manifest, name: str, near: float) -> None:
    recorded = manifest.quality[RETRIEVAL]
    with open_engine(SHIPPED_BUNDLE, engine=name) as engine:
        known, queries, bad = embed_samples(engine, read_labelled(EVAL, "retrieval_ucf_scenes", "group"))
    assert (len(known.labels), len(queries.labels), len(bad)) == (
        recorded["known"],
        recorded["queries"],
        recorded["unreadable"],
    )
    for score, value in retrieval_scores(known, queries).items():
        assert value == pytest.approx(recorded[score], abs=near), score


@needs_data
def test_its_nearest_neighbours_are_as_recorded(manifest: Manifest) -> None:
    recorded = manifest.quality[KNN]
    with open_engine(SHIPPED_BUNDLE) as engine:
        known, queries, _ = embed_samples(engine, read_labelled(EVAL, "image_cls", "label"))
    assert knn_accuracy(known, queries, 10) == pytest.approx(recorded["10-NN"], abs=0.005)
