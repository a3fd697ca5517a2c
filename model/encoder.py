"""The encoder: a plain ViT with fixed sin-cos positions, in the official layout of names (PAPER 1.4, 4.2).

It knows pictures and tokens. It does not know decoding, projecting, losses or export.
"""

from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..media.spec import InputSpec
from .config import ModelConfig

LAYER_NORM_EPS = 1e-6


def sincos_positions(dim: int, grid: int, class_token: bool = True) -> Tensor:
    """Fixed table (1, 1 + grid*grid, dim) float32: row 0 (the class token, if any) zeros, then patches in raster order.

    The first half of the channels encodes the column, the second the row, each as [sin, cos] (PAPER 1.4).
    """
    omega = 1.0 / 10000.0 ** (torch.arange(dim // 4, dtype=torch.float32) / (dim // 4))
    angles = torch.arange(grid, dtype=torch.float32)[:, None] * omega  # (grid, dim/4)
    one_axis = torch.cat([angles.sin(), angles.cos()], dim=1)  # (grid, dim/2)
    columns = one_axis[None, :, :].expand(grid, grid, -1)
    rows = one_axis[:, None, :].expand(grid, grid, -1)
    patches = torch.cat([columns, rows], dim=2).reshape(grid * grid, dim)
    return torch.cat([torch.zeros(int(class_token), dim), patches])[None]


def transformer_blocks(dim: int, depth: int, heads: int, mlp_ratio: float) -> nn.Sequential:
    """`depth` pre-norm blocks of timm with qkv bias, exact GELU and LayerNorm eps 1e-6."""
    norm = partial(nn.LayerNorm, eps=LAYER_NORM_EPS)
    return nn.Sequential(
        *(Block(dim, heads, mlp_ratio=mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    )


class PatchEmbed(nn.Module):
    """pictures (N, 3, S, S) -> patch tokens (N, L, D), raster order."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch, stride=patch)

    def forward(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self.proj(pictures).flatten(2).transpose(1, 2)
        return tokens


class Encoder(nn.Module):
    """The ViT encoder. Pictures are float (N, 3, S, S), normalised with the InputSpec's mean and std."""

    cls_token: nn.Parameter | None
    pos_embed: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: ModelConfig, spec: InputSpec) -> None:
        super().__init__()
        if (spec.patch, spec.dim) != (config.patch, config.dim):
            raise ValueError(
                f"spec has patch {spec.patch}, dim {spec.dim}; {config.name} needs {config.patch}, {config.dim}"
            )
        self.config = config
        self.spec = spec
        self.first_patch = int(config.class_token)  # how many tokens stand before those of the patches
        self.patch_embed = PatchEmbed(config.patch, config.dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim)) if config.class_token else None
        self.register_buffer("pos_embed", sincos_positions(config.dim, spec.grid, config.class_token))
        self.blocks = transformer_blocks(config.dim, config.depth, config.heads, config.mlp_ratio)
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.register_buffer("pixel_mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        initialise(self)

    def normalise(self, pixels: Tensor) -> Tensor:
        """pixels (N, S, S, 3) uint8 -> pictures (N, 3, S, S) float, mean and std applied."""
        pictures = pixels.permute(0, 3, 1, 2).to(self.pixel_mean.dtype) / 255.0
        return (pictures - self.pixel_mean) / self.pixel_std

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures (N, 3, S, S) -> tokens (N, 1 + L, D), nothing masked, after the final LayerNorm unless that is of
        their mean; (N, L, D) without a class token."""
        tokens = self.patch_embed(pictures) + self.pos_embed[:, self.first_patch :]
        return self._transform(tokens)

    def pooled(self, pictures: Tensor) -> Tensor:
        """pictures (N, 3, S, S) -> features (N, D): the mean of the patch tokens, class token left out (PAPER 3.4)."""
        features: Tensor = self(pictures)[:, self.first_patch :].mean(dim=1)
        finished: Tensor = self.norm(features) if self.config.norm_of_mean else features
        return finished

    def _transform(self, patch_tokens: Tensor) -> Tensor:
        tokens = patch_tokens
        if self.cls_token is not None:
            cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
            tokens = torch.cat([cls, tokens], dim=1)
        tokens = self.blocks(tokens)
        finished: Tensor = tokens if self.config.norm_of_mean else self.norm(tokens)
        return finished


def initialise(module: nn.Module) -> None:
    """The paper's start: xavier-uniform matrices (the patch convolution as a matrix), zero biases, N(0, .02) tokens."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.view(len(part.weight), -1))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for name in ("cls_token", "mask_token"):
        token = getattr(module, name, None)
        if token is not None:
            nn.init.normal_(token, std=0.02)
