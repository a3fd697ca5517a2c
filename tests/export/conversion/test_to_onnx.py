"""vicmae.export.conversion.to_onnx: the exported graph is the trained encoder."""

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

from vicmae.export.bundle import read_manifest
from vicmae.export.conversion import export_bundle, to_onnx
from vicmae.export.conversion.to_onnx import EMBEDDING, OPSET, PooledEncoder, graph_of, save
from vicmae.export.engine import open_engine
from vicmae.export.torch_engine import TorchEngine
from vicmae.model.config import ModelConfig
from vicmae.model.encoder import Encoder

ENCODER = nano_encoder()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = write_bundle(tmp_path_factory.mktemp("graph") / "bundle")
    return bundle / "model.onnx"


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
    for path in (str(Path(__file__).parents[2]), sys.prefix, str(graph.parent)):
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


def test_the_opset_is_one_that_all_runtimes_read(graph: Path) -> None:
    model = onnx.load(graph)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    onnx.checker.check_model(model, full_check=True)


def test_tensors_carry_the_names_of_their_modules(graph: Path) -> None:
    made = [name for node in onnx.load(graph).graph.node for name in node.output]
    parts = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.act", "mlp.fc2"]
    wanted = [EMBEDDING, *(f"blocks.{i}.{part}" for i in range(NANO.depth) for part in parts), "norm", "vectors"]
    assert [name for name in made if name in wanted] == wanted
    assert {"blocks.0", "blocks.1"} < set(made) and len(set(made)) == len(made)


def test_patch_tokens_are_those_whose_mean_the_vector_is(tmp_path: Path) -> None:
    pixels = torch.from_numpy(noise_pixels(3))
    with torch.inference_mode():
        vectors, tokens = graph_of(ENCODER, patch_tokens=True)(pixels)
        assert torch.equal(vectors, graph_of(ENCODER)(pixels))
        expected = ENCODER(ENCODER.normalise(pixels))[:, 1:]
    assert tokens.shape == (3, ENCODER.spec.tokens, 32) and torch.allclose(tokens, expected, atol=1e-5)
    to_onnx.write_onnx(ENCODER, tmp_path / "m.onnx", patch_tokens=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    out = session.run(["vectors", "patch_tokens"], {"pixels": pixels.numpy()})
    assert np.abs(out[0] - vectors.numpy()).max() < 1e-5 and np.abs(out[1] - tokens.numpy()).max() < 1e-4


def test_weights_too_large_for_one_file_go_beside_it(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "LARGEST_FILE_BYTES", 50_000)
    save(onnx.load(graph), tmp_path / "m.onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data"}
    assert (tmp_path / "m.onnx.data").stat().st_size > 50_000
    pixels = noise_pixels(2)
    assert np.array_equal(run(tmp_path / "m.onnx", pixels), run(graph, pixels))
