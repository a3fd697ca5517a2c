"""model.onnx -> the same graph in other precisions. Needs onnx; a server never imports this.

It measures nothing: make_bundle holds every file against PyTorch before it is written.

fp16         for GPUs: matrices in half precision; LayerNorm, softmax, pooling and unit length stay in fp32
int8-static  QuantizeLinear and DequantizeLinear around matrix products and convolutions, scales fixed by calibration
             pictures: what OpenVINO and ONNX Runtime both read

Scales that are made from the values of a batch (dynamic int8) are not offered: with them a picture's vector depends on
its neighbours (batch_invariance.py).
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...errors import InvalidRequest
from .to_onnx import is_large, save
from .weights import store_exact_halves, with_plain_weights

Batches = list[NDArray[np.uint8]]

FILES = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "int8-static": "model.int8-static.onnx",
}
NORMS = ["LayerNormalization", "RMSNormalization", "Softmax"]
POOLING = ["ReduceMean", "ReduceMax", "ReduceL2", "Clip", "Expand", "Div"]  # and the division to unit length
KEPT_IN_FP32 = NORMS + POOLING
# The trunk's first convolutions stay in fp32 beside int8. Of the untrained start at 160 px, over 500 pictures: only the
# stem in fp32: mean cosine 0.987, least 0.936, top-10 overlap 0.88; with group 0: 0.993, 0.976, 0.92; with group 1 too:
# 0.997, 0.992, 0.94, at 0.85 of the rate of the second.
FIRST = ("trunk.conv_stem.", "trunk.blocks.0.", "trunk.blocks.1.")


def gate_of(precision: str) -> str:
    """The precision whose limits of drift hold: both kinds of int8 are int8."""
    return precision.partition("-")[0]


def check_precisions(wished: list[str], calibrated: bool) -> list[str]:
    """The precisions to write after fp32, which is always written; InvalidRequest for a wish that makes no sense."""
    if "int8" in wished:
        raise InvalidRequest(
            "--precision int8 took its scales from the batch, so that a picture's vector depended on its neighbours; "
            "it is gone. Ask for int8-static, with --calibrate FOLDER."
        )
    unknown = [word for word in wished if word not in FILES]
    if unknown:
        raise InvalidRequest(f"--precision {unknown[0]} is not known; known are {', '.join(FILES)}.")
    repeated = [word for word in FILES if wished.count(word) > 1]
    if repeated:
        raise InvalidRequest(f"--precision {repeated[0]} is given {wished.count(repeated[0])} times; give it once.")
    if "int8-static" in wished and not calibrated:
        raise InvalidRequest(
            "--precision int8-static needs pictures to fix its scales on. Name a folder of them with --calibrate."
        )
    if calibrated and "int8-static" not in wished:
        raise InvalidRequest("--calibrate is for --precision int8-static only, which was not asked for.")
    return [word for word in FILES if word in wished and word != "fp32"]


def write_precision(precision: str, fp32: Path, out: Path, calibration: Batches) -> None:
    """Writes the graph of the file `fp32` in another precision; `calibration` is for int8-static."""
    writers: dict[str, Callable[[], None]] = {
        "fp16": lambda: to_fp16(fp32, out),
        "int8-static": lambda: to_static_int8(fp32, out, calibration),
    }
    writers[precision]()


def to_fp16(fp32: Path, out: Path) -> None:
    """Half precision for GPUs. A CPU runs it too, slowly."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = with_plain_weights(onnx.load(fp32))
    constants = {tensor.name for tensor in model.graph.initializer}
    computed = [value for value in model.graph.value_info if value.name not in constants]
    del model.graph.value_info[:]  # with those of constants the converter takes the norms' weights for fp16
    model.graph.value_info.extend(computed)
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=KEPT_IN_FP32, disable_shape_infer=True)
    _drop_repeated_casts(half.graph)
    _drop_needless_casts(half.graph)
    del half.graph.value_info[:]  # of tensors that are gone; every runtime infers its own
    OnnxModel(half).topological_sort()
    save(half, out)


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """The converter raises a constant once for each node that reads it, under one name: one is enough.

    Equal constants are one tensor in the graph, such as the norms' weights of an untrained network.
    """
    made: set[str] = set()
    for node in list(graph.node):
        if node.output[0] in made:
            graph.node.remove(node)
        made.add(node.output[0])


def _drop_needless_casts(graph: onnx.GraphProto) -> None:
    """The converter goes down to fp16 and up again between nodes in fp32 and before an output: goes straight on."""
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}

    def goes_up(node: onnx.NodeProto | None) -> bool:
        return node is not None and node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT

    for node in graph.node:
        for i, name in enumerate(node.input):
            low = casts[name].input[0] if goes_up(casts.get(name)) else name if goes_up(node) else ""
            if low in casts and casts[low].name.endswith("_cast_to_fp16_node"):
                node.input[i] = casts[low].input[0]
    while unread := _casts_unread(graph):
        for node in unread:
            graph.node.remove(node)


def _casts_unread(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    return [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in read]


def to_static_int8(fp32: Path, out: Path, calibration: Batches) -> None:
    """Static int8 of the convolutions, and of the products with a constant matrix.

    A graph of matrix products alone is quantised symmetrically, so that TensorRT's parser takes it as well. Behind
    ReLU6 half of a signed range would be empty: with convolutions activations are unsigned, and their ranges leave out
    the largest of 10,000 values.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    model = _load_for_quantising(fp32)
    convolutional = any(node.op_type == "Conv" for node in model.graph.node)
    choices: dict[str, Any] = {
        "activation_type": QuantType.QUInt8 if convolutional else QuantType.QInt8,
        "calibrate_method": CalibrationMethod.Percentile if convolutional else CalibrationMethod.MinMax,
    }
    options: dict[str, Any] = {"ActivationSymmetric": not convolutional, "WeightSymmetric": True}
    if convolutional:
        options |= {"CalibPercentile": 99.99, "CalibStridedMinMax": 1}  # a batch at a time: all at once take gigabytes
    with redirect_stdout(StringIO()):  # it prints a line for each batch
        quantize_static(
            model,
            out,
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=_convolutions(model) + _products(model) if convolutional else _products(model)[1:],
            op_types_to_quantize=["Conv", "Clip", "Add", "MatMul"] if convolutional else ["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=is_large(model),
            extra_options=options,
            **choices,
        )
    if convolutional:
        quantised = onnx.load(out)
        store_exact_halves(quantised)
        onnx.save(quantised, out)


def _reader(calibration: Batches) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.set_range(0, len(calibration))

        def __len__(self) -> int:
            return len(calibration)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.batches = iter(calibration[start_index:end_index])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"pixels": batch}

    return Pictures()


def _load_for_quantising(fp32: Path) -> onnx.ModelProto:
    """The graph with fp32 constants, marked as having its shapes already: the exporter wrote them."""
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = with_plain_weights(onnx.load(fp32))
    add_pre_process_metadata(model)
    return model


def _convolutions(model: onnx.ModelProto) -> list[str]:
    """The names of the convolutions, of ReLU6 behind them and of the additions of their outputs, but for the first few.

    What reads pixels fills its range and feeds everything after it: in int8 it costs the most and gains the least.
    """
    feature_maps: set[str] = set()
    chosen = []
    for node in model.graph.node:
        maps = {"Clip": node.input[:1], "Add": node.input}.get(node.op_type)
        if node.op_type == "Conv" or (maps is not None and feature_maps.issuperset(maps)):
            feature_maps.add(node.output[0])
            chosen.append(node)
    in_int8 = [i for i, node in enumerate(chosen) if node.op_type == "Conv" and not node.input[1].startswith(FIRST)]
    return [node.name for node in chosen[in_int8[0] :]]


def _products(model: onnx.ModelProto) -> list[str]:
    """The names of the products with a constant matrix; of a patch embedding's network the first is that of the pixels.

    Pixels fill their range, so int8 costs the most there and gains the least: on vicmae-tiny leaving it in fp32 raises
    the top-10 overlap from 0.989 to 0.991 (static: 0.980 to 0.987) at the same speed (in OpenVINO 2 to 10 % less).
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants]
