"""What these verbs share: the extra "train", the model to judge."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import TrainingError
from ...terminal import say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ...export.engine import Engine
    from ..recipe import AnyRecipe

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Checkpoint file, run folder or bundle \\[default: --bundle]."),
]
SizeOption = Annotated[int | None, typer.Option(help="Side of the pictures, for a checkpoint \\[default: as trained].")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")]
TrainingDeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
RecordOption = Annotated[bool, typer.Option("--record", help="Write the scores into the bundle's manifest and card.")]


def need_training_extra() -> None:
    missing = [name for name in ("torch", "timm", "safetensors") if find_spec(name) is None]
    if missing:
        raise TrainingError(f"{', '.join(missing)} is not installed. Run: pip install '.[train]'")


def is_first() -> bool:
    """Whether this is the process that speaks; torchrun may have started several."""
    from ...model.ranks import rank

    return rank() == 0


def require_folder(out: Path, recipe: "AnyRecipe", resume: bool, network_values: tuple[str, ...]) -> None:
    """The run's folder is new, or holds what --resume goes on with; what the recipe changes is told."""
    from ..rundir import require_run, require_unused, storing

    with storing(out):
        require_unused(out, resume)
        changes = require_run(out, recipe, network_values) if resume else []
    for change in changes if is_first() else ():
        say(f"going on with a changed recipe: {change}")


def tell_step(bar: "Progress", task: "TaskID", step: int, steps: int, left_seconds: float, figures: str) -> None:
    """A step that is done, on the bar; where there is no terminal, a line every 50 steps."""
    bar.update(task, total=steps, completed=step, rate=figures)
    if bar.disable and step % 50 == 0:
        say(f"step {step}/{steps}, {figures}, {left_seconds / 60:.0f} min left")


def set_words(changes: list[str]) -> list[str]:
    """The --set options of a command that repeats a run."""
    return [word for change in changes for word in ("--set", change)]


def open_model(
    model: Path | None, bundle: Path | None, size: int | None, record: bool, engine: str | None = None
) -> tuple[Path, "Engine"]:
    """-> where the model lies, and its engine: of the bundle (`engine` by its name), or of a checkpoint with torch."""
    from ...export.bundle import MANIFEST
    from ...export.engine import open_engine
    from ...settings import load_settings

    chosen = model or load_settings(bundle=bundle).bundle
    if model is None or (chosen / MANIFEST).is_file():
        return chosen, open_engine(chosen, engine=engine) if engine else open_engine(chosen)
    if record:
        raise TrainingError(f"--record writes into a bundle; {chosen} is not one. Export it first.")
    if engine:
        raise TrainingError(f"--engine chooses one of a bundle's; {chosen} is not a bundle. Leave out --engine.")
    need_training_extra()
    from ...export.torch_engine import TorchEngine
    from ...model.checkpoints import load_any_encoder

    return chosen, TorchEngine(load_any_encoder(chosen, size), chosen.name)
