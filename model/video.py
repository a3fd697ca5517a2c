"""The encoder of pictures made into one of clips: tubes instead of patches, the same blocks (PAPER 3.3).

A clip is cut into slots of `tube` frames. A slot becomes the tokens of one picture: its class token and its L tubes, at
the positions of the picture, plus the row of the slot in a trained table of times. All slots attend to each other.
Each slot has a class token of its own: with a single one, its share of the attention would fall with the number of
slots, and a clip that stands still would not give the embedding of its picture, which here it does.
Sampling frames, heads, losses and training are not known here.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from ..media.spec import InputSpec
from .config import ModelConfig
from .encoder import LAYER_NORM_EPS, Encoder, initialise, sincos_positions, transformer_blocks

Times = Literal["zeros", "sincos"]


def sincos_times(dim: int, slots: int) -> Tensor:
    """Table (1, slots, 1, dim) float32: the number of the slot as [sin, cos], like one axis of sincos_positions."""
    omega = 1.0 / 10000.0 ** (torch.arange(dim // 2, dtype=torch.float32) / (dim // 2))
    angles = torch.arange(slots, dtype=torch.float32)[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)[None, :, None]


class TubeEmbed(nn.Module):
    """clips (N, T, 3, S, S) -> tokens (N, T / tube, L, D): slots in order of time, each in raster order."""

    def __init__(self, tube: int, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, dim, kernel_size=(tube, patch, patch), stride=(tube, patch, patch))

    def forward(self, clips: Tensor) -> Tensor:
        tokens: Tensor = self.proj(clips.transpose(1, 2))  # (N, D, T / tube, grid, grid)
        return tokens.flatten(3).permute(0, 2, 3, 1)


class VideoEncoder(nn.Module):
    """The ViT on clips of `frames` frames: float (N, T, 3, S, S), normalised with the InputSpec's mean and std."""

    cls_token: nn.Parameter | None
    temporal_embed: nn.Parameter
    pos_embed: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        config: ModelConfig,
        spec: InputSpec,
        frames: int = 16,
        tube: int = 2,
        drop_path: float = 0.0,
        times: Times = "zeros",
    ) -> None:
        super().__init__()
        if tube < 1 or frames < tube or frames % tube:
            raise ValueError(f"frames is {frames}, tube is {tube}; frames must be a positive multiple of tube")
        self.config, self.spec = config, spec
        self.frames, self.tube = frames, tube
        slots = frames // tube
        self.patch_embed = TubeEmbed(tube, config.patch, config.dim)
        self.first_patch = int(config.class_token)  # how many tokens stand before those of the tubes in each slot
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim)) if config.class_token else None
        self.register_buffer("pos_embed", sincos_positions(config.dim, spec.grid, config.class_token))
        table = torch.zeros(1, slots, 1, config.dim) if times == "zeros" else sincos_times(config.dim, slots)
        self.temporal_embed = nn.Parameter(table)
        self.blocks = transformer_blocks(config.dim, config.depth, config.heads, config.mlp_ratio, drop_path)
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self.register_buffer("pixel_mean", torch.tensor(spec.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(spec.std).view(3, 1, 1), persistent=False)
        initialise(self)

    def normalise(self, pixels: Tensor) -> Tensor:
        """pixels (N, T, S, S, 3) uint8 -> clips (N, T, 3, S, S) float, mean and std applied."""
        clips = pixels.permute(0, 1, 4, 2, 3).to(self.pixel_mean.dtype) / 255.0
        return (clips - self.pixel_mean) / self.pixel_std

    def forward(self, clips: Tensor) -> Tensor:
        """clips (N, T, 3, S, S) -> tokens (N, T / tube, 1 + L, D), class tokens first, after the final LayerNorm unless
        that is of their mean; (N, T / tube, L, D) without class tokens."""
        if clips.shape[1] != self.frames:
            raise ValueError(f"clips have {clips.shape[1]} frames; this encoder takes {self.frames}")
        slots = self.patch_embed(clips) + self.pos_embed[:, self.first_patch :]
        if self.cls_token is not None:
            cls = (self.cls_token + self.pos_embed[:, :1]).expand(*slots.shape[:2], -1, -1)
            slots = torch.cat([cls, slots], dim=2)
        tokens = self.blocks((slots + self.temporal_embed).flatten(1, 2))
        finished: Tensor = tokens if self.config.norm_of_mean else self.norm(tokens)
        return finished.view(slots.shape)

    def pooled(self, clips: Tensor) -> Tensor:
        """clips (N, T, 3, S, S) -> features (N, D): the mean of the tubes' tokens, class tokens left out.

        As of a picture: normed, then averaged, or the other way round where the network was trained so. PAPER 3.3
        reads the other order for a head; see classifier.py.
        """
        features: Tensor = self(clips)[:, :, self.first_patch :].mean(dim=(1, 2))
        finished: Tensor = self.norm(features) if self.config.norm_of_mean else features
        return finished


def inflate(
    encoder: Encoder, frames: int = 16, tube: int = 2, drop_path: float = 0.0, times: Times = "zeros"
) -> VideoEncoder:
    """An encoder of pictures -> one of clips: each slice of a tube's kernel is the patches' kernel / tube.

    With times "zeros" a clip of `frames` equal pictures has the embedding of the picture.
    """
    video = VideoEncoder(encoder.config, encoder.spec, frames, tube, drop_path, times)
    state = encoder.state_dict()
    kernel = state["patch_embed.proj.weight"]
    state["patch_embed.proj.weight"] = kernel[:, :, None].expand(-1, -1, tube, -1, -1) / tube
    state["temporal_embed"] = video.temporal_embed.detach()
    video.load_state_dict(state)
    return video.train(encoder.training)
