"""A network -> model.onnx. Needs torch; a server never imports this. Knows nothing of bundles and of other precisions.

The exported graph takes uint8 pixels; normalisation, pooling and unit length are inside, so nobody outside can do them
wrongly. With a patch embedding, mean and standard deviation are folded into it, which becomes one matrix product; with
a convolutional stem they stand before it, because its padding is that of normalised pictures. Tensors carry the names
of the modules that made them (`blocks.3.mlp.fc2`), so that drift can be followed layer by layer.
"""

import ast
import logging
import warnings
from copy import deepcopy
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import CheckpointError
from ...model.conv_encoder import ConvEncoder
from ...model.encoder import Encoder
from ..timm_encoder import TimmEncoder, TimmGraph
from .weights import store_weights

# The newest that TensorRT 10.0 reads (its operators.md: opset 9 to 20) and the first with Gelu as one operator, so that
# Gelu and LayerNormalization can be kept in fp32 by name; ONNX Runtime reads it on CPU and CUDA since 1.17.
OPSET = 20
LARGEST_FILE_BYTES = 1_900_000_000  # protobuf ends at 2 GiB: what is larger keeps its weights in a file beside it
DATA_SUFFIX = ".data"
LARGEST_HALF = 65504.0
EMBEDDING = "embedding"  # the tokens that enter the first module

AnyEncoder = Encoder | ConvEncoder | TimmEncoder


class PooledEncoder(nn.Module):
    """The graph that is exported: pixels (N, S, S, 3) uint8 -> vectors (N, D) float32, unit length.

    With `patch_tokens` also the tokens whose mean the vector is, (N, L, D) float32 in raster order.
    """

    def __init__(self, encoder: Encoder, patch_tokens: bool = False) -> None:
        super().__init__()
        conv = encoder.patch_embed.proj
        std, mean = encoder.pixel_std.view(1, 3, 1, 1), encoder.pixel_mean.view(1, 3, 1, 1)
        bias = conv.bias if conv.bias is not None else torch.zeros(len(conv.weight))
        folded_bias = bias - (conv.weight * mean / std).sum(dim=(1, 2, 3))
        # (D, 3, p, p) -> (p, p, 3, D): a patch of channel-last pixels times this matrix is the convolution.
        folded = (conv.weight / (255.0 * std)).permute(2, 3, 1, 0).reshape(-1, len(conv.weight))
        self.weight = nn.Parameter(folded.detach().contiguous())
        positions = encoder.pos_embed[:, encoder.first_patch :] + folded_bias
        self.positions = nn.Parameter(positions.detach().contiguous())
        token = encoder.cls_token
        self.cls = None if token is None else nn.Parameter((token + encoder.pos_embed[:, :1]).detach().contiguous())
        self.blocks = encoder.blocks
        self.norm = encoder.norm
        self.norm_of_mean = encoder.config.norm_of_mean
        self.spec = encoder.spec
        self.patch_tokens = patch_tokens

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        grid, patch = self.spec.grid, self.spec.patch
        cells = pixels.to(torch.float32).reshape(-1, grid, patch, grid, patch, 3)
        tokens = cells.permute(0, 1, 3, 2, 4, 5).reshape(-1, grid * grid, patch * patch * 3) @ self.weight
        tokens = tokens + self.positions
        first = 0
        if self.cls is not None:
            first = 1
            tokens = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = self.blocks(tokens)
        if not self.norm_of_mean:
            tokens = self.norm(tokens)
        tokens = tokens[:, first:]
        features = tokens.mean(dim=1)
        vectors = functional.normalize(self.norm(features) if self.norm_of_mean else features, dim=1)
        return (vectors, tokens) if self.patch_tokens else vectors


class ConvGraph(nn.Module):
    """The graph of an encoder with a convolutional stem: pixels (N, S, S, 3) uint8 -> vectors (N, D), unit length.

    With `patch_tokens` also ConvEncoder's tokens (N, L, D). They come first, so that the last tensor of a module that
    both pass is the one that the vector is made of.
    """

    def __init__(self, encoder: ConvEncoder, patch_tokens: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.patch_tokens = patch_tokens

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        places = self.encoder.places(self.encoder.normalise(pixels))
        tokens = self.encoder.tokens(places) if self.patch_tokens else None
        vectors = functional.normalize(self.encoder.project(self.encoder.pool(places)), dim=1)
        return vectors if tokens is None else (vectors, tokens)


def as_exported(encoder: AnyEncoder) -> AnyEncoder:
    """The network that a bundle is of, in eval mode. Of one with a convolutional stem it is a copy, whose weights are
    rounded to what fp16 holds, because so they are stored; CheckpointError where one is too large for that."""
    if not isinstance(encoder, ConvEncoder):
        return encoder.eval()
    rounded = deepcopy(encoder).eval()
    for name, weight in rounded.state_dict().items():
        if not bool((weight.abs() <= LARGEST_HALF).all()):
            raise CheckpointError(
                f"The weight {name} holds numbers beyond {LARGEST_HALF:.0f} or none at all; a bundle stores fp16. "
                "Train again with a lower rate."
            )
        weight.copy_(weight.half().to(weight.dtype))
    return rounded


def graph_of(encoder: AnyEncoder, patch_tokens: bool = False) -> nn.Module:
    """The network as it is exported, in eval mode: pixels in, vectors (and patch tokens) out."""
    if isinstance(encoder, ConvEncoder):
        return ConvGraph(encoder, patch_tokens).eval()
    graph = TimmGraph if isinstance(encoder, TimmEncoder) else PooledEncoder
    return graph(encoder, patch_tokens).eval()  # type: ignore[arg-type]


def write_onnx(encoder: AnyEncoder, path: Path, patch_tokens: bool = False) -> None:
    """Exports the pooled encoder with a dynamic batch; weights inside the one file, or beside it where it is too large.

    Input `pixels`, outputs `vectors` and, if wished, `patch_tokens`. The weights of an encoder with a convolutional
    stem are stored in fp16 under the names of its state dict (weights.py), so it must be one that as_exported gives.
    """
    size = encoder.spec.size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph_of(encoder, patch_tokens),
            (example,),
            input_names=["pixels"],
            output_names=["vectors", "patch_tokens"] if patch_tokens else ["vectors"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1, max=4096)}},
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None  # it is one wherever dynamo exports
    model = program.model_proto
    name_layers(model)
    forget_origins(model)
    if isinstance(encoder, ConvEncoder):
        store_weights(model, {name: weight.numpy(force=True) for name, weight in encoder.state_dict().items()})
    save(model, path)


def name_layers(model: onnx.ModelProto) -> None:
    """Gives the output of every module the module's name, as the exporter's notes tell it."""
    outputs: dict[str, str] = {}  # tensor -> module; the deepest module that ends with this tensor
    last: dict[str, str] = {}
    fixed = {value.name for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]}
    entered = False
    for node in model.graph.node:
        notes = {p.key: p.value for p in node.metadata_props}
        scopes = [s for s in ast.literal_eval(notes.get("pkg.torch.onnx.name_scopes", "[]"))[:-1] if s]
        scopes = [s for s in scopes if not s.startswith("_")]
        if scopes and not entered:
            entered = True
            if node.input[0] not in fixed:
                outputs[node.input[0]] = EMBEDDING
        last.update(dict.fromkeys(scopes, node.output[0]))
    for module, tensor in sorted(last.items(), key=lambda item: len(item[0])):
        if tensor not in fixed:
            outputs[tensor] = module
    for node in model.graph.node:
        node.input[:] = [outputs.get(name, name) for name in node.input]
        node.output[:] = [outputs.get(name, name) for name in node.output]
    for value in model.graph.value_info:
        value.name = outputs.get(value.name, value.name)


def forget_origins(model: onnx.ModelProto) -> None:
    """Removes what the exporter notes beside the graph: class names, and stack traces with paths of the machine."""
    graph = model.graph
    noted = [model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output]
    for function in model.functions:
        noted += [function, *function.node, *function.value_info]
    for part in noted:
        del part.metadata_props[:]
        part.doc_string = ""


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights do not fit into one ONNX file."""
    return sum(len(t.raw_data) for t in model.graph.initializer) > LARGEST_FILE_BYTES


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes the one file `path`, or `path` and `path`.data where the weights are too large for one."""
    if is_large(model):
        onnx.save(model, path, save_as_external_data=True, location=path.name + DATA_SUFFIX)
    else:
        onnx.save(model, path)
