"""What a run will cost, before it is begun: parameters, FLOPs, memory, and the hours it takes on this machine.

Counted and measured on made pictures; no source is read and nothing is written.
"""

import time
from dataclasses import dataclass, replace

import torch

from ..model.config import ModelConfig
from ..model.ranks import world_size
from ..model.vicmae import ViCMAE
from .batches import Batch, split_rows
from .pretrain import Trainer, build_model, make_learning, train_step
from .recipe import Recipe

MEASURED_STEPS = 3
MEASURED_PAIRS_ON_CPU = 16
BYTES_PER_WEIGHT = 16  # float32: the weight, its gradient, and two moments of AdamW


@dataclass(frozen=True)
class Plan:
    """parameters: of network and encoder; flops_per_step and memory_bytes: of all passes, and of one process."""

    parameters: int
    encoder_parameters: int
    flops_per_step: float
    memory_bytes: float
    measured_pairs: int
    pairs_per_second: float
    hours: float


def plan_run(recipe: Recipe, device: str) -> Plan:
    """Times a few steps of at most one pass on made pictures; hours are those of as many processes as there are now."""
    rows = split_rows(recipe.batch, recipe.accumulate, 0, world_size())[0]
    pairs = len(rows) if device.startswith("cuda") else min(len(rows), MEASURED_PAIRS_ON_CPU)
    model = build_model(recipe)
    parameters = sum(p.numel() for p in model.parameters())
    kept_bytes = kept_bytes_per_pair(model, recipe)
    trainer = make_learning(model.to(device).train(), recipe, device)
    seconds = _seconds_per_pass(trainer, recipe, pairs, device)
    rate = pairs / seconds * world_size()
    return Plan(
        parameters=parameters,
        encoder_parameters=parameters - sum(p.numel() for n, p in model.named_parameters() if _only_trains(n)),
        flops_per_step=recipe.batch * flops_per_pair(model, recipe),
        memory_bytes=parameters * BYTES_PER_WEIGHT + len(rows) * kept_bytes,
        measured_pairs=pairs,
        pairs_per_second=rate,
        hours=recipe.steps * recipe.batch / rate / 3600,
    )


def flops_per_pair(model: ViCMAE, recipe: Recipe) -> float:
    """Multiplications and additions of the matrix products of both views, forward and backward (twice the forward)."""
    config, tokens = model.config, model.spec.tokens
    visible = int(tokens * (1 - recipe.objective.mask_ratio))
    kept, seen = visible + model.first_patch, tokens + model.first_patch
    pixels = 3 * config.patch**2
    heads = 1 if recipe.heads == "shared" else 2
    projector = config.projector_hidden * (config.dim + config.projector_hidden + config.projector_dim)
    view = (
        2 * visible * pixels * config.dim
        + _of_blocks(kept, config.dim, config.depth, config)
        + 2 * kept * config.dim * config.decoder_dim
        + _of_blocks(seen, config.decoder_dim, config.decoder_depth, config)
        + 2 * (tokens - visible) * config.decoder_dim * pixels
        + heads * 2 * projector
    )
    # The pixels need no gradient: the patch embedding is twice its forward, the rest three times.
    return 2 * (3 * view - 2 * visible * pixels * config.dim)


def _of_blocks(tokens: int, dim: int, depth: int, config: ModelConfig) -> float:
    weights = (4 + 2 * config.mlp_ratio) * dim**2
    return depth * (2 * tokens * weights + 4 * tokens**2 * dim)


def kept_bytes_per_pair(model: ViCMAE, recipe: Recipe) -> float:
    """What the forward pass keeps for the backward pass, counted on two pairs in float32; half of it in bf16, fp16."""
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    size, tokens = model.spec.size, model.spec.tokens
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        views, noise = torch.zeros(2, 2, 3, size, size), torch.rand(2, 2, tokens)
        losses = model.losses(views[0], views[1], recipe.objective, (noise[0], noise[1]))
    del losses
    return sum(kept.values()) / 2 * (1.0 if recipe.precision == "fp32" else 0.5)


def _only_trains(name: str) -> bool:
    return name.startswith(("decoder", "mask_token", "projector"))


def _seconds_per_pass(trainer: Trainer, recipe: Recipe, pairs: int, device: str) -> float:
    one_pass = replace(recipe, batch=pairs, accumulate=1)
    side = recipe.size * 4 // 3
    made = torch.randint(0, 256, (2, pairs, side, side, 3), dtype=torch.uint8)
    batch = Batch(made, torch.arange(pairs), torch.arange(pairs) < recipe.clip_share * pairs)
    train_step(trainer, one_pass, batch, 0)  # warms up: memory, compilation
    began = time.perf_counter()
    for step in range(1, 1 + MEASURED_STEPS):
        train_step(trainer, one_pass, batch, step)
    return (time.perf_counter() - began) / MEASURED_STEPS
