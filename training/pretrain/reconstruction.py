"""A picture of how far the network is: input, what it sees of it, and what it makes of the rest. Trains nothing."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...model.conv_vicmae import ConvViCMAE
from ...model.losses import patchify, unpatchify
from ...model.vicmae import ViCMAE

GREY = 0.5


def draw_reconstruction(
    model: ViCMAE | ConvViCMAE, pictures: Tensor, predicted: Tensor, mask: Tensor, normalised_patches: bool
) -> Image.Image:
    """pictures (N, 3, S, S) normalised, predicted (N, L, P), mask (N, L) 1 = removed -> an image of N rows:
    input, masked input, and the input with the removed patches as predicted."""
    patch = model.config.patch
    patches, removed = patchify(pictures.float(), patch), mask[:, :, None] > 0
    guessed = predicted.float()
    if normalised_patches:  # the network tells a patch's pattern; its mean and contrast are taken from the input
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        guessed = guessed * (variance + 1e-6).sqrt() + mean
    views = []
    for shown in (patches, patches, torch.where(removed, guessed, patches)):
        views.append(unpatchify(shown, patch) * model.pixel_std + model.pixel_mean)
    hidden = unpatchify(removed.expand_as(patches).float(), patch)
    views[1] = torch.where(hidden > 0, torch.full_like(views[1], GREY), views[1])
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in zip(*views, strict=True)], dim=1)  # (3, N * S, 3 * S)
    pixels = (sheet.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)


def save_reconstruction(image: Image.Image, folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    image.save(folder / f"{name}.png")
    return folder / f"{name}.png"
