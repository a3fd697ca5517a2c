"""vicmae.export.conversion.weights: model.onnx of an encoder with a convolutional stem keeps its weights whole."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from made_conv import conv_encoder, write_conv_bundle
from made_runs import noise_pixels, write_bundle

from vicmae.errors import BundleError, CheckpointError
from vicmae.export.bundle import read_manifest
from vicmae.export.conversion import explain_drift, first_bad
from vicmae.export.conversion.quantize import to_static_int8
from vicmae.export.conversion.to_onnx import as_exported
from vicmae.export.conversion.weights import weights_of, with_plain_weights
from vicmae.export.drift import compare
from vicmae.export.engine import OnnxRuntimeEngine, open_engine, require_batch_invariance
from vicmae.export.torch_engine import TorchEngine, random_engine
from vicmae.model.conv_encoder import ConvEncoder
from vicmae.model.conv_vicmae import ConvViCMAE
from vicmae.training.pretrain.start import load_init

ENCODER = conv_encoder()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_conv_bundle(tmp_path_factory.mktemp("conv") / "bundle")


def test_the_weights_come_back_exactly(bundle: Path) -> None:
    weights, manifest = weights_of(bundle)
    expected = as_exported(ENCODER).state_dict()
    assert set(weights) == set(expected)
    for name, weight in expected.items():
        assert np.array_equal(weights[name], weight.numpy()), name
    assert manifest.architecture == ENCODER.config.to_dict()


def test_a_training_begins_with_the_weights_of_a_bundle(bundle: Path) -> None:
    model = ConvViCMAE(ENCODER.config, ENCODER.spec, queue=8)
    load_init(model, bundle)
    state = model.state_dict()
    for name, weight in as_exported(ENCODER).state_dict().items():
        assert torch.equal(state[name], weight), name


def test_the_rounded_network_is_the_model(bundle: Path) -> None:
    pixels = noise_pixels(5, ENCODER.spec.size)
    rounded = TorchEngine(as_exported(ENCODER), "conv")
    assert read_manifest(bundle).fingerprint == rounded.fingerprint != TorchEngine(ENCODER, "conv").fingerprint
    with open_engine(bundle, threads=1) as engine:
        vectors, tokens = engine.embed_with_patches(pixels)
        assert np.abs(vectors - rounded.embed(pixels)).max() < 1e-5
        assert np.array_equal(vectors, engine.embed(pixels))
    with torch.inference_mode():
        encoder = as_exported(ENCODER)
        assert isinstance(encoder, ConvEncoder)
        expected = encoder(encoder.normalise(torch.from_numpy(pixels)))
    assert tokens.shape == expected.shape and np.abs(tokens - expected.numpy()).max() < 1e-4


def test_a_network_that_is_rounded_stays_as_it_was() -> None:
    before = {name: weight.clone() for name, weight in ENCODER.state_dict().items()}
    once = as_exported(ENCODER)
    assert all(torch.equal(weight, before[name]) for name, weight in ENCODER.state_dict().items())
    twice = as_exported(once).state_dict()
    assert all(torch.equal(weight, twice[name]) for name, weight in once.state_dict().items())


@pytest.mark.parametrize("value", [7e4, float("nan"), float("-inf")])
def test_weights_that_fp16_cannot_hold_are_refused(value: float) -> None:
    encoder = as_exported(ENCODER)
    assert isinstance(encoder, ConvEncoder)
    with torch.no_grad():
        encoder.projection.bias[0] = value
    with pytest.raises(CheckpointError, match=r"projection.bias holds numbers beyond 65504"):
        as_exported(encoder)


def test_the_file_is_half_as_large_as_its_weights(bundle: Path) -> None:
    numbers = sum(weight.numel() for weight in ENCODER.state_dict().values())
    assert (bundle / "model.onnx").stat().st_size < 2.2 * numbers


def test_onnx_runtime_casts_the_weights_once_when_it_loads(bundle: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    (cast,) = [node for node in onnx.load(tmp_path / "loaded.onnx").graph.node if node.op_type == "Cast"]
    assert cast.attribute[0].i == onnx.TensorProto.FLOAT, "of the pixels alone"


def test_openvino_reads_it(bundle: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    pixels = noise_pixels(3, ENCODER.spec.size)
    with open_engine(bundle, threads=1, engine="openvino-fp32") as engine:
        assert np.abs(engine.embed(pixels) - TorchEngine(as_exported(ENCODER), "conv").embed(pixels)).max() < 1e-4


def test_plain_weights_are_the_same_graph(bundle: Path, tmp_path: Path) -> None:
    model = with_plain_weights(onnx.load(bundle / "model.onnx"))
    assert onnx.TensorProto.FLOAT16 not in {tensor.data_type for tensor in model.graph.initializer}
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "plain.onnx")
    pixels = noise_pixels(2, ENCODER.spec.size)
    one, other = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["vectors"], {"pixels": pixels})[0]
        for path in (bundle / "model.onnx", tmp_path / "plain.onnx")
    )
    assert np.abs(one - other).max() < 1e-6


def test_static_int8_is_smaller_and_does_not_depend_on_the_batch(bundle: Path, tmp_path: Path) -> None:
    pixels = noise_pixels(40, ENCODER.spec.size)
    to_static_int8(bundle / "model.onnx", tmp_path / "q.onnx", [pixels[i : i + 8] for i in range(0, 40, 8)])
    assert (tmp_path / "q.onnx").stat().st_size < 0.8 * (bundle / "model.onnx").stat().st_size
    graph = onnx.load(tmp_path / "q.onnx").graph
    makers = {name: node for node in graph.node for name in node.output}
    read = [makers[node.input[0]].op_type for node in graph.node if node.op_type == "Conv"]
    assert read.count("DequantizeLinear") > 0.8 * len(read) and read[0] != "DequantizeLinear"
    heads = [name for node in graph.node if node.op_type == "Gemm" for name in node.input]
    assert heads and not any(makers[name].op_type == "DequantizeLinear" for name in heads if name in makers)
    with OnnxRuntimeEngine(tmp_path / "q.onnx", ENCODER.spec, "f", "conv", "int8", threads=1) as engine:
        drift = compare(TorchEngine(as_exported(ENCODER), "conv").embed(pixels), engine.embed(pixels), "made")
        assert drift.mean_cosine > 0.9, "another network would be at 0"
        require_batch_invariance(engine, pixels[:4], "q.onnx")


def test_drift_is_explained_layer_by_layer(bundle: Path) -> None:
    layers = explain_drift(ENCODER, bundle / "model.onnx", noise_pixels(2, ENCODER.spec.size))
    assert first_bad(layers, "fp32") is None and layers[-1].layer == "vectors"
    names = [layer.layer for layer in layers]
    assert (
        names.index("encoder.trunk.conv_stem") < names.index("encoder.whitening.4") < names.index("encoder.projection")
    )


def test_random_weights_of_its_architecture_run(bundle: Path) -> None:
    engine = random_engine(read_manifest(bundle))
    assert engine is not None
    assert engine.embed(noise_pixels(2, ENCODER.spec.size)).shape == (2, ENCODER.spec.dim)


def test_a_bundle_of_patches_does_not_give_its_weights_back(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="only an encoder with a convolutional stem keeps them whole"):
        weights_of(write_bundle(tmp_path / "b"))


def test_a_damaged_bundle_gives_no_weights(tmp_path: Path) -> None:
    broken = write_conv_bundle(tmp_path / "b")
    content = bytearray((broken / "model.onnx").read_bytes())
    content[-1] ^= 1
    (broken / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="is not the file that was exported"):
        weights_of(broken)
