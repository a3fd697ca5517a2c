"""vicmae.export.to_onnx: the exported graph is the trained encoder, and the gate keeps out what is not."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from made_runs import NANO, nano_encoder, noise_pixels, write_bundle
from numpy.typing import NDArray

from vicmae.errors import BundleError, DriftError
from vicmae.export import to_onnx
from vicmae.export.bundle import read_manifest
from vicmae.export.choice import open_engine
from vicmae.export.to_onnx import PooledEncoder, export_bundle, made_up_pixels
from vicmae.export.torch_engine import TorchEngine
from vicmae.media.spec import InputSpec
from vicmae.model.config import ModelConfig
from vicmae.model.encoder import Encoder

ENCODER = nano_encoder()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = write_bundle(tmp_path_factory.mktemp("graph") / "bundle")
    return bundle / "model.onnx"


@pytest.fixture(scope="module")
def broken_graph(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that went wrong: one matrix has its columns turned round."""
    model = onnx.load(graph)
    matrix = next(t for t in model.graph.initializer if len(t.dims) == 2 and min(t.dims) >= 32)
    turned = onnx.numpy_helper.to_array(matrix)[:, ::-1].copy()
    matrix.CopyFrom(onnx.numpy_helper.from_array(turned, matrix.name))
    path = tmp_path_factory.mktemp("broken") / "model.onnx"
    onnx.save(model, path)
    return path


def instead(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """Exporting takes seconds; what stands around it needs no new graph each time."""
    monkeypatch.setattr(to_onnx, "write_onnx", lambda encoder, path: path.write_bytes(graph.read_bytes()))


@pytest.fixture
def same_graph(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, graph)


def run(graph: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    (vectors,) = session.run(["vectors"], {"pixels": pixels})
    return np.asarray(vectors)


def reference(encoder: Encoder, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The definition, in double precision: normalise, encode, mean of the patch tokens, unit length."""
    mean, std = np.array(encoder.spec.mean), np.array(encoder.spec.std)
    pictures = torch.from_numpy(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).copy())
    double = nano_encoder().double()
    with torch.inference_mode():
        tokens = double(pictures)[:, 1:]
    features = tokens.mean(dim=1).numpy()
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_the_graph_gives_the_vectors_of_the_definition_at_any_batch(graph: Path, count: int) -> None:
    pixels = noise_pixels(count, seed=count)
    vectors = run(graph, pixels)
    assert vectors.shape == (count, 32) and vectors.dtype == np.float32
    assert np.abs(vectors - reference(ENCODER, pixels)).max() < 1e-5
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


def test_a_picture_has_the_same_vector_in_any_company(graph: Path) -> None:
    pixels = noise_pixels(6)
    assert np.abs(run(graph, pixels)[4] - run(graph, pixels[4:5])[0]).max() < 1e-6


def test_black_and_white_pictures_are_numbers(graph: Path) -> None:
    pixels = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    assert np.abs(run(graph, pixels) - reference(ENCODER, pixels)).max() < 1e-5


def test_the_graph_takes_bytes_and_needs_no_other_file(graph: Path) -> None:
    model = onnx.load(graph, load_external_data=False)
    (taken,) = model.graph.input
    assert taken.name == "pixels" and taken.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    shape = taken.type.tensor_type.shape.dim
    assert shape[0].dim_param and [d.dim_value for d in shape[1:]] == [32, 32, 3]
    assert not [t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert [p.name for p in graph.parent.glob("*.onnx*")] == ["model.onnx"]


def test_the_graph_tells_nothing_of_the_machine_it_was_made_on(graph: Path) -> None:
    content = graph.read_bytes()
    for path in (str(Path(__file__).parents[1]), sys.prefix, str(graph.parent)):
        assert path.encode() not in content


def test_normalisation_is_folded_into_the_patch_embedding(graph: Path) -> None:
    model = onnx.load(graph)
    kinds = [node.op_type for node in model.graph.node]
    assert "Conv" not in kinds
    before_the_product = kinds[: kinds.index("MatMul")]
    assert not {"Sub", "Div", "Mul", "Add"} & set(before_the_product)


@pytest.mark.parametrize(("mean", "std"), [((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), ((0.5, 0.4, 0.1), (0.5, 0.2, 0.9))])
def test_folding_holds_for_any_mean_and_deviation(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    encoder = Encoder(NANO, replace(NANO.input_spec(32), mean=mean, std=std)).eval()
    pixels = torch.from_numpy(noise_pixels(3))
    with torch.inference_mode():
        features = encoder.pooled(encoder.normalise(pixels))
        expected = torch.nn.functional.normalize(features, dim=1)
        assert torch.allclose(PooledEncoder(encoder)(pixels), expected, atol=1e-5)


OTHER_NETWORKS = [replace(NANO, class_token=False), replace(NANO, class_token=False, norm_of_mean=True)]


@pytest.mark.parametrize("config", [replace(NANO, norm_of_mean=True), *OTHER_NETWORKS])
def test_networks_without_class_token_or_with_another_pooling(config: ModelConfig) -> None:
    encoder = Encoder(config, config.input_spec(32)).eval()
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    pixels = torch.from_numpy(noise_pixels(3))
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(encoder.pooled(encoder.normalise(pixels)), dim=1)
        assert torch.allclose(PooledEncoder(encoder)(pixels), expected, atol=1e-5)


def test_a_network_without_class_token_becomes_a_bundle_that_says_how_it_pools(tmp_path: Path) -> None:
    encoder = Encoder(OTHER_NETWORKS[1], NANO.input_spec(32)).eval()
    manifest = export_bundle(encoder, "v", tmp_path / "b")
    assert manifest.pooling.startswith("final LayerNorm of the mean of the patch tokens")
    assert manifest.pooling in (tmp_path / "b" / "card.md").read_text()
    assert not ModelConfig.from_dict(read_manifest(tmp_path / "b").architecture).class_token
    with open_engine(tmp_path / "b", threads=1) as engine:
        assert engine.fingerprint == TorchEngine(encoder, "v").fingerprint


def test_made_up_pixels_are_the_same_everywhere_and_differ() -> None:
    spec = InputSpec(size=32, patch=8, dim=4)
    pixels = made_up_pixels(spec, 8)
    assert pixels.shape == (8, 32, 32, 3) and pixels.dtype == np.uint8
    assert (pixels == made_up_pixels(spec, 8)).all() and not (pixels == made_up_pixels(spec, 8, seed=1)).all()
    assert len({p.tobytes() for p in pixels}) == 8 and pixels.std(axis=(1, 2, 3)).min() > 10


@pytest.mark.usefixtures("same_graph")
def test_a_bundle_states_its_model_and_its_drift(tmp_path: Path) -> None:
    given = [noise_pixels(60), noise_pixels(60, seed=1)]
    facts = {"data": "made"}
    manifest = export_bundle(ENCODER, "nano", tmp_path / "b", given, "120 made pictures", facts)
    assert read_manifest(tmp_path / "b") == manifest
    assert manifest.spec == ENCODER.spec and manifest.architecture == NANO.to_dict()
    assert manifest.parameters == sum(p.numel() for p in ENCODER.parameters())
    assert manifest.fingerprint == TorchEngine(ENCODER, "x").fingerprint
    assert manifest.provenance == facts and manifest.quality == {}
    drift = manifest.engines["model.onnx"].drift
    assert (drift.pictures, drift.source) == (120, "120 made pictures")
    assert drift.min_cosine > 0.9999 and drift.top10_overlap > 0.95
    assert manifest.engines["model.onnx"].bytes == (tmp_path / "b" / "model.onnx").stat().st_size
    open_engine(tmp_path / "b", threads=1).close()


@pytest.mark.usefixtures("same_graph")
def test_a_bundle_may_be_exported_again(tmp_path: Path) -> None:
    export_bundle(ENCODER, "first", tmp_path / "b")
    (tmp_path / "b" / "model.onnx.partial").write_bytes(b"of an export that was killed")
    export_bundle(ENCODER, "second", tmp_path / "b")
    assert read_manifest(tmp_path / "b").name == "second"
    assert not (tmp_path / "b" / "model.onnx.partial").exists()


def test_an_engine_that_drifts_is_not_written_unless_forced(
    tmp_path: Path, broken_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, broken_graph)
    with pytest.raises(DriftError, match="model.onnx: mean cosine to the trained model"):
        export_bundle(ENCODER, "nano", tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []
    manifest = export_bundle(ENCODER, "nano", tmp_path / "b", force=True)
    assert manifest.engines["model.onnx"].drift.min_cosine < 0.9999
    with pytest.raises(DriftError, match="the drift report"):
        open_engine(tmp_path / "b", threads=1)


@pytest.mark.usefixtures("same_graph")
def test_a_failed_export_leaves_the_bundle_that_was_there(
    tmp_path: Path, broken_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_bundle(ENCODER, "good", tmp_path / "b")
    instead(monkeypatch, broken_graph)
    with pytest.raises(DriftError):
        export_bundle(ENCODER, "bad", tmp_path / "b")
    with open_engine(tmp_path / "b", threads=1) as engine:
        assert engine.name == "good"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="holds other files"):
        export_bundle(ENCODER, "nano", tmp_path)
    with pytest.raises(BundleError, match="is a file"):
        export_bundle(ENCODER, "nano", tmp_path / "thesis.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("same_graph")
def test_no_picture_to_measure_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no readable picture"):
        export_bundle(ENCODER, "nano", tmp_path / "b", iter([]))
