"""The optimiser and its schedule: AdamW, linear rule for the rate, warm-up, half a cosine (PAPER 1.8)."""

import math

import torch
from torch import nn


def make_optimiser(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.95); vectors and biases are not decayed, the class and mask tokens are."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, steps: int, warmup_steps: int, base_rate: float, batch: int) -> float:
    """The rate of a step: base_rate * batch / 256 at its peak, linear from 0, then half a cosine to 0."""
    peak = base_rate * batch / 256
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
