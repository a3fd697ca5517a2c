"""Pretraining: the loop from pictures to checkpoints.

Everything random in a step follows from (seed, step): which items, which frames, which crops, which patches are
masked. So a run that is killed and resumed sees what it would have seen, and no generator's state needs saving.
One process, one device; evaluation and export live elsewhere.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import TrainingError
from ..model.checkpoints import save_model
from ..model.config import SIZES
from ..model.vicmae import Objective, ViCMAE
from .optim import learning_rate, make_optimiser
from .recipe import Recipe
from .sources import Pictures
from .views import pick_pair, two_views


@dataclass(frozen=True)
class Progress:
    """One step's figures, as they stand in log.jsonl."""

    step: int
    loss: float
    reconstruction: float
    contrast: float
    rate: float
    pairs_per_second: float


@dataclass(frozen=True)
class Batch:
    """pixels (2, N, K, K, 3) uint8: the two pictures of each pair; is_clip (N,) bool."""

    pixels: Tensor
    is_clip: Tensor


def pretrain(
    recipe: Recipe,
    pictures: Pictures,
    run: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    facts: dict[str, Any] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Path:
    """Trains to the recipe's last step and returns the folder of the last checkpoint.

    `run` must be empty unless `resume`; with `resume` it goes on from its latest checkpoint. `facts` (command, data)
    are kept with the recipe in run.json, for the card of a bundle. Stops with TrainingError when the loss is no
    longer a number.
    """
    require_device(device)
    require_unused(run, resume)
    model = build_model(recipe).to(device).train()
    optimiser = make_optimiser(model, recipe.weight_decay)
    start = _prepare_run(recipe, run, model, optimiser, device)
    write_run_facts(run, recipe, pictures, facts or {})
    last = run / step_name(start)
    began = time.monotonic()
    with (run / "log.jsonl").open("a") as log:
        for step, batch in _batches(recipe, pictures, start):
            losses = train_step(model, optimiser, recipe, batch, step, device)
            done = step + 1
            if not np.isfinite(losses[0]):
                raise TrainingError(
                    f"The loss is {losses[0]} at step {done}. Go on from {last.name} with --resume and a smaller "
                    f"base_rate."
                )
            figures = Progress(
                done,
                *losses,
                optimiser.param_groups[0]["lr"],
                (done - start) * recipe.batch / (time.monotonic() - began),
            )
            log.write(json.dumps(vars(figures)) + "\n")
            if report is not None:
                report(figures)
            if done % recipe.checkpoint_steps == 0 or done == recipe.steps:
                log.flush()
                last = save_checkpoint(model, optimiser, recipe, run, done)
    return last


def build_model(recipe: Recipe) -> ViCMAE:
    """The network of a recipe with its initial weights, which follow from the seed."""
    config = SIZES[recipe.model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return ViCMAE(config, config.input_spec(recipe.size, fit=recipe.fit))


def train_step(
    model: ViCMAE, optimiser: torch.optim.Optimizer, recipe: Recipe, batch: Batch, step: int, device: str
) -> tuple[float, float, float]:
    """One update -> (total, reconstruction, contrast) before it."""
    generator = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + step)
    rate = learning_rate(step, recipe.steps, recipe.warmup_steps, recipe.base_rate, recipe.batch)
    for group in optimiser.param_groups:
        group["lr"] = rate
    with torch.no_grad():
        views = two_views(
            batch.pixels.to(device),
            batch.is_clip.to(device),
            recipe.size,
            (recipe.image_view1, recipe.image_view2),
            (recipe.frame_view1, recipe.frame_view2),
            generator,
        )
        first, second = ((v - model.pixel_mean) / model.pixel_std for v in views)
    noise = torch.rand(2, len(first), model.spec.tokens, generator=generator, device=device)
    losses = model.losses(first, second, objective_at(recipe, step), (noise[0], noise[1]))
    optimiser.zero_grad(set_to_none=True)
    losses.total.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return (
        float(losses.total.detach()),
        float(losses.reconstruction.detach()),
        float(losses.contrast.detach()),
    )


def objective_at(recipe: Recipe, step: int) -> Objective:
    """The weights of a step: the contrast comes in once its share of the steps is over."""
    if step >= recipe.contrast_from * recipe.steps:
        return recipe.objective
    return Objective(**{**vars(recipe.objective), "contrast_weight": 0.0})


def _batches(recipe: Recipe, pictures: Pictures, start: int) -> Iterator[tuple[int, Batch]]:
    """The batches of steps start.., each read from the cache while the one before it is trained on."""
    images, clips = np.flatnonzero(~pictures.is_clip), np.flatnonzero(pictures.is_clip)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read_batch, recipe, pictures, images, clips, start)
        for step in range(start, recipe.steps):
            batch = coming.result()
            if step + 1 < recipe.steps:
                coming = reader.submit(read_batch, recipe, pictures, images, clips, step + 1)
            yield step, batch


def read_batch(
    recipe: Recipe, pictures: Pictures, images: NDArray[np.int64], clips: NDArray[np.int64], step: int
) -> Batch:
    """The pairs of one step: no item twice in a batch, so that no pair is another's false negative."""
    if recipe.weights:
        items = _weighted_items(recipe, pictures, step)
    else:
        clip_pairs = min(len(clips), round(recipe.batch * recipe.clip_share)) if len(images) else recipe.batch
        shares = ((images, recipe.batch - clip_pairs), (clips, clip_pairs))
        items = np.concatenate([_turn(part, wanted, recipe.seed, step) for part, wanted in shares])
    generator = np.random.default_rng([recipe.seed, step])
    rows = np.array(
        [pictures.first[i] + np.array(pick_pair(_times(pictures, int(i)), generator), np.int64) for i in items]
    )
    pixels = np.stack([pictures.data[rows[:, 0]], pictures.data[rows[:, 1]]])
    return Batch(torch.from_numpy(pixels), torch.from_numpy(pictures.is_clip[items]))


def _weighted_items(recipe: Recipe, pictures: Pictures, step: int) -> NDArray[np.int64]:
    """(batch,) the items whose turn it is in each source, as many of each as its weight says."""
    if pictures.source is None:
        raise TrainingError("The cache does not say which source an item is of. Remove it, or name another --cache.")
    if pictures.source.max() >= len(recipe.weights):
        raise TrainingError(f"weights are {recipe.weights}; expected one number for each source.")
    parts = []
    for number, wanted in enumerate(batch_shares(recipe.batch, recipe.weights)):
        items = np.flatnonzero(pictures.source == number)
        if not 1 <= wanted <= len(items):
            raise TrainingError(
                f"By its weight {recipe.weights[number]}, source {number + 1} gives {wanted} of the {recipe.batch} "
                f"items of a batch, and it holds {len(items)}. Set other weights or another batch."
            )
        parts.append(_turn(items, wanted, recipe.seed, step))
    return np.concatenate(parts)


def batch_shares(batch: int, weights: tuple[float, ...]) -> list[int]:
    """How many of `batch` items each weight gets: the whole parts, then one more for the largest remainders."""
    exact = np.array(weights) / sum(weights) * batch
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: batch - shares.sum()]] += 1
    return [int(share) for share in shares]


def _times(pictures: Pictures, item: int) -> NDArray[np.float64]:
    first = pictures.first[item]
    return pictures.seconds[first : first + pictures.count[item]]


def _turn(items: NDArray[np.int64], wanted: int, seed: int, step: int) -> NDArray[np.int64]:
    """The `wanted` items whose turn it is: epochs are shuffled anew, each item comes once in an epoch."""
    if wanted == 0:
        return items[:0]
    per_epoch = len(items) // wanted
    if per_epoch == 0:
        raise TrainingError(f"A batch needs {wanted} items, the sources hold {len(items)}. Set a smaller batch.")
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch, len(items)]).permutation(items)
    return order[place * wanted : (place + 1) * wanted]


def write_run_facts(run: Path, recipe: Recipe, pictures: Pictures, facts: dict[str, Any]) -> None:
    """run.json: what was trained on what, and how; `vicmae export` carries it into the bundle."""
    clips = int(pictures.is_clip.sum())
    known = {
        **facts,
        "images": len(pictures) - clips,
        "clips": clips,
        "steps": recipe.steps,
        "batch": recipe.batch,
        "pairs": recipe.steps * recipe.batch,
        "recipe": recipe.to_dict(),
    }
    (run / "run.json").write_text(json.dumps(known, indent=2) + "\n")


def step_name(step: int) -> str:
    return f"step-{step:08d}"


def save_checkpoint(model: ViCMAE, optimiser: torch.optim.Optimizer, recipe: Recipe, run: Path, step: int) -> Path:
    """Writes run/step-N aside, renames it, and removes all but the last checkpoints."""
    folder = run / step_name(step)
    aside = run / f".{folder.name}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    save_model(model, aside / "model.safetensors")
    trainer = {"step": step, "optimiser": optimiser.state_dict(), "recipe": recipe.to_dict()}
    with (aside / "trainer.pt").open("wb") as out:
        torch.save(trainer, out)
        out.flush()
        os.fsync(out.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    for old in sorted(run.glob("step-*"))[: -recipe.keep_checkpoints]:
        shutil.rmtree(old)
    return folder


def require_device(device: str) -> None:
    """Refuses a device that PyTorch does not know or cannot use on this machine."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what torch raises without a GPU, a driver
        raise TrainingError(f"The device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error


def require_unused(run: Path, resume: bool) -> None:
    """Refuses a folder that holds a run already, unless it is to be resumed."""
    if run.exists() and not run.is_dir():
        raise TrainingError(f"{run} is a file. Name a folder for the run.")
    steps = sorted(run.glob("step-*"))
    if steps and not resume:
        raise TrainingError(f"{run} holds a run up to {steps[-1].name}. Add --resume to go on, or name another folder.")


def _prepare_run(recipe: Recipe, run: Path, model: ViCMAE, optimiser: torch.optim.Optimizer, device: str) -> int:
    """Makes the run's folder, or loads its latest checkpoint -> the step to start with."""
    run.mkdir(parents=True, exist_ok=True)
    steps = sorted(run.glob("step-*"))
    if not steps:
        (run / "log.jsonl").unlink(missing_ok=True)
        return 0
    from safetensors.torch import load_file

    trainer = torch.load(steps[-1] / "trainer.pt", map_location=device, weights_only=True)
    for name in ("model", "size", "fit"):
        before, now = trainer["recipe"][name], getattr(recipe, name)
        if before != now:
            raise TrainingError(f"{run} was begun with {name} {before}, not {now}. Name another folder for a new run.")
    model.load_state_dict(load_file(steps[-1] / "model.safetensors", device=device))
    optimiser.load_state_dict(trainer["optimiser"])
    step = int(trainer["step"])
    _cut_log(run / "log.jsonl", step)
    return step


def _cut_log(log: Path, step: int) -> None:
    """Leaves the lines up to `step`. A run that was killed wrote further, and its last line may be half a line."""
    kept = []
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            done = json.loads(line)["step"]
        except ValueError:
            continue
        if done <= step:
            kept.append(line + "\n")
    log.write_text("".join(kept))
