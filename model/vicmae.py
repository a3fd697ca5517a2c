"""ViC-MAE whole: the encoder, a light decoder for masked pixels, a projector for the contrast (PAPER 1).

Two views of one item go through the same encoder; each is masked on its own and rebuilt from its own tokens; the mean
of its visible tokens is projected and compared over the batch. Weights carry the official names (PAPER 4.2).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..media.spec import InputSpec
from .config import ModelConfig
from .encoder import LAYER_NORM_EPS, Encoder, initialise, sincos_positions, transformer_blocks
from .losses import contrastive_loss, reconstruction_loss


@dataclass(frozen=True)
class Objective:
    """What is minimised: recon_weight * reconstruction + contrast_weight * contrast (PAPER 1.7)."""

    mask_ratio: float = 0.5
    recon_weight: float = 0.97
    contrast_weight: float = 0.03
    temperature: float = 0.1
    normalise_patches: bool = True


@dataclass(frozen=True)
class View:
    """One masked view: latent (N, 1 + kept, D), mask (N, L) 1 = removed, restore (N, L), pooled (N, D),
    projected (N, P) not unit length, predicted (N, L, patch*patch*3), reconstruction () its loss."""

    latent: Tensor
    mask: Tensor
    restore: Tensor
    pooled: Tensor
    projected: Tensor
    predicted: Tensor
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
    """An encoder with the decoder and the projector that its training needs."""

    mask_token: nn.Parameter
    decoder_pos_embed: Tensor

    def __init__(self, config: ModelConfig, spec: InputSpec) -> None:
        super().__init__(config, spec)
        width = config.decoder_dim
        self.decoder_embed = nn.Linear(config.dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("decoder_pos_embed", sincos_positions(width, spec.grid))
        self.decoder_blocks = transformer_blocks(width, config.decoder_depth, config.decoder_heads, config.mlp_ratio)
        self.decoder_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.decoder_pred = nn.Linear(width, config.patch**2 * 3)
        self.projector = nn.Sequential(
            nn.Linear(config.dim, config.projector_hidden),
            nn.BatchNorm1d(config.projector_hidden),
            nn.ReLU(),
            nn.Linear(config.projector_hidden, config.projector_hidden),
            nn.BatchNorm1d(config.projector_hidden),
            nn.ReLU(),
            nn.Linear(config.projector_hidden, config.projector_dim),
        )
        initialise(self)

    def losses(self, first: Tensor, second: Tensor, objective: Objective, noise: tuple[Tensor, Tensor]) -> Losses:
        """first, second (N, 3, S, S): two normalised views of N items; noise: two (N, L), the smallest are kept."""
        views = [self.view(pictures, objective, n) for pictures, n in zip((first, second), noise, strict=True)]
        reconstruction = 0.5 * (views[0].reconstruction + views[1].reconstruction)
        contrast = contrastive_loss(views[0].projected, views[1].projected, objective.temperature)
        total = objective.recon_weight * reconstruction + objective.contrast_weight * contrast
        return Losses(total, reconstruction, contrast, *views)

    def view(self, pictures: Tensor, objective: Objective, noise: Tensor) -> View:
        """pictures (N, 3, S, S), noise (N, L) -> the masked view with everything that comes of it.

        Views pass the projector one after the other, each with its own batch statistics (PAPER 1.6).
        """
        latent, mask, restore = self.encode_masked(pictures, objective.mask_ratio, noise)
        pooled = latent[:, 1:].mean(dim=1)
        predicted = self.decode(latent, restore)
        reconstruction = reconstruction_loss(predicted, pictures, mask, self.config.patch, objective.normalise_patches)
        return View(latent, mask, restore, pooled, self.projector(pooled), predicted, reconstruction)

    def encode_masked(self, pictures: Tensor, mask_ratio: float, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> latent (N, 1 + kept, D), mask (N, L) with 1 = removed, restore (N, L): back to raster order.

        Kept tokens stay in the order of ascending noise.
        """
        tokens = self.patch_embed(pictures) + self.pos_embed[:, 1:]
        kept = int(self.spec.tokens * (1 - mask_ratio))
        order = noise.argsort(dim=1)
        restore = order.argsort(dim=1)
        visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, tokens.shape[2]))
        mask = (restore >= kept).to(tokens.dtype)
        return self._transform(visible), mask, restore

    def decode(self, latent: Tensor, restore: Tensor) -> Tensor:
        """latent (N, 1 + kept, D), restore (N, L) -> patches (N, L, patch*patch*3) in raster order."""
        tokens = self.decoder_embed(latent)
        missing = restore.shape[1] + 1 - tokens.shape[1]
        shuffled = torch.cat([tokens[:, 1:], self.mask_token.expand(len(tokens), missing, -1)], dim=1)
        patches = shuffled.gather(1, restore[:, :, None].expand(-1, -1, tokens.shape[2]))
        decoded = self.decoder_blocks(torch.cat([tokens[:, :1], patches], dim=1) + self.decoder_pos_embed)
        predicted: Tensor = self.decoder_pred(self.decoder_norm(decoded))[:, 1:]
        return predicted
