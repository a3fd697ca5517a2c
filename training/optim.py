"""The optimisers and their schedule: AdamW, linear rule for the rate, warm-up, half a cosine (PAPER 1.8, 3.1)."""

import math

import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from ..model.classifier import Classifier

NEW_RATE = 2.0
NEVER_DECAYED = ("*.cls_token", "*.temporal_embed")


def make_optimiser(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.95); vectors and biases are not decayed, the class and mask tokens are. A group's rate is
    `lr_scale` times the schedule's: 1, and NEW_RATE for what a pretrained trunk does not bring."""
    has_trunk = any(name.startswith("trunk.") for name, _ in model.named_parameters())
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            parts.setdefault((weight.ndim > 1, has_trunk and not name.startswith("trunk.")), []).append(weight)
    groups = [
        {"params": weights, "weight_decay": weight_decay if decayed else 0.0, "lr_scale": NEW_RATE if new else 1.0}
        for (decayed, new), weights in sorted(parts.items(), key=lambda part: (not part[0][0], part[0][1]))
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=True)


def make_layered_optimiser(model: Classifier, weight_decay: float, layer_decay: float) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.999); each group's `lr_scale` is layer_decay to the power of its distance from the head.

    Vectors, biases, the class token and the table of times are not decayed.
    """
    groups = param_groups_layer_decay(model, weight_decay, NEVER_DECAYED, layer_decay=layer_decay)
    return torch.optim.AdamW(groups, lr=0.0, fused=True)


def learning_rate(
    step: int, steps: int, warmup_steps: int, base_rate: float, batch: int, min_rate: float = 0.0
) -> float:
    """The rate of a step: base_rate * batch / 256 at its peak, linear from 0, then half a cosine to min_rate."""
    peak = base_rate * batch / 256
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return min_rate + (peak - min_rate) * 0.5 * (1 + math.cos(math.pi * progress))
