"""Where does an engine file leave the trained network? Both run on the same pictures, and every layer is compared.

Needs torch; a server never imports this. The reference is PyTorch itself; the file's tensors are found by the names of
modules that to_onnx gives them and that a change of precision keeps.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import BundleError
from ..drift import LIMITS
from ..engine import why_it_does_not_start
from .to_onnx import EMBEDDING, AnyEncoder, as_exported, graph_of

VECTORS = "vectors"


@dataclass(frozen=True)
class LayerDrift:
    """How far one layer's output lies from PyTorch's: cosines over a picture's numbers, and |difference| / |output|."""

    layer: str
    mean_cosine: float
    min_cosine: float
    relative_error: float

    def is_bad(self, precision: str) -> bool:
        """Whether it is below the limit that holds for the vectors; no number is bad too."""
        return not self.min_cosine >= LIMITS[precision].min_cosine


def first_bad(layers: list[LayerDrift], precision: str) -> LayerDrift | None:
    """The first layer, in the order of the network, that is outside the limits of a precision."""
    return next((layer for layer in layers if layer.is_bad(precision)), None)


def explain_drift(encoder: AnyEncoder, path: Path, pixels: NDArray[np.uint8]) -> list[LayerDrift]:
    """pixels (N, S, S, 3) uint8 through PyTorch and through the ONNX file `path` -> each layer, in the network's order.

    BundleError for a file whose layers have other names: of another network, or not made by `vicmae export`.
    """
    trained = _torch_layers(graph_of(as_exported(encoder)), pixels)
    engine = _file_layers(path, list(trained), pixels)
    shared = [name for name in trained if name in engine]
    if VECTORS not in shared or len(shared) < 2:
        raise BundleError(
            f"{path} has none of this network's layers ({', '.join(list(trained)[:3])} …). Name a file that this "
            f"version of vicmae exported from this checkpoint."
        )
    return [_compare(name, trained[name], engine[name]) for name in shared]


def _torch_layers(graph: nn.Module, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Every module's output by its name, as they come; `embedding` is what the first of them takes."""
    found: dict[str, NDArray[np.float32]] = {}

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if EMBEDDING not in found and inputs and isinstance(inputs[0], Tensor) and inputs[0].is_floating_point():
            found[EMBEDDING] = inputs[0].numpy(force=True).copy()

    def leave(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                found[name] = output.numpy(force=True).copy()

        return keep

    for name, module in graph.named_modules():
        if name:
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave(name))
    with torch.inference_mode():
        found[VECTORS] = graph(torch.from_numpy(pixels)).numpy(force=True)
    return found


def _file_layers(path: Path, names: list[str], pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The tensors of these names that the file has, from a copy of it that gives them out."""
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf and onnx raise many kinds on a file that is none
        raise BundleError(why_it_does_not_start(path, error)) from error
    made = {name for node in model.graph.node for name in node.output} - {VECTORS}
    wanted = [name for name in names if name in made]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in [*wanted, VECTORS])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "layers.onnx"
        onnx.save(model, copy, save_as_external_data=True)
        try:
            session = onnxruntime.InferenceSession(copy, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise BundleError(why_it_does_not_start(path, error)) from error
        outputs = session.run(None, {session.get_inputs()[0].name: pixels})
    return {name: np.asarray(out, np.float32) for name, out in zip([*wanted, VECTORS], outputs, strict=True)}


def _compare(name: str, trained: NDArray[np.float32], engine: NDArray[np.float32]) -> LayerDrift:
    if trained.shape != engine.shape:
        raise BundleError(
            f"Layer {name} gives {engine.shape} in the file and {trained.shape} in the checkpoint: another network."
        )
    one, other = (side.reshape(len(side), -1).astype(np.float64) for side in (trained, engine))
    cosine = (one * other).sum(axis=1) / np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), 1e-30)
    error = float(np.linalg.norm(one - other)) / max(float(np.linalg.norm(one)), 1e-30)
    return LayerDrift(name, float(cosine.mean()), float(cosine.min()), error)
