"""The encoder with a convolutional stem: an EfficientNet-Lite trunk whose stages together make the vector.

Early stages know colours and detail, late ones kinds of things; the last layer alone is the worst of them for finding
edited copies. So each stage is pooled over its places (generalised mean, as SSCD and most retrieval networks do:
arXiv 1711.02512, 2202.10261), whitened, brought to unit length, and one linear map of all of them gives the D numbers.
Between two stages stand transformer blocks whose residual branches begin at zero: the start equals the trunk.

It knows pictures, places and vectors. It does not know decoding, losses or export.
"""

from dataclasses import dataclass
from typing import Any, Literal

import timm
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..media.spec import InputSpec
from .config import ModelConfig
from .encoder import sincos_positions, transformer_blocks

GEM_POWER = 3.0
GEM_LEAST = 1e-6  # what is not positive counts as this, so that the root has a gradient
TRANSFORMER_AFTER = 5  # number of the trunk's block group behind which the transformer stands


@dataclass(frozen=True)
class Stage:
    """Where features are taken, and what becomes of them.

    group     number of the trunk's group of blocks; None: after the last convolution
    pooling   over places: "gem" (generalised mean of the positive part) or "mean"
    stride    pixels of the picture a place stands for
    most      how many numbers are kept of its channels, at most
    """

    group: int | None
    pooling: Literal["gem", "mean"]
    stride: int
    most: int


STAGES = (
    Stage(3, "gem", 16, 256),
    Stage(4, "gem", 16, 256),
    Stage(5, "gem", 32, 256),
    Stage(6, "mean", 32, 256),
    Stage(None, "gem", 32, 384),
)


class ConvEncoder(nn.Module):
    """Pictures are float (N, 3, S, S), normalised with the InputSpec's mean and std; S is a multiple of 32.

    The trunk's BatchNorms are folded into its convolutions, for training too: a picture's vector never depends on the
    others of its batch, and the weights are those of the exported graph.
    """

    trunk: Any
    pixel_mean: Tensor
    pixel_std: Tensor
    positions: Tensor
    first_patch = 0  # no class token stands before the places

    def __init__(self, config: ModelConfig, spec: InputSpec) -> None:
        super().__init__()
        if config.trunk is None:
            raise ValueError(f"{config.name} names no trunk, which a convolutional stem needs")
        if (spec.patch, spec.dim) != (config.patch, config.dim):
            raise ValueError(
                f"spec has patch {spec.patch}, dim {spec.dim}; {config.name} needs {config.patch}, {config.dim}"
            )
        self.config = config
        self.spec = spec
        self.trunk = with_folded_batchnorm(timm.create_model(config.trunk, pretrained=False, num_classes=0))
        self.widths = [_channels(self.trunk, stage) for stage in STAGES]
        inner = self.widths[2]
        self.blocks = transformer_blocks(inner, config.depth, config.heads, config.mlp_ratio)
        for name, weight in self.blocks.named_parameters():
            if ".attn.proj." in name or ".mlp.fc2." in name:  # the last of a residual branch
                nn.init.zeros_(weight)
        self.register_buffer("positions", sincos_positions(inner, spec.grid, class_token=False), persistent=False)
        kept = [min(width, stage.most) for width, stage in zip(self.widths, STAGES, strict=True)]
        self.whitening = nn.ModuleList(nn.Linear(w, k) for w, k in zip(self.widths, kept, strict=True))
        self.projection = nn.Linear(sum(kept), config.dim)
        self.register_buffer("pixel_mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """pixels (N, S, S, 3) uint8 -> pictures (N, 3, S, S) float, mean and std applied."""
        pictures = pixels.permute(0, 3, 1, 2).to(self.pixel_mean.dtype) / 255.0
        return (pictures - self.pixel_mean) / self.pixel_std

    def places(self, pictures: Tensor) -> list[Tensor]:
        """pictures (N, 3, S, S) -> of each stage its features (N, C, S / stride, S / stride)."""
        out = []
        features = self.trunk.bn1(self.trunk.conv_stem(pictures))
        wanted = {stage.group for stage in STAGES}
        for number, group in enumerate(self.trunk.blocks):
            features = group(features)
            if number == TRANSFORMER_AFTER:
                features = self._transform(features)
            if number in wanted:
                out.append(features)
        out.append(self.trunk.bn2(self.trunk.conv_head(features)))
        return out

    def pool(self, places: list[Tensor], visible: Tensor | None = None) -> list[Tensor]:
        """Features of each stage -> (N, C) of each. `visible` (N, g, g) float, g = S / 32: only those cells count."""
        return [_pooled(stage, features, visible) for stage, features in zip(STAGES, places, strict=True)]

    def project(self, pooled: list[Tensor]) -> Tensor:
        """(N, C) of each stage -> features (N, D), not unit length."""
        features: Tensor = self.projection(self.whiten(pooled))
        return features

    def whiten(self, pooled: list[Tensor]) -> Tensor:
        """(N, C) of each stage -> all of them side by side, each whitened and of unit length."""
        whitened = [functional.normalize(m(p), dim=-1) for m, p in zip(self.whitening, pooled, strict=True)]
        return torch.cat(whitened, dim=-1)

    def pooled(self, pictures: Tensor) -> Tensor:
        """pictures (N, 3, S, S) -> features (N, D), not unit length."""
        return self.project(self.pool(self.places(pictures)))

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (N, 3, S, S) -> tokens (N, L, D): of each cell of 32 x 32 pixels the vector that it alone would
        give, raster order."""
        return self.tokens(self.places(pictures))

    def tokens(self, places: list[Tensor]) -> Tensor:
        """Features of each stage -> tokens (N, L, D), as forward gives them."""
        grid = self.spec.grid
        cells = []
        for stage, features in zip(STAGES, places, strict=True):
            side = self.config.patch // stage.stride
            n, channels = features.shape[:2]
            split = features.reshape(n, channels, grid, side, grid, side).permute(0, 2, 4, 1, 3, 5)
            cells.append(_pooled(stage, split.reshape(n * grid * grid, channels, side, side), None))
        return self.project(cells).reshape(-1, grid * grid, self.config.dim)

    def _transform(self, features: Tensor) -> Tensor:
        """(N, C, g, g) plus what the transformer blocks add to it; positions are seen by the blocks alone."""
        n, channels, height, width = features.shape
        tokens = features.flatten(2).transpose(1, 2) + self.positions
        added = self.blocks(tokens) - tokens
        finished: Tensor = features + added.transpose(1, 2).reshape(n, channels, height, width)
        return finished


def _pooled(stage: Stage, features: Tensor, visible: Tensor | None) -> Tensor:
    """(N, C, h, w) -> (N, C) over the places, of the visible cells (N, g, g) alone where they are given."""
    if stage.pooling == "gem":
        features = features.clamp(min=GEM_LEAST).pow(GEM_POWER)
    if visible is None:
        mean = features.mean(dim=(2, 3))
    else:
        weight = functional.interpolate(visible[:, None], size=features.shape[2:], mode="nearest")
        mean = (features * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
    return mean.pow(1 / GEM_POWER) if stage.pooling == "gem" else mean


def _channels(trunk: Any, stage: Stage) -> int:
    """How many numbers a place of the stage has."""
    if stage.group is None:
        return int(trunk.conv_head.out_channels)
    block = trunk.blocks[stage.group][-1]
    return int(getattr(block, "conv_pwl", block.conv_pw).out_channels)


def with_folded_batchnorm(trunk: Any) -> Any:
    """The trunk, in place: each BatchNorm becomes part of the convolution before it, and only its activation stays."""
    trunk.eval()
    for parent in trunk.modules():
        convolution = ""
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.Conv2d):
                convolution = name
            elif isinstance(part, BatchNormAct2d):
                setattr(parent, convolution, fuse_conv_bn_eval(getattr(parent, convolution), part))
                setattr(parent, name, part.act)
    return trunk
