"""vicmae.export.conversion.quantize: the same graph in other precisions, and what stays in fp32."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from made_runs import NANO, nano_encoder, noise_pixels, write_bundle
from numpy.typing import NDArray

from vicmae.errors import InvalidRequest
from vicmae.export.conversion.quantize import FILES, KEPT_IN_FP32, check_precisions, gate_of, to_fp16, write_precision
from vicmae.export.conversion.to_onnx import write_onnx
from vicmae.export.drift import compare, require_within_limits
from vicmae.export.engine import OnnxRuntimeEngine
from vicmae.export.engine.openvino_engine import core
from vicmae.export.torch_engine import TorchEngine
from vicmae.model.encoder import Encoder

ENCODER = nano_encoder()
PIXELS = noise_pixels(20, seed=9)
FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    bundle = write_bundle(tmp_path_factory.mktemp("precisions") / "bundle")
    calibration = [noise_pixels(8, seed=seed) for seed in range(4)]
    for precision in ("fp16", "int8-static"):
        write_precision(precision, bundle / "model.onnx", bundle / FILES[precision], calibration)
    return {precision: bundle / name for precision, name in FILES.items()}


def embed(path: Path) -> NDArray[np.float32]:
    return OnnxRuntimeEngine(path, ENCODER.spec, "f", "nano", threads=1).embed(PIXELS)


@pytest.mark.parametrize("precision", FILES)
def test_every_precision_gives_the_trained_vectors_at_any_batch(files: dict[str, Path], precision: str) -> None:
    engine = OnnxRuntimeEngine(files[precision], ENCODER.spec, "f", "nano", gate_of(precision), threads=1)
    vectors = engine.embed(PIXELS)
    drift = compare(TorchEngine(ENCODER, "nano").embed(PIXELS), vectors, "made")
    require_within_limits(drift, gate_of(precision), precision)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    alone = engine.embed(PIXELS[3:4])
    assert (alone @ vectors[3]).item() > 0.999
    model = onnx.load(files[precision])
    assert [v.name for v in model.graph.input] == ["pixels"] and [v.name for v in model.graph.output] == ["vectors"]


def test_lower_precisions_are_smaller(files: dict[str, Path]) -> None:
    size = {precision: path.stat().st_size for precision, path in files.items()}
    assert max(size["fp16"], size["int8-static"]) < 0.6 * size["fp32"]


def test_fp16_keeps_norms_softmax_and_pooling_in_fp32(files: dict[str, Path]) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(files["fp16"]), strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    kind = {v.name: v.type.tensor_type.elem_type for v in [*model.graph.value_info, *model.graph.output]}
    kind |= {t.name: t.data_type for t in model.graph.initializer}
    by_type: dict[str, set[int]] = {}
    for node in model.graph.node:
        by_type.setdefault(node.op_type, set()).add(kind[node.output[0]])
    assert by_type["MatMul"] == by_type["Gelu"] == {HALF}
    assert {kind[n.input[0]] for n in model.graph.node if n.op_type in KEPT_IN_FP32} == {FLOAT}
    for op in ("LayerNormalization", "Softmax", "ReduceMean", "ReduceL2", "Clip"):
        assert by_type[op] == {FLOAT}, op


def test_fp16_of_an_untrained_network_whose_norms_share_their_weights(tmp_path: Path) -> None:
    untrained = Encoder(NANO, NANO.input_spec(32)).eval()
    write_onnx(untrained, tmp_path / "m.onnx")
    to_fp16(tmp_path / "m.onnx", tmp_path / "half.onnx")
    graph = onnx.load(tmp_path / "half.onnx").graph
    assert len({name for node in graph.node for name in node.output}) == sum(len(node.output) for node in graph.node)
    pixels = noise_pixels(3)
    whole, half = (
        onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"]).run(
            ["vectors"], {"pixels": pixels}
        )[0]
        for name in ("m.onnx", "half.onnx")
    )
    assert (whole * half).sum(axis=1).min() > 0.999


def test_fp16_does_not_go_down_and_up_between_nodes_in_fp32(files: dict[str, Path]) -> None:
    graph = onnx.load(files["fp16"]).graph
    maker = {name: node for node in graph.node for name in node.output}

    def before(node: onnx.NodeProto) -> onnx.NodeProto:
        """What computes its first input; casts are looked through."""
        made = maker[node.input[0]]
        return before(made) if made.op_type == "Cast" else made

    assert [before(maker["vectors"]).op_type, before(before(maker["vectors"])).op_type] == ["Div", "ReduceMean"]
    down = [n.output[0] for n in graph.node if n.op_type == "Cast" and n.attribute[0].i == HALF]
    up = {n.input[0] for n in graph.node if n.op_type == "Cast" and n.attribute[0].i == FLOAT}
    assert not set(down) & up


def test_int8_is_of_the_matrices_alone(files: dict[str, Path]) -> None:
    products = 4 * NANO.depth  # qkv, proj, fc1, fc2; that of the pixels stays in fp32
    static = onnx.load(files["int8-static"])
    pixels = next(node for node in static.graph.node if node.op_type == "MatMul")
    assert pixels.output[0] == "matmul" and "Dequantize" not in pixels.input[0]
    assert Counter(node.op_type for node in static.graph.node)["MatMul"] == products + 2 * NANO.depth + 1
    assert {(o.domain or "ai.onnx") for o in static.opset_import} == {"ai.onnx"}


def test_static_scales_are_symmetric_and_signed(files: dict[str, Path]) -> None:
    """TensorRT's parser takes no other zero point than 0."""
    graph = onnx.load(files["int8-static"]).graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    zeros = [values[n.input[2]] for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert zeros and all(zero.dtype == np.int8 and not zero.any() for zero in zeros)


def test_openvino_reads_the_static_file_as_onnx_runtime_does(files: dict[str, Path]) -> None:
    pytest.importorskip("openvino", reason="needs the extra openvino")
    compiled = core().compile_model(files["int8-static"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (vectors,) = compiled({0: PIXELS}).values()
    assert ((vectors * embed(files["int8-static"])).sum(axis=1)).min() > 0.999


@pytest.mark.parametrize(
    ("wished", "calibrated", "why"),
    [
        (["fp8"], False, "--precision fp8 is not known; known are fp32, fp16, int8-static"),
        (["int8"], False, "picture.s vector depended on its neighbours; it is gone. Ask for int8-static"),
        (["fp16", "fp16"], False, "--precision fp16 is given 2 times; give it once"),
        (["int8-static"], False, "int8-static needs pictures .* --calibrate"),
        (["fp16"], True, "--calibrate is for --precision int8-static only"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wished: list[str], calibrated: bool, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        check_precisions(wished, calibrated)


def test_fp32_is_always_written_and_the_rest_in_one_order() -> None:
    assert check_precisions([], False) == check_precisions(["fp32"], False) == []
    assert check_precisions(["int8-static", "fp16", "fp32"], True) == ["fp16", "int8-static"]
