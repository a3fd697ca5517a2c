"""The two losses of ViC-MAE: masked pixels, and agreement of two views against all others (PAPER 1.5, 1.6)."""

import torch
from torch import Tensor
from torch.nn import functional

from .ranks import gather, rank


def patchify(pictures: Tensor, patch: int) -> Tensor:
    """pictures (N, 3, S, S) -> patches (N, L, patch*patch*3), raster order; inside a patch (row, column, channel)."""
    n, channels, size, _ = pictures.shape
    grid = size // patch
    cells = pictures.reshape(n, channels, grid, patch, grid, patch)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(n, grid * grid, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int) -> Tensor:
    """patches (N, L, patch*patch*3) -> pictures (N, 3, S, S): the way back."""
    n, count, _ = patches.shape
    grid = round(count**0.5)
    cells = patches.reshape(n, grid, grid, patch, patch, 3)
    return cells.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, grid * patch, grid * patch)


def reconstruction_errors(predicted: Tensor, patches: Tensor, normalise_patches: bool) -> Tensor:
    """predicted, patches (N, M, P): the M removed patches of each picture -> (N,) mean squared error of each.

    With `normalise_patches` each target patch is brought to mean 0 and (unbiased) variance 1.
    """
    target = patches
    if normalise_patches:
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        target = (patches - mean) * (variance + 1e-6).rsqrt()
    return (predicted - target).square().mean(dim=(1, 2))


def contrastive_loss(
    first: Tensor,
    second: Tensor,
    temperature: float,
    targets: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """NT-Xent over the projections of N pairs: first (N, P), second (N, P), not yet unit length -> scalar.

    Row i of both views is one pair. A view is compared with all views but itself: its partner against the 2N - 2 of
    other pairs. Under several processes the pairs of all stand in the comparison, each known by its own number, and
    the mean of the processes' losses is the loss of one process with all pairs. With `targets` (the other head's
    projections of the same views) the views are compared with these.
    """
    anchors = functional.normalize(torch.cat([first, second]), dim=1)
    compared = anchors if targets is None else functional.normalize(torch.cat(targets), dim=1)
    everyone = torch.cat([gather(view) for view in compared.chunk(2)])
    all_pairs = len(everyone) // 2
    mine = torch.arange(len(first), device=anchors.device) + rank() * len(first)
    itself, partner = torch.cat([mine, mine + all_pairs]), torch.cat([mine + all_pairs, mine])
    similarity = anchors @ everyone.T / temperature
    return functional.cross_entropy(similarity.scatter(1, itself[:, None], float("-inf")), partner)


def multi_positive_loss(
    vectors: Tensor, known: Tensor, content: Tensor, not_negatives: Tensor, temperature: float
) -> Tensor:
    """InfoNCE both ways where a view may show several items: vectors (N, D), known (N + Q, D), unit length -> scalar.

    content (N, N) bool: which of the first N of `known` each view shows; each of them is wanted alike. not_negatives
    (N, N + Q) bool: which of the known are left out of a view's comparison; never a wanted one. Row by row, then column
    by column: a known picture looks for the views that show it.
    """
    n = len(vectors)
    similarity = (vectors @ known.T / temperature).masked_fill(not_negatives, float("-inf"))
    absent = ~content
    of_views = -functional.log_softmax(similarity, dim=1)[:, :n].masked_fill(absent, 0.0)
    of_known = -functional.log_softmax(similarity[:, :n], dim=0).masked_fill(absent, 0.0)
    wanted = content.float()
    rows = of_views.sum(dim=1) / wanted.sum(dim=1)
    columns = of_known.sum(dim=0) / wanted.sum(dim=0)
    return 0.5 * (rows.mean() + columns.mean())


def entropy_loss(vectors: Tensor) -> Tensor:
    """KoLeo: minus the mean log distance to the nearest neighbour in the batch, (N, D) unit length -> scalar.

    It spreads vectors over the sphere, as in SSCD (arXiv 2202.10261).
    """
    similarity = vectors @ vectors.T
    nearest = (similarity - 4 * torch.eye(len(vectors), device=vectors.device)).amax(dim=1)
    return -0.5 * (2 - 2 * nearest).clamp(min=1e-6).log().mean()
