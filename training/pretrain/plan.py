"""What a run will cost, before it is begun: parameters, FLOPs, memory, and the hours it takes on this machine.

Counted and measured on made pictures; no source is read and nothing is written.
"""

import time
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...model.checkpoints import TRAINING_ONLY
from ...model.ranks import world_size
from ..recipe import Recipe
from .batches import Batch, split_rows
from .loop import Trainer, build_network, make_learning, train_step
from .step_inputs import Network, inputs_of_step

MEASURED_STEPS = 3
MEASURED_PAIRS_ON_CPU = 16
COUNTED_PAIRS = 2
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
    model = build_network(recipe)
    parameters = sum(p.numel() for p in model.parameters())
    kept_bytes = kept_bytes_per_pair(model, recipe)
    trainer = make_learning(model.to(device).train(), recipe, device)
    seconds = _seconds_per_pass(trainer, recipe, pairs, device)
    rate = pairs / seconds * world_size()
    return Plan(
        parameters=parameters,
        encoder_parameters=parameters
        - sum(p.numel() for n, p in model.named_parameters() if n.startswith(TRAINING_ONLY)),
        flops_per_step=recipe.batch * flops_per_pair(model, recipe),
        memory_bytes=parameters * BYTES_PER_WEIGHT + len(rows) * kept_bytes,
        measured_pairs=pairs,
        pairs_per_second=rate,
        hours=recipe.steps * recipe.batch / rate / 3600,
    )


def flops_per_pair(model: Network, recipe: Recipe) -> float:
    """Multiplications and additions of one pair, forward and backward, as PyTorch counts them on two pairs."""
    with FlopCounterMode(display=False) as counter:
        _loss_of_made_pairs(model, recipe).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    return float(counter.get_total_flops()) / COUNTED_PAIRS


def kept_bytes_per_pair(model: Network, recipe: Recipe) -> float:
    """What the forward pass keeps for the backward pass, counted on two pairs in float32; half of it in bf16, fp16."""
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = _loss_of_made_pairs(model, recipe)
    del loss
    return sum(kept.values()) / COUNTED_PAIRS * (1.0 if recipe.precision == "fp32" else 0.5)


def _loss_of_made_pairs(model: Network, recipe: Recipe) -> torch.Tensor:
    batch = _made_batch(recipe, COUNTED_PAIRS)
    loss: torch.Tensor = model.losses(*inputs_of_step(model, recipe, batch, batch.pixels, batch.rows, 0)).total
    return loss


def _made_batch(recipe: Recipe, pairs: int) -> Batch:
    side = recipe.stored_side
    made = torch.randint(0, 256, (2, pairs, side, side, 3), dtype=torch.uint8)
    rows = torch.arange(pairs)
    return Batch(made, rows, rows < recipe.clip_share * pairs, rows)


def _seconds_per_pass(trainer: Trainer, recipe: Recipe, pairs: int, device: str) -> float:
    one_pass = replace(recipe, batch=pairs, accumulate=1)
    batch = _made_batch(recipe, pairs)
    train_step(trainer, one_pass, batch, 0)  # warms up: memory, compilation
    began = time.perf_counter()
    for step in range(1, 1 + MEASURED_STEPS):
        train_step(trainer, one_pass, batch, step)
    return (time.perf_counter() - began) / MEASURED_STEPS
