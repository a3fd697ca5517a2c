"""The weights inside model.onnx of an encoder with a convolutional stem: stored in fp16, under their own names.

Each tensor of the encoder's state dict is an initialiser of the same name and shape in fp16, whether the graph uses it
or not; behind those that it uses stands a Cast to fp32 (and a Transpose where the exporter had transposed the matrix),
which runtimes compute once, when they load the file. So the file is half as large, and a training can begin with it.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ...errors import BundleError
from ..bundle import Manifest, read_manifest, require_unaltered

Weights = dict[str, NDArray[np.float32]]

MODEL = "model.onnx"
PREFIX = "encoder."  # where the exported graph holds the encoder
TRANSPOSED, AS_FP32 = ".transposed", ".fp32"  # what the graph makes of the stored weight of a name
LARGE_CONSTANT = 1024  # numbers; smaller ones gain nothing


def store_weights(model: onnx.ModelProto, state: Weights) -> None:
    """Puts the state dict into the graph as said above, in place of the fp32 constants that the exporter wrote."""
    graph = model.graph
    transposed = {weight.T.tobytes(): name for name, weight in state.items() if weight.ndim == 2}
    kept: list[onnx.TensorProto] = []
    cast: dict[str, onnx.NodeProto] = {}  # by what they make: the exporter keeps equal constants twice, or shares them
    renamed = {}
    for tensor in graph.initializer:
        name = stored = tensor.name.removeprefix(PREFIX)
        if name not in state and len(tensor.dims) == 2:
            name = transposed.get(numpy_helper.to_array(tensor).tobytes(), name)
            stored = name + TRANSPOSED
            if name in state:
                cast[stored] = onnx.helper.make_node("Transpose", [name], [stored], stored, perm=[1, 0])
        if name not in state:
            kept.append(tensor)
            continue
        renamed[tensor.name] = as_fp32 = stored + AS_FP32
        cast[as_fp32] = onnx.helper.make_node("Cast", [stored], [as_fp32], as_fp32, to=onnx.TensorProto.FLOAT)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(weight.astype(np.float16), name) for name, weight in state.items())
    computed = [*cast.values(), *graph.node]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    values = [value for value in graph.value_info if value.name not in renamed]
    for part, new in ((graph.node, computed), (graph.value_info, values)):
        del part[:]
        part.extend(new)


def with_plain_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph, in place, with fp32 constants where stored weights are cast, and without those that nobody uses."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    computed = []
    for node in graph.node:
        source = constants.get(node.input[0]) if len(node.input) == 1 else None
        if source is None or node.op_type not in ("Cast", "Transpose"):
            computed.append(node)
            continue
        value = numpy_helper.to_array(source)
        value = value.T if node.op_type == "Transpose" else value.astype(np.float32)
        constants[node.output[0]] = numpy_helper.from_array(np.ascontiguousarray(value), node.output[0])
    used = {name for node in computed for name in node.input}
    for part, new in ((graph.node, computed), (graph.initializer, [t for n, t in constants.items() if n in used])):
        del part[:]
        part.extend(new)
    return model


def store_exact_halves(model: onnx.ModelProto) -> None:
    """Stores in fp16, with a Cast behind, each large fp32 constant that loses nothing by it, in place."""
    stored, casts = [], []
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE_CONSTANT:
            value = numpy_helper.to_array(tensor)
            half = value.astype(np.float16)
            if np.array_equal(half.astype(np.float32), value):
                name = tensor.name + ".fp16"
                casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], name, to=onnx.TensorProto.FLOAT))
                tensor = numpy_helper.from_array(half, name)
        stored.append(tensor)
    for part, new in ((model.graph.initializer, stored), (model.graph.node, [*casts, *model.graph.node])):
        del part[:]
        part.extend(new)


def weights_of(bundle: Path) -> tuple[Weights, Manifest]:
    """-> (the encoder's state dict as fp32 arrays, its manifest), of a bundle folder.

    BundleError where the bundle is damaged, or holds another kind of network: only model.onnx of an encoder with a
    convolutional stem keeps the weights as they were.
    """
    manifest = read_manifest(bundle)
    if manifest.architecture.get("trunk") is None or MODEL not in manifest.engines:
        raise BundleError(
            f"{bundle} holds {manifest.name}, whose weights cannot be read back from {MODEL}: only an encoder with a "
            "convolutional stem keeps them whole there. Begin with a checkpoint instead."
        )
    require_unaltered(bundle, MODEL, manifest.engines[MODEL])
    stored = {t.name: t for t in onnx.load(bundle / MODEL).graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    return {name: numpy_helper.to_array(tensor).astype(np.float32) for name, tensor in stored.items()}, manifest
