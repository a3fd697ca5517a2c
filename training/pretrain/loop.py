"""Pretraining: the loop from pictures to checkpoints.

Everything random in a step follows from (seed, step): which items, which frames, which crops, which patches are
masked. So a run that is killed and resumed sees what it would have seen, under any number of processes, and no
generator's state needs saving. Evaluation and export live elsewhere.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import TrainingError
from ...model.checkpoints import save_model
from ...model.config import SIZES
from ...model.conv_vicmae import ConvViCMAE
from ...model.ranks import BatchNorm, rank, world_size
from ...model.vicmae import ViCMAE
from ..distributed import (
    mean_of_all,
    shared_learner,
    sharing_gradients,
    split_like_weights,
    wait_for_all,
    whole,
)
from ..optim import learning_rate, make_optimiser
from ..recipe import Recipe
from ..rundir import (
    Log,
    load_checkpoint,
    prepare_folder,
    require_unused,
    save_checkpoint,
    step_name,
    storing,
    write_run_facts,
)
from ..sources import Pictures
from .batches import Batch, read_ahead, split_rows
from .reconstruction import draw_reconstruction, save_reconstruction
from .step_inputs import Network, inputs_of_step

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Progress:
    """One step's figures, as they stand in log.jsonl. A contrast was taken over `pairs_per_contrast` pairs; of the
    step's time the device waited `waiting` (0 to 1) for data."""

    step: int
    loss: float
    reconstruction: float
    contrast: float
    rate: float
    pairs_per_second: float
    pairs_per_contrast: int
    waiting: float


@dataclass(frozen=True)
class Trainer:
    """What a step changes: the network (plain, and as the learner that shares gradients), optimiser, loss scale."""

    model: Network
    learner: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: str


@dataclass(frozen=True)
class Outcome:
    """A step's losses before its update, (total, reconstruction, contrast), and a few first views of its last pass."""

    losses: tuple[float, float, float]
    pictures: Tensor
    predicted: Tensor
    mask: Tensor


def pretrain(
    recipe: Recipe,
    pictures: Pictures,
    run: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    facts: dict[str, Any] | None = None,
    report: Callable[[Progress], None] | None = None,
    begin: Callable[[Network], None] = lambda model: None,
) -> Path:
    """Trains to the recipe's last step and returns the folder of the last checkpoint.

    `run` must be empty unless `resume`; with `resume` it goes on from its latest checkpoint. `begin` puts weights into
    a new network. `facts` (command, data) are kept with the recipe in run.json, for the card of a bundle. Stops with
    TrainingError when the loss is no longer a number, with StorageError when the run cannot be written. Under several
    processes (distributed.joined) all call it alike; the first one writes.
    """
    require_device(device)
    require_unused(run, resume)
    writes = rank() == 0
    rows = split_rows(recipe.batch, recipe.accumulate, rank(), world_size())
    trainer, start = make_trainer(recipe, run, device, begin)
    if writes:
        prepare_folder(run, start)
        write_run_facts(run, recipe, pictures, facts or {})
    wait_for_all()
    last = run / step_name(start)
    if recipe.steps == 0:
        return _checkpoint(trainer, recipe, run, 0)
    began = time.monotonic()
    with Log(run, start) if writes else nullcontext() as log:
        for step, batch, waited_seconds in read_ahead(recipe, pictures, start, rows, device.startswith("cuda")):
            step_began = time.monotonic() - waited_seconds
            outcome = train_step(trainer, recipe, batch, step)
            done = step + 1
            if not np.isfinite(outcome.losses[0]):
                raise no_number(outcome.losses[0], done, last, recipe.base_rate)
            figures = Progress(
                done,
                *outcome.losses,
                trainer.optimiser.param_groups[0]["lr"],
                (done - start) * recipe.batch / (time.monotonic() - began),
                recipe.pairs_per_contrast,
                waited_seconds / (time.monotonic() - step_began),
            )
            if log is not None:
                log.write(vars(figures))
                if recipe.picture_steps and done % recipe.picture_steps == 0:
                    _save_picture(trainer.model, outcome, recipe, run, done)
            if report is not None and writes:
                report(figures)
            if done % recipe.checkpoint_steps == 0 or done == recipe.steps:
                if log is not None:
                    log.flush()
                last = _checkpoint(trainer, recipe, run, done)
    return last


def build_network(recipe: Recipe) -> Network:
    """The network of a recipe with its initial weights, which follow from the seed."""
    if not recipe.on_edits:
        return build_model(recipe)
    config = SIZES[recipe.model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return ConvViCMAE(config, config.input_spec(recipe.size, fit=recipe.fit), recipe.queue)


def build_model(recipe: Recipe) -> ViCMAE:
    """The same for a network whose stem cuts patches."""
    config = SIZES[recipe.model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return ViCMAE(config, config.input_spec(recipe.size, fit=recipe.fit), recipe.heads)


def make_trainer(
    recipe: Recipe, run: Path, device: str, begin: Callable[[Network], None] = lambda model: None
) -> tuple[Trainer, int]:
    """The network and its optimiser, new or from the run's latest checkpoint -> (trainer, the step to start with).

    `begin` puts other weights than random ones into the network of a new run.
    """
    model = build_network(recipe).to(device).train()
    saved = load_checkpoint(recipe, run, model, device)
    if saved is None:
        begin(model)
    trainer = make_learning(model, recipe, device)
    if saved is None:
        return trainer, 0
    trainer.optimiser.load_state_dict(split_like_weights(trainer.optimiser, saved["optimiser"]))
    if "scaler" in saved:
        trainer.scaler.load_state_dict(saved["scaler"])
    return trainer, int(saved["step"])


def make_learning(model: Network, recipe: Recipe, device: str) -> Trainer:
    """A network on its device, compiled and shared as the recipe wants, with a new optimiser."""
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.synced = recipe.sync_batchnorm
    if isinstance(model, ConvViCMAE):
        model.freeze(recipe.frozen_groups)
        model.to(memory_format=torch.channels_last)
    elif recipe.compile:
        for block in (*model.blocks, *model.decoder_blocks):
            block.compile(dynamic=False)  # the code of one block serves all of its shape; sizes never change
    learner = shared_learner(model, recipe.shard)
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=recipe.precision == "fp16")
    return Trainer(model, learner, make_optimiser(model, recipe.weight_decay), scaler, device)


def train_step(trainer: Trainer, recipe: Recipe, batch: Batch, step: int) -> Outcome:
    """One update, in as many passes as the recipe accumulates; each pass is a contrast of its own."""
    rate = learning_rate(step, recipe.steps, recipe.warmup_steps, recipe.base_rate, recipe.batch)
    for group in trainer.optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]
    trainer.optimiser.zero_grad(set_to_none=True)
    losses = torch.zeros(3, dtype=torch.float64, device=trainer.device)
    passes = recipe.accumulate
    parts = zip(batch.pixels.chunk(passes, dim=1), batch.rows.chunk(passes), strict=True)
    for number, (pixels, rows) in enumerate(parts, start=1):
        inputs = inputs_of_step(trainer.model, recipe, batch, pixels, rows, step)
        with sharing_gradients(trainer.learner, number == passes):
            with torch.autocast(
                torch.device(trainer.device).type, DTYPES[recipe.precision], enabled=recipe.precision != "fp32"
            ):
                *of_pass, pictures, predicted, mask = trainer.learner(*inputs)
            trainer.scaler.scale(of_pass[0] / passes).backward()
        losses += torch.stack([loss.detach() for loss in of_pass]) / passes
    trainer.scaler.step(trainer.optimiser)
    trainer.scaler.update()
    total, reconstruction, contrast = mean_of_all(losses.tolist(), trainer.device)
    return Outcome((total, reconstruction, contrast), pictures, predicted, mask)


def no_number(loss: float, step: int, last: Path, base_rate: float) -> TrainingError:
    """The sentence for a loss that is NaN or infinite, after the checkpoint `last`, if there is one."""
    what_to_do = f"Go on from {last.name} with --resume" if last.exists() else "Begin anew with --out NEW"
    return TrainingError(
        f"The loss is {loss} at step {step}, no number. {what_to_do} and a smaller base_rate, such as "
        f"--set base_rate={base_rate / 2:g}."
    )


def require_device(device: str) -> None:
    """Refuses a device that PyTorch does not know or cannot use on this machine."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what torch raises without a GPU, a driver
        raise TrainingError(
            f"The device {device!r} cannot be used here. Name cpu, cuda or cuda:N, or run it where it is. PyTorch "
            f"says: {str(error).splitlines()[0]}"
        ) from error


def _checkpoint(trainer: Trainer, recipe: Recipe, run: Path, step: int) -> Path:
    """Puts split weights together where they are split, and has the first process write."""
    model, optimiser = trainer.model, whole(trainer.optimiser.state_dict())
    if recipe.shard and world_size() > 1:
        weights = whole(model.state_dict())
        if rank() == 0:
            model = build_network(recipe)
            model.load_state_dict(weights)
    state = {"optimiser": optimiser}
    if trainer.scaler.is_enabled():
        state["scaler"] = trainer.scaler.state_dict()
    if rank() == 0:
        save_checkpoint(model, state, recipe, run, step, save_model)
    return run / step_name(step)


def _save_picture(model: Network, outcome: Outcome, recipe: Recipe, run: Path, step: int) -> None:
    normalised = recipe.on_edits or recipe.objective.normalise_patches
    image = draw_reconstruction(model, outcome.pictures, outcome.predicted, outcome.mask, normalised)
    with storing(run):
        save_reconstruction(image, run / "pictures", step_name(step))
