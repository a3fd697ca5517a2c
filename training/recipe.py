"""A recipe: every number of a pretraining run, read from a preset and `--set` changes. Does no training."""

import math
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar, get_args

from ..errors import TrainingError
from ..media.spec import Fit
from ..model.config import SIZES
from ..model.conv_vicmae import CopiesObjective
from ..model.vicmae import Heads, Objective, Pooling
from .edits import Edits
from .sources import CLIP_FRAMES_PER_SECOND
from .stored import Stored
from .views import PAIR_WINDOW_SECONDS, Augmentation

PRESETS = Path(__file__).parent / "presets"
TABLES = {
    "objective": Objective,
    "image_view1": Augmentation,
    "image_view2": Augmentation,
    "frame_view1": Augmentation,
    "frame_view2": Augmentation,
    "copies": CopiesObjective,
    "edits": Edits,
}
Precision = Literal["fp32", "bf16", "fp16"]


class Kept(Protocol):
    """What any recipe can do, so that a run can keep it and go on."""

    @property
    def keep_checkpoints(self) -> int: ...

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self: ...


R = TypeVar("R", bound=Kept)


@dataclass(frozen=True)
class Recipe:
    """How to pretrain. `clip_share` of each batch are pairs of frames (if there are clips), the rest images.

    With `weights`, one number a source, each source gives its share of every batch instead, images or clips.

    `steps` 0 writes the weights that training would begin with.

    A model with a convolutional stem is trained on edits: `copies`, `edits` and what stands with them hold for it, and
    `objective` and the views do not; for the others it is the other way round.
    """

    model: str = "tiny"
    size: int = 96
    fit: Fit = "squash"
    batch: int = 256
    steps: int = 2000
    warmup_steps: int = 100
    base_rate: float = 1.5e-4
    weight_decay: float = 0.05
    clip_share: float = 0.16
    weights: tuple[float, ...] = ()
    pair_window_seconds: float = PAIR_WINDOW_SECONDS  # one frame of a pair from each half; 0 gives one frame twice
    stored: Stored = "raw"  # how the cache keeps decoded pictures
    clip_frames_per_second: float = CLIP_FRAMES_PER_SECOND  # frames that the cache keeps of a clip
    contrast_from: float = 0.0  # share of the steps before which the contrast has no weight
    contrast_ramp: float = 0.0  # share of the steps in which its weight then climbs to the full one
    heads: Heads = "shared"
    sync_batchnorm: bool = False  # batch statistics of the projectors over all processes
    accumulate: int = 1  # passes of one step; the contrast sees batch / accumulate pairs
    precision: Precision = "fp32"
    compile: bool = False
    shard: bool = False  # weights split over the processes (FSDP2), for networks that do not fit one device
    seed: int = 0
    checkpoint_steps: int = 200
    keep_checkpoints: int = 2
    picture_steps: int = 500  # a picture of input, mask and reconstruction each so many steps; 0 for none
    objective: Objective = Objective()
    image_view1: Augmentation = Augmentation()
    image_view2: Augmentation = Augmentation()
    frame_view1: Augmentation = Augmentation()
    frame_view2: Augmentation = Augmentation()
    copies: CopiesObjective = CopiesObjective()
    edits: Edits = Edits()
    queue: int = 4096  # clean vectors of earlier steps that are further negatives
    frozen_groups: int = 2  # groups of the trunk's blocks that are not trained, with the first convolution
    mild_share: float = 0.33  # of the clean views that are cropped and mirrored a little

    def __post_init__(self) -> None:
        if self.model not in SIZES:
            raise TrainingError(f"model is {self.model!r}; it must be one of {', '.join(SIZES)}.")
        if self.fit not in get_args(Fit):
            raise TrainingError(f"fit is {self.fit!r}; it must be one of {', '.join(get_args(Fit))}.")
        for name, value, choices in (
            ("heads", self.heads, get_args(Heads)),
            ("stored", self.stored, get_args(Stored)),
            ("precision", self.precision, get_args(Precision)),
            ("objective.pooling", self.objective.pooling, get_args(Pooling)),
        ):
            if value not in choices:
                raise TrainingError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
        if not 0 <= self.pair_window_seconds < math.inf:
            raise TrainingError(f"pair_window_seconds is {self.pair_window_seconds}; expected seconds, 0 or more.")
        if not 0 < self.clip_frames_per_second < math.inf:
            raise TrainingError(f"clip_frames_per_second is {self.clip_frames_per_second}; expected a number above 0.")
        if self.shard and self.on_edits:
            raise TrainingError(f"shard is for networks that do not fit one device; {self.model} does. Leave it out.")
        if self.shard and self.precision == "fp16":
            raise TrainingError("shard does not go with precision fp16, whose loss scale it cannot keep. Use bf16.")
        least = {
            "batch": 2,
            "steps": 0,
            "checkpoint_steps": 1,
            "keep_checkpoints": 1,
            "accumulate": 1,
            "warmup_steps": 0,
            "picture_steps": 0,
            "seed": 0,
            "queue": 0,
            "frozen_groups": 0,
        }
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected at least {lowest}.")
        for name in ("clip_share", "contrast_from", "contrast_ramp", "mild_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected a share from 0 to 1.")
        if not all(weight > 0 and math.isfinite(weight) for weight in self.weights):
            raise TrainingError(f"weights are {self.weights}; expected a number above 0 for each source.")
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise TrainingError(
                f"batch is {self.batch}, accumulate {self.accumulate}; each pass needs the same number of pairs, 2 at "
                f"least."
            )
        patch = SIZES[self.model].patch
        if self.size <= 0 or self.size % patch:
            raise TrainingError(f"size is {self.size}; {self.model} needs a positive multiple of {patch}.")
        tokens = (self.size // patch) ** 2
        table, ratio = "objective", self.objective.mask_ratio
        if self.on_edits:
            table, ratio = "copies", self.copies.mask_ratio
        if not 1 <= int(tokens * (1 - ratio)) < tokens:
            raise TrainingError(
                f"{table}.mask_ratio is {ratio}; of the {tokens} patches of a picture at least one must stay and one "
                f"must go."
            )

    @property
    def on_edits(self) -> bool:
        """Whether the model has a convolutional stem and so is trained on edits."""
        return SIZES[self.model].trunk is not None

    @property
    def stored_side(self) -> int:
        """The side of decoded pictures in the cache: crops of a view want more than the network sees."""
        return self.size if self.on_edits else self.size * 4 // 3

    @property
    def pairs_per_contrast(self) -> int:
        """How many pairs a contrast sees, over all processes; accumulation does not add to it."""
        return self.batch // self.accumulate

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        for name, kind in TABLES.items():
            if isinstance(values.get(name), dict):
                values[name] = build(kind, values[name], name + ".")
        recipe: Self = build(cls, values)
        return recipe


def build(kind: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """A dataclass of these values, each of the type of its default; what it does not know is refused by name."""
    known = {f.name for f in fields(kind)}
    for name in values:
        if name not in known:
            raise TrainingError(
                f"{prefix}{name} is not in a recipe; {prefix or 'it'} knows {', '.join(sorted(known))}."
            )
    usual = kind()
    return kind(**{name: _fitted(prefix + name, value, getattr(usual, name)) for name, value in values.items()})


def _fitted(name: str, value: Any, usual: Any) -> Any:
    """The value in the type of the usual one, or TrainingError; a whole number may stand for a float."""
    if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if usual == () and isinstance(value, tuple | list):  # any number of numbers
        return tuple(_fitted(name, v, 1.0) for v in value)
    if isinstance(usual, tuple) and isinstance(value, tuple | list) and len(value) == len(usual):
        return tuple(_fitted(name, v, u) for v, u in zip(value, usual, strict=True))
    if type(value) is not type(usual):
        raise TrainingError(f"{name} is {value!r}; expected something like {usual!r}.")
    return value


def load_recipe(preset: str, changes: list[str]) -> Recipe:
    """A preset's name or a .toml file, with `key=value` or `table.key=value` changes in TOML's notation."""
    values = read_preset(PRESETS, preset)
    return changed(Recipe.from_dict(values), changes, tuple(TABLES))


def read_preset(folder: Path, preset: str) -> dict[str, Any]:
    """The values of a preset of `folder`, or of a .toml file."""
    path = Path(preset) if preset.endswith(".toml") else folder / f"{preset}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.toml")))
        raise TrainingError(f"There is no preset {preset!r}; choose one of {names}, or name a .toml file.")
    try:
        return tomllib.loads(path.read_text())
    except ValueError as error:  # not TOML, or not text at all
        raise TrainingError(f"{path} is not TOML: {error}.") from error


def changed(recipe: R, changes: list[str], tables: tuple[str, ...] = ()) -> R:
    """The recipe with `key=value` changes, `table.key=value` for one of its `tables`."""
    for change in changes:
        recipe = _changed(recipe, change, tables)
    return recipe


def _changed(recipe: R, change: str, tables: tuple[str, ...]) -> R:
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
        if table not in tables:
            known = ", ".join(tables) or "none"
            raise TrainingError(f"--set {key}: there is no table {table!r}; tables are {known}.")
        values[table] = {**values[table], name: value}
    else:
        values[table] = value
    return type(recipe).from_dict(values)
