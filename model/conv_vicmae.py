"""ViC-MAE on a convolutional stem: the encoder with what its training needs.

The method stays (PAPER 1): masked pixels are rebuilt by a light decoder, the visible places are pooled, and pooled
vectors of two views of an item, or of two distant frames of a clip, contrast. What differs: a view is an edit as people
make them and may show several items; masks hide blocks of cells of the picture (SimMIM and ConvMAE mask convolutions
alike: arXiv 2111.09886, 2205.03892); the vector is the exported one, with no projector; and a frozen copy of the start
keeps what the trunk knows of kinds.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..media.spec import InputSpec
from .config import ModelConfig
from .conv_encoder import STAGES, ConvEncoder
from .encoder import LAYER_NORM_EPS, initialise, sincos_positions, transformer_blocks
from .losses import entropy_loss, multi_positive_loss, patchify, reconstruction_errors

DECODED_STAGE = 2  # the places that the transformer gives, one a cell
assert STAGES[DECODED_STAGE].stride == 32


@dataclass(frozen=True)
class CopiesObjective:
    """What is minimised: contrast + recon_weight * reconstruction + teacher_weight * distance to the start's vectors +
    entropy_weight * KoLeo.

    masked_share  of the edited views have cells hidden, `mask_ratio` of each
    alike_cosine  items whose vectors are so near to each other at the start (other moments of one place, other pictures
                  of one thing) are no negatives of each other; 1: all are
    """

    temperature: float = 0.05
    recon_weight: float = 0.1
    teacher_weight: float = 8.0
    entropy_weight: float = 0.3
    masked_share: float = 0.25
    mask_ratio: float = 0.4
    alike_cosine: float = 0.5


@dataclass(frozen=True)
class CopiesLosses:
    """The scalars of one step; predicted (N, L, P) and hidden (N, L) of the edited views, for people to look at."""

    total: Tensor
    reconstruction: Tensor
    contrast: Tensor
    predicted: Tensor
    hidden: Tensor


class ConvViCMAE(ConvEncoder):
    """The queue holds the latest clean vectors (Q, D), further negatives; `queue_taught` (Q, D) what the start made of
    the same pictures; `queue_items` (Q,) says whose they are, -1: empty."""

    decoder: Any
    mask_token: nn.Parameter
    decoder_pos_embed: Tensor
    queue_vectors: Tensor
    queue_taught: Tensor
    queue_items: Tensor

    def __init__(self, config: ModelConfig, spec: InputSpec, queue: int) -> None:
        super().__init__(config, spec)
        width = config.decoder_dim
        decoder: Any = nn.Module()
        decoder.embed = nn.Linear(self.widths[DECODED_STAGE], width)
        decoder.blocks = transformer_blocks(width, config.decoder_depth, config.decoder_heads, config.mlp_ratio)
        decoder.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        decoder.pred = nn.Linear(width, config.patch**2 * 3)
        initialise(decoder)
        self.decoder = decoder
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("decoder_pos_embed", sincos_positions(width, spec.grid, class_token=False), False)
        self.register_buffer("queue_vectors", torch.zeros(queue, config.dim))
        self.register_buffer("queue_taught", torch.zeros(queue, config.dim))
        self.register_buffer("queue_items", torch.full((queue,), -1, dtype=torch.int64))
        self.teacher = ConvEncoder(config, spec).requires_grad_(False).eval()

    def keep_start(self) -> None:
        """The weights as they are now become the teacher."""
        self.teacher.load_state_dict({name: self.state_dict()[name] for name in self.teacher.state_dict()})

    def freeze(self, groups: int) -> None:
        """The first convolution and the first `groups` groups of the trunk's blocks are not trained."""
        if groups:
            self.trunk.conv_stem.requires_grad_(False)
            self.trunk.blocks[:groups].requires_grad_(False)

    def losses(
        self,
        clean: Tensor,
        edited: Tensor,
        content: Tensor,
        items: Tensor,
        visible: Tensor,
        objective: CopiesObjective,
    ) -> CopiesLosses:
        """clean, edited (N, 3, S, S) normalised views of N items; content (N, N) bool: which items each edited view
        shows; items (N,) their numbers; visible (N, g, g) float: 0 where a cell of the edited view is hidden."""
        shown = edited * functional.interpolate(visible[:, None], scale_factor=self.config.patch, mode="nearest")
        places = self.places(shown)
        vectors = functional.normalize(self.project(self.pool(places, visible)), dim=1)
        library = functional.normalize(self.pooled(clean), dim=1)
        with torch.no_grad():
            taught = functional.normalize(self.teacher.pooled(clean), dim=1)
        known = torch.cat([library, self.queue_vectors])
        not_negatives = self._not_negatives(content, items, taught, objective.alike_cosine)
        contrast = multi_positive_loss(vectors, known, content, not_negatives, objective.temperature)
        alone = (content.sum(dim=1) == 1).float()
        away = (1 - (library * taught).sum(dim=1)).mean()
        away = away + 0.5 * ((1 - (vectors * taught).sum(dim=1)) * alone).sum() / alone.sum().clamp(min=1)
        predicted, hidden = self._decode(places[DECODED_STAGE], visible)
        reconstruction = self._reconstruction(predicted, hidden, edited)
        total = (
            contrast
            + objective.recon_weight * reconstruction
            + objective.teacher_weight * away
            + objective.entropy_weight * entropy_loss(library)
        )
        if self.training:
            self._remember(library.detach(), taught, items)
        return CopiesLosses(total, reconstruction, contrast, predicted, hidden)

    def _not_negatives(self, content: Tensor, items: Tensor, taught: Tensor, alike_cosine: float) -> Tensor:
        """(N, N + Q) bool: the known pictures that a view is not compared with: older vectors of what it shows, and
        pictures that the start finds alike to what it shows (they may be of the same place), but for itself."""
        older = torch.cat([torch.zeros_like(content), items[:, None] == self.queue_items[None]], dim=1)
        alike = taught @ torch.cat([taught, self.queue_taught]).T >= alike_cosine
        related: Tensor = content.float() @ (older | alike).float() > 0
        related[:, len(items) :] |= self.queue_items < 0
        related[:, : len(items)] &= ~content
        return related

    def _decode(self, features: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """features (N, C, g, g) -> predicted (N, L, P), hidden (N, L): every hidden cell is the mask token's."""
        tokens = self.decoder.embed(features.flatten(2).transpose(1, 2))
        hidden = 1 - visible.flatten(1)
        tokens = torch.lerp(tokens, self.mask_token.expand_as(tokens), hidden[:, :, None])
        decoded = self.decoder.blocks(tokens + self.decoder_pos_embed)
        predicted: Tensor = self.decoder.pred(self.decoder.norm(decoded))
        return predicted, hidden

    def _reconstruction(self, predicted: Tensor, hidden: Tensor, pictures: Tensor) -> Tensor:
        """The mean error of the hidden cells, each target brought to mean 0 and variance 1; 0 if none is hidden."""
        rows = hidden.bool()
        if not rows.any():
            return predicted.sum() * 0.0
        targets = patchify(pictures, self.config.patch)[rows]
        return reconstruction_errors(predicted[rows][:, None], targets[:, None], True).mean()

    def _remember(self, vectors: Tensor, taught: Tensor, items: Tensor) -> None:
        length = len(self.queue_items)
        self.queue_vectors.copy_(torch.cat([vectors, self.queue_vectors])[:length])
        self.queue_taught.copy_(torch.cat([taught, self.queue_taught])[:length])
        self.queue_items.copy_(torch.cat([items, self.queue_items])[:length])


def blocks_of_cells(count: int, grid: int, share: float, ratio: float, generator: torch.Generator) -> Tensor:
    """visible (count, grid, grid) float: a `share` of the pictures have `ratio` of their cells hidden, in blocks."""
    device = generator.device
    coarse = torch.rand(count, 1, 3, 3, generator=generator, device=device)
    noise = functional.interpolate(coarse, (grid, grid), mode="bilinear", align_corners=True).flatten(1)
    noise = noise + 0.05 * torch.rand(noise.shape, generator=generator, device=device)
    hidden = torch.zeros_like(noise)
    hidden.scatter_(1, noise.topk(int(grid * grid * ratio), dim=1).indices, 1.0)
    chosen = torch.rand(count, 1, generator=generator, device=device) < share
    return (1 - hidden * chosen).reshape(count, grid, grid)
