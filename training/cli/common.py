"""What these verbs share: the extra "train", the model to judge."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import TrainingError

if TYPE_CHECKING:
    from ...export.engine import Engine

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Checkpoint file, run folder or bundle \\[default: --bundle]."),
]
SizeOption = Annotated[int | None, typer.Option(help="Side of the pictures, for a checkpoint \\[default: as trained].")]
RecordOption = Annotated[bool, typer.Option("--record", help="Write the scores into the bundle's manifest and card.")]


def need_training_extra() -> None:
    missing = [name for name in ("torch", "timm", "safetensors") if find_spec(name) is None]
    if missing:
        raise TrainingError(f"{', '.join(missing)} is not installed. Run: pip install 'vicmae[train]'")


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
