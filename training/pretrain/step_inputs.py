"""What the network is given in a step: views of the pairs of one pass, and what is hidden of them.

All of it follows from (seed, step), whatever the number of processes and passes; only what is mixed into an edit comes
from the pictures that a process has at hand.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ...model.conv_vicmae import ConvViCMAE, blocks_of_cells
from ...model.vicmae import Objective, ViCMAE
from ..edits import edit, mild, overlay_bank
from ..recipe import Recipe
from ..views import two_views
from .batches import Batch

OVERLAYS = 1024
Network = ViCMAE | ConvViCMAE


@torch.no_grad()
def inputs_of_step(
    model: Network, recipe: Recipe, batch: Batch, pixels: Tensor, rows: Tensor, step: int
) -> tuple[Any, ...]:
    """pixels (2, M, K, K, 3) uint8 of the pairs at `rows` (M,) of a batch -> the arguments of the network's losses."""
    device = model.pixel_mean.device
    pixels, rows = pixels.to(device, non_blocking=True), rows.to(device)
    if isinstance(model, ConvViCMAE):
        return _edited_views(model, recipe, batch, pixels, rows, step)
    return _masked_views(model, recipe, batch, pixels, rows, step)


def _masked_views(
    model: ViCMAE, recipe: Recipe, batch: Batch, pixels: Tensor, rows: Tensor, step: int
) -> tuple[Any, ...]:
    """Both views, normalised, and the noise of their masks, as the whole batch would give."""
    device = pixels.device
    generator = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + step)
    is_clip = batch.is_clip.to(device)
    of_images, of_frames = (recipe.image_view1, recipe.image_view2), (recipe.frame_view1, recipe.frame_view2)
    views = two_views(pixels, is_clip, recipe.size, of_images, of_frames, generator, rows)
    first, second = ((v - model.pixel_mean) / model.pixel_std for v in views)
    noise = torch.rand(2, len(is_clip), model.spec.tokens, generator=generator, device=device)
    return first, second, objective_at(recipe, step), (noise[0, rows], noise[1, rows])


def objective_at(recipe: Recipe, step: int) -> Objective:
    """The weights of a step: the contrast comes in once its share of the steps is over, at once or along a ramp."""
    over = step - recipe.contrast_from * recipe.steps
    if over < 0:
        return replace(recipe.objective, contrast_weight=0.0)
    ramp_steps = recipe.contrast_ramp * recipe.steps
    share = min(1.0, over / ramp_steps) if ramp_steps else 1.0
    return replace(recipe.objective, contrast_weight=recipe.objective.contrast_weight * share)


def _edited_views(
    model: ConvViCMAE, recipe: Recipe, batch: Batch, pixels: Tensor, rows: Tensor, step: int
) -> tuple[Any, ...]:
    """A clean view and an edited one of each pair, normalised, what the edited ones show, the numbers of the items, and
    which cells are to be seen."""
    device = pixels.device
    generator = torch.Generator(device).manual_seed((recipe.seed * 1_000_003 + step) * 4099 + int(rows[0]))
    clean = mild(pixels[0], recipe.size, recipe.mild_share, generator)
    edited, content = edit(
        pixels[1], recipe.size, recipe.edits, overlays_of(recipe.size, recipe.seed, device), generator
    )
    objective = recipe.copies
    visible = blocks_of_cells(len(rows), model.spec.grid, objective.masked_share, objective.mask_ratio, generator)
    clean, edited = ((v - model.pixel_mean) / model.pixel_std for v in (clean, edited))
    return clean, edited, content, batch.items.to(device)[rows], visible, objective


@cache
def overlays_of(size: int, seed: int, device: torch.device) -> Tensor:
    """(OVERLAYS, size, size, 4) uint8: the overlays of a run, drawn once."""
    return torch.from_numpy(overlay_bank(OVERLAYS, size, seed)).to(device)
