"""A run's folder: checkpoints written aside and renamed, log.jsonl, run.json, events for TensorBoard.

What the disk refuses becomes a StorageError. It does not train.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import StorageError, TrainingError
from .recipe import AnyRecipe, Recipe
from .sources import Pictures

NETWORK_VALUES = ("model", "size", "fit", "heads")
M = TypeVar("M", bound=nn.Module)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses below `path` into a StorageError."""
    try:
        yield
    except OSError as error:
        advice = "Name a folder that can be written."
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Free some space, then start again, with --resume once the run has begun."
        raise StorageError(f"{path} cannot be written: {error.strerror or error}. {advice}") from error


def step_name(step: int) -> str:
    return f"step-{step:08d}"


def require_unused(run: Path, resume: bool) -> None:
    """Refuses a folder that holds a run already, unless it is to be resumed."""
    if run.exists() and not run.is_dir():
        raise TrainingError(f"{run} is a file. Name a folder for the run.")
    steps = sorted(run.glob("step-*"))
    if steps and not resume:
        raise TrainingError(f"{run} holds a run up to {steps[-1].name}. Add --resume to go on, or name another folder.")


def require_run(run: Path, recipe: AnyRecipe, network_values: tuple[str, ...] = NETWORK_VALUES) -> list[str]:
    """Refuses to resume where nothing was begun, or with another network -> what else `recipe` changes, each as "name
    before -> now". A run that was killed before its first checkpoint has begun."""
    if not (run / "run.json").is_file() and not any(run.glob("step-*")):
        raise TrainingError(
            f"{run} holds no run to go on with. Leave out --resume to begin one there, or name the run's folder."
        )
    try:
        before = type(recipe).from_dict(json.loads((run / "run.json").read_text())["recipe"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TrainingError):
        return []  # lost or damaged: the checkpoint knows its recipe too
    _refuse_another_network(before, recipe, run, network_values)
    now, then = recipe.to_dict(), before.to_dict()
    return [f"{name} {then[name]} -> {value}" for name, value in now.items() if then[name] != value]


def _refuse_another_network(before: AnyRecipe, recipe: AnyRecipe, run: Path, network_values: tuple[str, ...]) -> None:
    for name in network_values:
        then, now = getattr(before, name), getattr(recipe, name)
        if then != now:
            raise TrainingError(
                f"{run} was begun with {name} {then}, not {now}. Go on with --set {name}={then}, or name another "
                f"folder for a new run."
            )


def load_checkpoint(
    recipe: AnyRecipe, run: Path, model: nn.Module, device: str, network_values: tuple[str, ...] = NETWORK_VALUES
) -> dict[str, Any] | None:
    """Puts the weights of the run's latest checkpoint into `model` -> the trainer's state, None of a new run.

    A recipe that builds another network, by one of its `network_values`, is refused.
    """
    steps = sorted(run.glob("step-*"))
    if not steps:
        return None
    trainer: dict[str, Any] = torch.load(steps[-1] / "trainer.pt", map_location=device, weights_only=True)
    before = type(recipe).from_dict(trainer["recipe"])  # of an older version: what it did not know was as usual
    _refuse_another_network(before, recipe, run, network_values)
    try:
        model.load_state_dict(load_file(steps[-1] / "model.safetensors", device=device))
    except RuntimeError as error:  # torch says so when a name is missing or a shape is another one
        raise TrainingError(
            f"{run} was begun with another network or other classes. Name another folder for a new run."
        ) from error
    return trainer


def prepare_folder(run: Path, start: int) -> None:
    """Makes the folder, or brings its log back to step `start`."""
    with storing(run):
        run.mkdir(parents=True, exist_ok=True)
        if start:
            _cut_log(run / "log.jsonl", start)
            return
        for left in (run / "log.jsonl", *run.glob("events.out.tfevents.*")):
            left.unlink(missing_ok=True)


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
        "pairs_per_contrast": recipe.pairs_per_contrast,
        "recipe": recipe.to_dict(),
    }
    write_json(run / "run.json", known)


def write_json(path: Path, values: dict[str, Any]) -> None:
    with storing(path.parent):
        path.write_text(json.dumps(values, indent=2) + "\n")


def save_checkpoint(
    model: M, trainer: dict[str, Any], recipe: AnyRecipe, run: Path, step: int, save: Callable[[M, Path], None]
) -> Path:
    """Writes run/step-N aside, the weights by `save`, renames it, and removes all but the last checkpoints."""
    folder = run / step_name(step)
    aside = run / f".{folder.name}.partial"
    with storing(run):
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            save(model, aside / "model.safetensors")
            with (aside / "trainer.pt").open("wb") as out:
                torch.save({"step": step, **trainer, "recipe": recipe.to_dict()}, out)
                out.flush()
                os.fsync(out.fileno())
        except (SafetensorError, RuntimeError) as error:  # how their writers tell of a disk that refuses
            shutil.rmtree(aside, ignore_errors=True)  # what is half written would keep a full disk full
            raise OSError(errno.ENOSPC, "a checkpoint was only written in part, so the disk may be full") from error
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        for old in sorted(run.glob("step-*"))[: -recipe.keep_checkpoints]:
            shutil.rmtree(old)
    return folder


class Log:
    """log.jsonl, one line a step, and the same figures as events for TensorBoard where that is installed."""

    def __init__(self, run: Path, start: int) -> None:
        self.run = run
        with storing(run):
            self.lines = (run / "log.jsonl").open("a")
        self.events: Any = None
        if find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            # Events after `start` are of a run that was killed: the browser hides them.
            self.events = SummaryWriter(str(run), purge_step=start + 1 if start else None)

    def write(self, figures: dict[str, float]) -> None:
        with storing(self.run):
            self.lines.write(json.dumps(figures) + "\n")
            if self.events is not None:
                for name, value in figures.items():
                    if name != "step":
                        self.events.add_scalar(name, value, figures["step"])

    def flush(self) -> None:
        with storing(self.run):
            self.lines.flush()
            if self.events is not None:
                self.events.flush()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        with storing(self.run):
            self.lines.close()
            if self.events is not None:
                self.events.close()


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
