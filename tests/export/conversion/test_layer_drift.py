"""vicmae.export.conversion.layer_drift: the first layer that left the trained network is named."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from made_runs import nano_encoder, noise_pixels, write_bundle

from vicmae.errors import BundleError
from vicmae.export.conversion.layer_drift import LayerDrift, explain_drift, first_bad
from vicmae.export.conversion.quantize import FILES, write_precision

ENCODER = nano_encoder()
PIXELS = noise_pixels(4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("explained") / "bundle")


def sabotage(path: Path, out: Path, layer: str) -> Path:
    """A copy of the file in which one layer has its matrix turned round."""
    model = onnx.load(path)
    constants = {t.name: t for t in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    node = maker[layer]
    if node.op_type == "Add":
        product = next(maker[name] for name in node.input if name in maker)
        node = product
    matrix = next(constants[name] for name in node.input if name in constants)
    turned = np.flip(onnx.numpy_helper.to_array(matrix), axis=-1).copy() * 1.5
    matrix.CopyFrom(onnx.numpy_helper.from_array(turned, matrix.name))
    onnx.save(model, out)
    return out


def test_a_faithful_file_has_no_bad_layer(bundle: Path) -> None:
    layers = explain_drift(ENCODER, bundle / "model.onnx", PIXELS)
    assert first_bad(layers, "fp32") is None
    assert layers[0].layer == "embedding" and layers[-1].layer == "vectors"
    assert max(layer.relative_error for layer in layers) < 1e-5


@pytest.mark.parametrize("layer", ["blocks.0.attn.qkv", "blocks.0.mlp.fc2", "blocks.1.mlp.fc1", "norm"])
def test_the_sabotaged_layer_is_the_first_bad_one(bundle: Path, tmp_path: Path, layer: str) -> None:
    layers = explain_drift(ENCODER, sabotage(bundle / "model.onnx", tmp_path / "m.onnx", layer), PIXELS)
    bad = first_bad(layers, "fp32")
    assert bad is not None and bad.layer == layer
    assert all(not x.is_bad("fp32") for x in layers[: layers.index(bad)])
    assert layers[-1].is_bad("fp32")


@pytest.mark.parametrize("precision", ["fp16", "int8-static"])
def test_other_precisions_keep_the_names_of_layers(bundle: Path, tmp_path: Path, precision: str) -> None:
    path = tmp_path / FILES[precision]
    write_precision(precision, bundle / "model.onnx", path, [noise_pixels(8)])
    layers = explain_drift(ENCODER, path, PIXELS)
    faithful = explain_drift(ENCODER, bundle / "model.onnx", PIXELS)
    assert [x.layer for x in layers] == [x.layer for x in faithful]
    assert first_bad(layers, precision.partition("-")[0]) is None
    assert layers[-1].relative_error > faithful[-1].relative_error


def test_a_sabotaged_fp16_file_is_explained_too(bundle: Path, tmp_path: Path) -> None:
    bad_fp32 = sabotage(bundle / "model.onnx", tmp_path / "m.onnx", "blocks.1.attn.proj")
    write_precision("fp16", bad_fp32, tmp_path / "model.fp16.onnx", [])
    bad = first_bad(explain_drift(ENCODER, tmp_path / "model.fp16.onnx", PIXELS), "fp16")
    assert bad is not None and bad.layer == "blocks.1.attn.proj"


def test_no_number_is_outside_the_limits() -> None:
    assert LayerDrift("x", 1.0, float("nan"), 0.0).is_bad("int8")


def test_files_that_hold_no_such_layers_are_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"this is no graph" * 20)
    with pytest.raises(BundleError, match="text.onnx is not an ONNX file"):
        explain_drift(ENCODER, tmp_path / "text.onnx", PIXELS)
    model = onnx.load(bundle / "model.onnx")
    for node in model.graph.node:
        node.input[:] = [name.replace("blocks.", "x.").replace("norm", "n") for name in node.input]
        node.output[:] = [name.replace("blocks.", "x.").replace("norm", "n") for name in node.output]
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.replace("blocks.", "x.").replace("norm", "n")
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.input[:] = ["tokens" if name == "embedding" else name for name in node.input]
        node.output[:] = ["tokens" if name == "embedding" else name for name in node.output]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(BundleError, match="other.onnx has none of this network's layers"):
        explain_drift(ENCODER, tmp_path / "other.onnx", PIXELS)
