"""A recipe: every number of a pretraining run, read from a preset and `--set` changes. Does no training."""

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import TrainingError
from ..media.spec import Fit
from ..model.config import SIZES
from ..model.vicmae import Objective
from .views import Augmentation

PRESETS = Path(__file__).parent / "presets"
TABLES = {
    "objective": Objective,
    "image_view1": Augmentation,
    "image_view2": Augmentation,
    "frame_view1": Augmentation,
    "frame_view2": Augmentation,
}


@dataclass(frozen=True)
class Recipe:
    """How to pretrain. `clip_share` of each batch are pairs of frames (if there are clips), the rest images."""

    model: str = "tiny"
    size: int = 96
    fit: Fit = "squash"
    batch: int = 256
    steps: int = 2000
    warmup_steps: int = 100
    base_rate: float = 1.5e-4
    weight_decay: float = 0.05
    clip_share: float = 0.16
    contrast_from: float = 0.0  # share of the steps before which the contrast has no weight
    seed: int = 0
    checkpoint_steps: int = 200
    keep_checkpoints: int = 2
    objective: Objective = Objective()
    image_view1: Augmentation = Augmentation()
    image_view2: Augmentation = Augmentation()
    frame_view1: Augmentation = Augmentation()
    frame_view2: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        if self.model not in SIZES:
            raise TrainingError(f"model is {self.model!r}; it must be one of {', '.join(SIZES)}.")
        if self.batch < 2 or self.steps < 1:
            raise TrainingError(f"batch is {self.batch}, steps {self.steps}; expected at least 2 and 1.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        values = dict(values)
        for name, kind in TABLES.items():
            if isinstance(values.get(name), dict):
                table = {k: tuple(v) if isinstance(v, list) else v for k, v in values[name].items()}
                values[name] = _build(kind, table, name + ".")
        recipe: Recipe = _build(cls, values, "")
        return recipe


def _build(kind: Any, values: dict[str, Any], prefix: str) -> Any:
    known = {f.name for f in fields(kind)}
    for name in values:
        if name not in known:
            raise TrainingError(
                f"{prefix}{name} is not in a recipe; {prefix or 'it'} knows {', '.join(sorted(known))}."
            )
    return kind(**values)


def load_recipe(preset: str, changes: list[str]) -> Recipe:
    """A preset's name or a .toml file, with `key=value` or `table.key=value` changes in TOML's notation."""
    path = Path(preset) if preset.endswith(".toml") else PRESETS / f"{preset}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise TrainingError(f"There is no preset {preset!r}; choose one of {names}, or name a .toml file.")
    recipe = Recipe.from_dict(tomllib.loads(path.read_text()))
    for change in changes:
        recipe = _changed(recipe, change)
    return recipe


def _changed(recipe: Recipe, change: str) -> Recipe:
    key, separator, text = change.partition("=")
    if not separator:
        raise TrainingError(f"--set wants key=value, got {change!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word such as small
    values = recipe.to_dict()
    table, dot, name = key.strip().partition(".")
    if dot:
        if table not in TABLES:
            raise TrainingError(f"--set {key}: there is no table {table!r}; tables are {', '.join(TABLES)}.")
        values[table] = {**values[table], name: value}
    else:
        values[table] = value
    try:
        return Recipe.from_dict(values)
    except TypeError as error:
        raise TrainingError(f"--set {change!r} does not fit: {error}.") from error
