"""The two losses of ViC-MAE: masked pixels, and agreement of two views against all others (PAPER 1.5, 1.6)."""

import torch
from torch import Tensor
from torch.nn import functional


def patchify(pictures: Tensor, patch: int) -> Tensor:
    """pictures (N, 3, S, S) -> patches (N, L, patch*patch*3), raster order; inside a patch (row, column, channel)."""
    n, channels, size, _ = pictures.shape
    grid = size // patch
    cells = pictures.reshape(n, channels, grid, patch, grid, patch)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(n, grid * grid, patch * patch * channels)


def reconstruction_loss(
    predicted: Tensor, pictures: Tensor, mask: Tensor, patch: int, normalise_patches: bool
) -> Tensor:
    """Mean squared error on the removed patches.

    predicted (N, L, P), pictures (N, 3, S, S), mask (N, L) with 1 = removed -> scalar. With `normalise_patches` each
    target patch is brought to mean 0 and (unbiased) variance 1.
    """
    target = patchify(pictures, patch)
    if normalise_patches:
        variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = (predicted - target).square().mean(dim=-1)
    return (error * mask).sum() / mask.sum()


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """NT-Xent over the 2N projections of N pairs: first (N, P), second (N, P), not yet unit length -> scalar.

    Row i of both views is one pair; every other of the 2N - 1 vectors stands in the denominator.
    """
    pairs = len(first)
    vectors = functional.normalize(torch.cat([first, second]), dim=1)
    similarity = vectors @ vectors.T / temperature
    itself = torch.eye(2 * pairs, dtype=torch.bool, device=vectors.device)
    partner = torch.arange(2 * pairs, device=vectors.device).roll(pairs)
    return functional.cross_entropy(similarity.masked_fill(itself, float("-inf")), partner)
