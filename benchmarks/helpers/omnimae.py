"""The rival of benchmarks/pretraining.py: one masked autoencoder for images and clips, in the manner of OmniMAE.

A clip is cut into tubes of two frames; an image is one frame repeated, so it is one layer of tubes (arXiv 2206.08356).
Encoder, decoder and their first weights are those of the ViC-MAE it is compared with; the patch embedding is copied
along time. No contrast. Our own reading of the paper, at the size of a benchmark; not a network of the package.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vicmae.model.encoder import Encoder
from vicmae.model.losses import patchify
from vicmae.model.vicmae import ViCMAE
from vicmae.training.optim import learning_rate, make_optimiser
from vicmae.training.pretrain import items_of_step, times_of
from vicmae.training.recipe import Recipe
from vicmae.training.sources import Pictures
from vicmae.training.views import PAIR_WINDOW_SECONDS, Augmentation, Draws, crop_and_flip

TUBE = 2  # frames a tube spans
CLIP_FRAMES = 4  # of a clip, evenly over the window from which ViC-MAE draws a pair
IMAGE_MASK, CLIP_MASK = 0.75, 0.9  # of their 196 and 1,568 tokens they mask 0.90 and 0.95; of our few that leaves one
CROP = Augmentation(scale=(0.2, 1.0))


def sincos_times(dim: int, layers: int) -> Tensor:
    """(layers, 1, dim): the one-dimensional sin-cos table."""
    omega = 1.0 / 10000.0 ** (torch.arange(dim // 2, dtype=torch.float32) / (dim // 2))
    angles = torch.arange(layers, dtype=torch.float32)[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, None]


class RepeatedFrameMAE(nn.Module):
    """clips (N, T, 3, S, S) normalised, T = 2 (an image twice) or more -> the reconstruction loss ()."""

    def __init__(self, start: ViCMAE) -> None:
        super().__init__()
        self.inner = start
        config, conv = start.config, start.patch_embed.proj
        self.proj = nn.Conv3d(3, config.dim, (TUBE, config.patch, config.patch), (TUBE, config.patch, config.patch))
        self.proj.weight.data = conv.weight.detach()[:, :, None].repeat(1, 1, TUBE, 1, 1) / TUBE
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]
        self.pred = nn.Linear(config.decoder_dim, TUBE * config.patch**2 * 3)
        self.pred.weight.data = start.decoder_pred.weight.detach().repeat(TUBE, 1)
        nn.init.zeros_(self.pred.bias)
        layers = CLIP_FRAMES // TUBE
        self.register_buffer("times", sincos_times(config.dim, layers))
        self.register_buffer("decoder_times", sincos_times(config.decoder_dim, layers))
        for unused in (start.patch_embed, start.decoder_pred, start.projector):
            unused.requires_grad_(False)

    times: Tensor
    decoder_times: Tensor

    def forward(self, clips: Tensor, mask_ratio: float, noise: Tensor) -> Tensor:
        inner, layers = self.inner, clips.shape[1] // TUBE
        tokens = self.proj(clips.transpose(1, 2)).flatten(2).transpose(1, 2)
        tokens = tokens + _table(inner.pos_embed[:, inner.first_patch :], self.times[:layers])
        kept = max(1, int(tokens.shape[1] * (1 - mask_ratio)))
        order = noise.argsort(dim=1)
        restore = order.argsort(dim=1)
        visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, tokens.shape[2]))
        latent = inner.decoder_embed(inner._transform(visible))
        missing = inner.mask_token.expand(len(latent), tokens.shape[1] - kept, -1)
        shuffled = torch.cat([latent[:, 1:], missing], dim=1)
        patches = shuffled.gather(1, restore[:, :, None].expand(-1, -1, latent.shape[2]))
        patches = patches + _table(inner.decoder_pos_embed[:, 1:], self.decoder_times[:layers])
        decoded = inner.decoder_blocks(torch.cat([latent[:, :1], patches], dim=1))
        predicted = self.pred(inner.decoder_norm(decoded))[:, 1:]
        error = (predicted - self._targets(clips)).square().mean(dim=-1)
        masked = (restore >= kept).to(error.dtype)
        loss: Tensor = (error * masked).sum() / masked.sum()
        return loss

    def _targets(self, clips: Tensor) -> Tensor:
        """(N, L * T / 2, 2 * patch * patch * 3): the pixels of each tube at mean 0 and variance 1."""
        n, frames = clips.shape[:2]
        patches = patchify(clips.flatten(0, 1), self.inner.config.patch)
        tubes = patches.reshape(n, frames // TUBE, TUBE, *patches.shape[1:]).transpose(2, 3).flatten(3).flatten(1, 2)
        variance, mean = torch.var_mean(tubes, dim=-1, keepdim=True)
        targets: Tensor = (tubes - mean) / (variance + 1e-6).sqrt()
        return targets

    def image_encoder(self) -> Encoder:
        """The encoder of one image, as this network sees an image repeated: kernels summed along time."""
        encoder = Encoder(self.inner.config, self.inner.spec)
        weights = {k: v for k, v in self.inner.state_dict().items() if k in encoder.state_dict()}
        weights["patch_embed.proj.weight"] = self.proj.weight.detach().sum(dim=2)
        weights["patch_embed.proj.bias"] = self.proj.bias.detach()  # type: ignore[union-attr]
        table = weights["pos_embed"].clone()
        table[:, 1:] += self.times[0]
        weights["pos_embed"] = table
        encoder.load_state_dict(weights)
        return encoder


def _table(spatial: Tensor, times: Tensor) -> Tensor:
    """spatial (1, L, D), times (T, 1, D) -> (1, T * L, D)."""
    return (spatial + times).flatten(0, 1)[None]


def clip_rows(seconds: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """(T,) times -> CLIP_FRAMES rows, evenly over a window at a random place."""
    length = min(PAIR_WINDOW_SECONDS, seconds[-1] - seconds[0])
    start = seconds[0] + generator.random() * (seconds[-1] - seconds[0] - length)
    wanted = start + np.linspace(0, 1, CLIP_FRAMES) * length
    return np.asarray(np.abs(seconds[None, :] - wanted[:, None]).argmin(axis=1))


def train(start: ViCMAE, recipe: Recipe, pictures: Pictures) -> Iterator[float]:
    """Trains on the items that ViC-MAE would see and yields each step's loss; `start` ends as its image encoder."""
    model = RepeatedFrameMAE(start).train()
    optimiser = make_optimiser(model, recipe.weight_decay)
    images, clips = np.flatnonzero(~pictures.is_clip), np.flatnonzero(pictures.is_clip)
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, recipe.steps, recipe.warmup_steps, recipe.base_rate, recipe.batch)
        items = items_of_step(recipe, pictures, images, clips, step)
        loss = _step_loss(model, recipe, pictures, items, step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        yield float(loss.detach())
    start.load_state_dict({**start.state_dict(), **model.image_encoder().state_dict()})


def _step_loss(
    model: RepeatedFrameMAE, recipe: Recipe, pictures: Pictures, items: NDArray[np.int64], step: int
) -> Tensor:
    dice, generator = (
        np.random.default_rng([recipe.seed, step]),
        torch.Generator().manual_seed(recipe.seed * 1_000_003 + step),
    )
    of_clip = pictures.is_clip[items]
    rows_of_images = np.repeat(pictures.first[items[~of_clip]][:, None], TUBE, axis=1)
    rows_of_clips = [pictures.first[i] + clip_rows(times_of(pictures, int(i)), dice) for i in items[of_clip]]
    total = torch.zeros(())
    for rows, mask in ((rows_of_images, IMAGE_MASK), (np.array(rows_of_clips, np.int64), CLIP_MASK)):
        if len(rows):
            clips = _crop(torch.from_numpy(pictures.data[rows]), recipe.size, generator)
            clips = (clips - model.inner.pixel_mean) / model.inner.pixel_std
            tokens = model.inner.spec.tokens * rows.shape[1] // TUBE
            noise = torch.rand(len(rows), tokens, generator=generator)
            total = total + model(clips, mask, noise) * len(rows) / len(items)
    return total


def _crop(pixels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """pixels (N, T, K, K, 3) uint8 -> clips (N, T, 3, size, size) in 0..1, one crop and mirror a clip."""
    n, frames, side = pixels.shape[:3]
    stacked = pixels.permute(0, 1, 4, 2, 3).reshape(n, frames * 3, side, side).float() / 255.0
    return crop_and_flip(stacked, size, CROP, Draws(generator)).reshape(n, frames, 3, size, size)
