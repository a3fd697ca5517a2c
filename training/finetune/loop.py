"""Fine-tuning: the loop from labelled items and a pretrained encoder to a classifier (PAPER 3.1, 3.3).

As in pretraining, everything random in a step follows from (seed, step), so a run that is killed and resumed goes on
as it would have. Reading, augmenting and testing live elsewhere.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from ...errors import TrainingError
from ...model.checkpoints import load_encoder
from ...model.classifier import Classifier, save_classifier
from ...model.config import SIZES
from ...model.encoder import Encoder
from ...model.ranks import rank, world_size
from ...model.video import VideoEncoder, inflate
from ..distributed import mean_of_all, sharing_gradients, wait_for_all
from ..optim import learning_rate, make_layered_optimiser
from ..pretrain import DTYPES, no_number, require_device
from ..rundir import (
    Log,
    load_checkpoint,
    prepare_folder,
    require_unused,
    save_checkpoint,
    step_name,
    write_json,
)
from ..sources import require_few_bad
from .batches import Batch, read_batches, steps_per_epoch
from .data import Task
from .recipe import ImageTuning, VideoTuning
from .views import seed_of

UNTRAINED = "none"
NETWORK_VALUES = ("size", "fit", "feature", "frames", "tube")


def network_values(recipe: ImageTuning) -> tuple[str, ...]:
    """The names of the values that decide which network a recipe builds."""
    return tuple(name for name in NETWORK_VALUES if hasattr(recipe, name))


@dataclass(frozen=True)
class Progress:
    """One step's figures, as they stand in log.jsonl. `rate` is the head's; of the step the device waited `waiting`
    (0 to 1) for data; `bad` items were found undecodable so far by this process."""

    step: int
    epoch: float
    loss: float
    rate: float
    items_per_second: float
    waiting: float
    bad: int


@dataclass(frozen=True)
class Trainer:
    """What a step changes: the network (plain, and as it shares gradients), optimiser, loss scale."""

    model: Classifier
    learner: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    mixup: Mixup | None
    device: str


def build_classifier(recipe: ImageTuning, start: str, classes: tuple[str, ...]) -> Classifier:
    """A classifier on the encoder of the checkpoint `start`, or on an untrained one of the size in `none:SIZE`.

    What is new (head, table of times, an untrained encoder) follows from the seed.
    """
    word, _, size_name = start.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if word == UNTRAINED and not Path(start).exists():
            if size_name not in SIZES:
                raise TrainingError(
                    f"--from is {start!r}; for an untrained encoder say none:SIZE, of {', '.join(SIZES)}."
                )
            if not recipe.size:
                raise TrainingError("An untrained encoder has no size of picture yet. Set one, such as --set size=224.")
            config = SIZES[size_name]
            _require_multiple(recipe.size, config.patch, size_name)
            encoder = Encoder(config, config.input_spec(recipe.size))
        else:
            encoder = load_encoder(Path(start), recipe.size or None)
        spec = encoder.spec if recipe.fit == "as trained" else replace(encoder.spec, fit=recipe.fit)
        dropping = Encoder(encoder.config, spec, recipe.drop_path)
        dropping.load_state_dict(encoder.state_dict())
        trunk: Encoder | VideoEncoder = dropping
        if isinstance(recipe, VideoTuning):
            trunk = inflate(dropping, recipe.frames, recipe.tube, recipe.drop_path, recipe.times)
        return Classifier(trunk, classes, recipe.feature, recipe.dropout).train()


def side_of(model: Classifier) -> int:
    """Pixels of the shorter side of decoded pictures: enough that a crop of half their area is not enlarged much."""
    return -(-model.trunk.spec.size * 4 // 3)


def finetune(
    recipe: ImageTuning,
    task: Task,
    model: Classifier,
    run: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    facts: dict[str, Any] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Path:
    """Trains `model` to the recipe's last step and returns the folder of the last checkpoint; `model` then holds its
    weights.

    `run` must be empty unless `resume`; with `resume` it goes on from its latest checkpoint. Stops with TrainingError
    when the loss is no longer a number or more than 5 % of the items seen cannot be decoded, with StorageError when
    the run cannot be written. Under several processes all call it alike; the first one writes.
    """
    require_device(device)
    require_unused(run, resume)
    rows = require_rows(recipe)
    per_epoch = steps_per_epoch(len(task.train.names), recipe)
    steps, warmup = recipe.epochs * per_epoch, round(recipe.warmup_epochs * per_epoch)
    trainer, start = make_trainer(recipe, model, run, device)
    known = {**(facts or {}), "items": len(task.train.names), "classes": model.classes, "steps": steps}
    writes = rank() == 0
    if writes:
        prepare_folder(run, start)
        write_json(run / "run.json", {**known, "recipe": recipe.to_dict()})
    wait_for_all()
    last = run / step_name(start)
    bad: dict[str, str] = {}
    began = step_began = time.monotonic()
    batches = read_batches(task.train, recipe, model.trunk.spec, rows, start, steps, device.startswith("cuda"))
    with Log(run, start) if writes else nullcontext() as log:
        for done, batch in enumerate(batches, start=start + 1):
            waited_seconds = time.monotonic() - step_began
            rate = learning_rate(done - 1, steps, warmup, recipe.base_rate, recipe.batch, recipe.min_rate)
            loss = train_step(trainer, recipe, batch, done - 1, rate)
            if not np.isfinite(loss):
                raise no_number(loss, done, last, recipe.base_rate)
            bad.update(batch.bad)
            require_few_bad(list(bad.items()), len(task.train.names))
            now = time.monotonic()
            speed = (done - start) * recipe.batch / (now - began)
            waiting = waited_seconds / (now - step_began)
            figures = Progress(done, done / per_epoch, loss, rate, speed, waiting, len(bad))
            step_began = now
            if log is not None:
                log.write(vars(figures))
                if report is not None:
                    report(figures)
            if done % recipe.checkpoint_steps == 0 or done == steps:
                last = run / step_name(done)
                if log is not None:
                    log.flush()
                    _checkpoint(trainer, recipe, run, done, known)
    return last


def require_rows(recipe: ImageTuning) -> NDArray[np.int64]:
    """The rows (passes, M) of a batch that this process takes; a batch that does not divide is refused."""
    parts = recipe.accumulate * world_size()
    if recipe.batch % parts:
        raise TrainingError(
            f"A batch of {recipe.batch} cannot be split over {world_size()} processes in {recipe.accumulate} passes. "
            f"Set batch to a multiple of {parts}."
        )
    if recipe.mixes and recipe.batch // parts % 2:
        raise TrainingError(
            f"Mixing pairs up the items of a pass, and a pass has {recipe.batch // parts}. Set batch to a multiple of "
            f"{2 * parts}, or mixup=0 and cutmix=0."
        )
    every = np.arange(recipe.batch)
    return np.stack([every[i :: recipe.accumulate][rank() :: world_size()] for i in range(recipe.accumulate)])


def make_trainer(recipe: ImageTuning, model: Classifier, run: Path, device: str) -> tuple[Trainer, int]:
    """The network and its optimiser, as they are or from the run's latest checkpoint -> (trainer, first step)."""
    model.to(device).train()
    saved = load_checkpoint(recipe, run, model, device, network_values(recipe))
    optimiser = make_layered_optimiser(model, recipe.weight_decay, recipe.layer_decay)
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=recipe.precision == "fp16")
    learner: nn.Module = model if world_size() == 1 else DistributedDataParallel(model)
    mixup = None
    if recipe.mixes:
        mixup = Mixup(
            recipe.mixup,
            recipe.cutmix,
            prob=recipe.mix_chance,
            switch_prob=recipe.cutmix_chance,
            label_smoothing=recipe.smoothing,
            num_classes=len(model.classes),
        )
    if saved is not None:
        if saved["classes"] != list(model.classes):
            raise TrainingError(f"{run} was begun with other classes. Name another folder for a new run.")
        optimiser.load_state_dict(saved["optimiser"])
        if "scaler" in saved:
            scaler.load_state_dict(saved["scaler"])
    return Trainer(model, learner, optimiser, scaler, mixup, device), 0 if saved is None else int(saved["step"])


def train_step(trainer: Trainer, recipe: ImageTuning, batch: Batch, step: int, rate: float) -> float:
    """One update, in as many passes as the recipe accumulates -> its mean loss before it, over all processes."""
    seed = seed_of(recipe.seed, step, rank())
    torch.manual_seed(seed)  # dropout and drop path
    np.random.seed(seed % 2**32)  # mixing
    for group in trainer.optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]
    trainer.optimiser.zero_grad(set_to_none=True)
    loss, passes = 0.0, recipe.accumulate
    kind = torch.device(trainer.device).type
    parts = zip(batch.pictures.chunk(passes), batch.targets.chunk(passes), strict=True)
    for number, (pictures, targets) in enumerate(parts, start=1):
        pictures, targets = (part.to(trainer.device, non_blocking=True) for part in (pictures, targets))
        pictures, wanted = mix(trainer.mixup, pictures, targets)
        smoothing = 0.0 if trainer.mixup is not None else recipe.smoothing
        with sharing_gradients(trainer.learner, number == passes):
            with torch.autocast(kind, DTYPES[recipe.precision], enabled=recipe.precision != "fp32"):
                logits = trainer.learner(pictures)
            of_pass = functional.cross_entropy(logits.float(), wanted, label_smoothing=smoothing)
            trainer.scaler.scale(of_pass / passes).backward()  # type: ignore[no-untyped-call]
        loss += float(of_pass.detach()) / passes
    if recipe.clip_gradient:
        trainer.scaler.unscale_(trainer.optimiser)
        nn.utils.clip_grad_norm_(trainer.model.parameters(), recipe.clip_gradient)
    trainer.scaler.step(trainer.optimiser)
    trainer.scaler.update()
    return mean_of_all([loss], trainer.device)[0]


def mix(mixup: Mixup | None, pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mixup or cutmix of a pass with itself turned round -> (pictures, targets (M, C)); all frames of a clip alike."""
    if mixup is None:
        return pictures, targets
    flat, soft = mixup(pictures.flatten(1, -3), targets)  # (M, T * 3, S, S) of clips
    return flat.view(pictures.shape), soft


def _checkpoint(trainer: Trainer, recipe: ImageTuning, run: Path, step: int, known: dict[str, Any]) -> None:
    state: dict[str, Any] = {"optimiser": trainer.optimiser.state_dict(), "classes": list(trainer.model.classes)}
    if trainer.scaler.is_enabled():
        state["scaler"] = trainer.scaler.state_dict()
    notes = {"recipe": recipe.to_dict(), "kind": "video" if isinstance(recipe, VideoTuning) else "image"}

    def save(model: Classifier, path: Path) -> None:
        save_classifier(model, path, notes)

    save_checkpoint(trainer.model, state, recipe, run, step, save)


def _require_multiple(size: int, patch: int, name: str) -> None:
    if size % patch:
        raise TrainingError(f"size is {size}; {name} needs a positive multiple of {patch}.")
