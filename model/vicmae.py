"""ViC-MAE whole: the encoder, a light decoder for masked pixels, a projector for the contrast (PAPER 1).

Two views of one item go through the same encoder; each is masked on its own and rebuilt from its own tokens; the mean
of its visible tokens is projected and compared over the batch. Weights carry the official names (PAPER 4.2).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import TrainingError
from ..media.spec import InputSpec
from .config import ModelConfig
from .encoder import LAYER_NORM_EPS, Encoder, initialise, sincos_positions, transformer_blocks
from .losses import contrastive_loss, patchify, reconstruction_errors
from .ranks import BatchNorm

Heads = Literal["shared", "predictor-target"]
Pooling = Literal["mean", "max", "gem"]
GEM_POWER = 3.0


@dataclass(frozen=True)
class Objective:
    """What is minimised: recon_weight * reconstruction + contrast_weight * contrast (PAPER 1.7).

    `pooling` makes the one vector of a view that is projected. Only the mean is what an exported encoder gives; the
    others are for the comparison of PAPER 2.3.
    """

    mask_ratio: float = 0.5
    recon_weight: float = 0.97
    contrast_weight: float = 0.03
    temperature: float = 0.1
    normalise_patches: bool = True
    pooling: Pooling = "mean"


@dataclass(frozen=True)
class View:
    """One masked view: latent (N, 1 + kept, D) with the class token first (none: (N, kept, D)), mask (N, L) 1 =
    removed, restore (N, L), pooled (N, D), projected (N, P) not unit length, predicted (N, L, patch*patch*3),
    reconstruction () its loss."""

    latent: Tensor
    mask: Tensor
    restore: Tensor
    pooled: Tensor
    projected: Tensor
    decoded: Tensor
    reconstruction: Tensor


@dataclass(frozen=True)
class Losses:
    """The scalars of one step, and the two views they come from."""

    total: Tensor
    reconstruction: Tensor
    contrast: Tensor
    first: View
    second: View


class ViCMAE(Encoder):
    """An encoder with the decoder and the projector that its training needs.

    Heads "shared": one projector for both sides of the comparison, as in the released code. "predictor-target": each
    view's predictor output against the other views' target output, as the paper draws it; two projectors of the same
    form, both trained, in both directions (PAPER 1.6).
    """

    mask_token: nn.Parameter
    decoder_pos_embed: Tensor

    def __init__(self, config: ModelConfig, spec: InputSpec, heads: Heads = "shared") -> None:
        if config.norm_of_mean:
            raise TrainingError(
                f"{config.name} normalises the mean of its tokens, as fine-tuned networks do; the decoder needs each "
                f"token normalised. Pretrain a network with norm_of_mean = False."
            )
        super().__init__(config, spec)
        self.heads = heads
        width = config.decoder_dim
        self.decoder_embed = nn.Linear(config.dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("decoder_pos_embed", sincos_positions(width, spec.grid, config.class_token))
        self.decoder_blocks = transformer_blocks(width, config.decoder_depth, config.decoder_heads, config.mlp_ratio)
        self.decoder_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.decoder_pred = nn.Linear(width, config.patch**2 * 3)
        self.projector = _projector(config)
        if heads == "predictor-target":
            self.projector_target = _projector(config)
        initialise(self)

    def losses(self, first: Tensor, second: Tensor, objective: Objective, noise: tuple[Tensor, Tensor]) -> Losses:
        """first, second (N, 3, S, S): two normalised views of N items; noise: two (N, L), the smallest are kept.

        Both views go through encoder and decoder in one pass: LayerNorm knows no batch. Views pass a projector one
        after the other, each with its own batch statistics (PAPER 1.6).
        """
        patches = patchify(torch.cat([first, second]), self.config.patch)
        order = torch.cat(noise).argsort(dim=1)
        kept = int(self.spec.tokens * (1 - objective.mask_ratio))
        removed = order[:, kept:]
        latent = self.encode_visible(patches, order[:, :kept])
        pooled = pool(latent[:, self.first_patch :], objective.pooling)
        restore = order.argsort(dim=1)
        decoded = self.decode(latent, restore)
        predicted = self.predict(_rows(decoded, removed))
        projected = _each_half(self.projector, pooled)
        targets = None if self.heads == "shared" else _each_half(self.projector_target, pooled)
        with torch.autocast(first.device.type, enabled=False):  # the losses want all their digits
            errors = reconstruction_errors(_full(predicted), _rows(patches, removed), objective.normalise_patches)
            views = [
                View(
                    latent=latent[of],
                    mask=(restore[of] >= kept).to(latent.dtype),
                    restore=restore[of],
                    pooled=pooled[of],
                    projected=vectors,
                    decoded=decoded[of],
                    reconstruction=errors[of].mean(),
                )
                for of, vectors in zip((slice(len(first)), slice(len(first), None)), projected, strict=True)
            ]
            contrast = contrastive_loss(*projected, objective.temperature, targets)
            reconstruction = 0.5 * (views[0].reconstruction + views[1].reconstruction)
            total = objective.recon_weight * reconstruction + objective.contrast_weight * contrast
        return Losses(total, reconstruction, contrast, views[0], views[1])

    def encode_visible(self, patches: Tensor, visible: Tensor) -> Tensor:
        """patches (N, L, patch*patch*3), visible (N, kept) which of them are seen -> latent (N, 1 + kept, D).

        Only visible patches are embedded, by the convolution's weights as a matrix. Tokens keep the order of `visible`.
        """
        conv = self.patch_embed.proj
        tokens = functional.linear(_rows(patches, visible), conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias)
        return self._transform(tokens + self.pos_embed[0, self.first_patch :][visible])

    def decode(self, latent: Tensor, restore: Tensor) -> Tensor:
        """latent (N, 1 + kept, D), restore (N, L) -> decoded (N, L, decoder_dim) of the patches, in raster order."""
        tokens, first = self.decoder_embed(latent), self.first_patch
        missing = restore.shape[1] + first - tokens.shape[1]
        shuffled = torch.cat([tokens[:, first:], self.mask_token.expand(len(tokens), missing, -1)], dim=1)
        patches = _rows(shuffled, restore)
        decoded: Tensor = self.decoder_blocks(torch.cat([tokens[:, :first], patches], dim=1) + self.decoder_pos_embed)
        return decoded[:, first:]

    def predict(self, decoded: Tensor) -> Tensor:
        """decoded (N, M, decoder_dim) -> the patches (N, M, patch*patch*3) that they stand for."""
        predicted: Tensor = self.decoder_pred(self.decoder_norm(decoded))
        return predicted


def _rows(tokens: Tensor, rows: Tensor) -> Tensor:
    """tokens (N, L, C), rows (N, M) -> (N, M, C): of each picture its own rows."""
    return tokens.gather(1, rows[:, :, None].expand(-1, -1, tokens.shape[2]))


def pool(tokens: Tensor, pooling: Pooling) -> Tensor:
    """tokens (N, L, D) -> (N, D): their mean, maximum, or generalised mean (third power, of what is positive)."""
    if pooling == "mean":
        return tokens.mean(dim=1)
    if pooling == "max":
        return tokens.amax(dim=1)
    return tokens.clamp(min=1e-6).pow(GEM_POWER).mean(dim=1).pow(1 / GEM_POWER)


def _projector(config: ModelConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(config.dim, config.projector_hidden),
        BatchNorm(config.projector_hidden),
        nn.ReLU(),
        nn.Linear(config.projector_hidden, config.projector_hidden),
        BatchNorm(config.projector_hidden),
        nn.ReLU(),
        nn.Linear(config.projector_hidden, config.projector_dim),
    )


def _each_half(projector: nn.Module, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """pooled (2N, D) -> two (N, P), projected one after the other."""
    first, second = pooled.chunk(2)
    return _full(projector(first)), _full(projector(second))


def _full(values: Tensor) -> Tensor:
    """In single precision, or double where they are double."""
    return values if values.dtype == torch.float64 else values.float()
