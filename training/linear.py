"""The linear probe: one linear layer trained on frozen vectors says how much of the classes lies open in them.

As MAE probes (PAPER 3.2): BatchNorm without weights, then Linear from N(0, .01), no weight decay; with AdamW instead of
LARS, and without augmentation, since the vectors are computed once, by an Engine: means of patch tokens at unit length.
Embedding and files are not known here.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..errors import TrainingError
from .evaluate import Vectors

BATCH = 1024
EPS = 1e-6


def linear_accuracy(known: Vectors, queries: Vectors, *, epochs: int, rate: float, seed: int = 0) -> dict[str, float]:
    """Share of queries whose class comes first (top-1), or among the first five (top-5, if there are more classes).

    A query of a class that `known` lacks counts as wrong. The same seed gives the same probe.
    """
    classes, targets = np.unique(known.labels, return_inverse=True)
    if len(classes) < 2:
        raise TrainingError(f"The known samples are all of the class {classes[0]}; a linear probe needs two or more.")
    mean, scale = _statistics(known.vectors)
    probe = train_probe(
        torch.from_numpy((known.vectors - mean) / scale), torch.from_numpy(targets), len(classes), epochs, rate, seed
    )
    with torch.inference_mode():
        logits = probe(torch.from_numpy((queries.vectors - mean) / scale))
    places = np.searchsorted(classes, queries.labels).clip(max=len(classes) - 1)
    wanted = torch.from_numpy(np.where(classes[places] == queries.labels, places, -1))
    ranks = {"top-1": 1, "top-5": 5} if len(classes) > 5 else {"top-1": 1}
    return {
        name: float((logits.topk(k, dim=1).indices == wanted[:, None]).any(dim=1).double().mean())
        for name, k in ranks.items()
    }


def train_probe(vectors: Tensor, targets: Tensor, classes: int, epochs: int, rate: float, seed: int) -> nn.Linear:
    """vectors (N, D) float32, targets (N,) int64 -> the layer after `epochs` of AdamW, the rate falling as a cosine."""
    generator = torch.Generator().manual_seed(seed)
    probe = nn.Linear(vectors.shape[1], classes)
    nn.init.trunc_normal_(probe.weight, std=0.01, generator=generator)
    nn.init.zeros_(probe.bias)
    optimiser = torch.optim.AdamW(probe.parameters(), lr=rate, weight_decay=0.0)
    steps = epochs * -(-len(vectors) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        order = torch.randperm(len(vectors), generator=generator)
        for start in range(0, len(vectors), BATCH):
            rows = order[start : start + BATCH]
            optimiser.zero_grad()
            functional.cross_entropy(probe(vectors[rows]), targets[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return probe


def _statistics(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(D,) mean and scale: BatchNorm with the statistics of all known vectors, so that no batch is too small for it.

    Unit vectors have components of about 1 / sqrt(D); EPS is made as small beside them as it is beside raw features.
    """
    return vectors.mean(axis=0), np.sqrt(vectors.var(axis=0) + np.float32(EPS / vectors.shape[1]))
