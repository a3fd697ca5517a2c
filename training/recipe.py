"""A recipe: every number of a pretraining run, read from a preset and `--set` changes. Does no training."""

import json
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from ..errors import TrainingError
from ..media.spec import Fit
from ..model.config import SIZES
from ..model.conv_vicmae import CopiesObjective
from ..model.vicmae import Heads, Objective
from .edits import Edits
from .sources import CLIP_FRAMES_PER_SECOND
from .stored import Stored
from .views import PAIR_WINDOW_SECONDS, Augmentation

PRESETS = Path(__file__).parent / "presets"
Precision = Literal["fp32", "bf16", "fp16"]
Count = Annotated[int, Field(ge=0)]
FromOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class AnyRecipe(Protocol):
    """What any recipe can do, so that a run can keep it and go on."""

    @property
    def keep_checkpoints(self) -> int: ...

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self: ...


R = TypeVar("R", bound=AnyRecipe)
T = TypeVar("T")


@with_config(STRICT)
@dataclass(frozen=True)
class Recipe:
    """How to pretrain. `clip_share` of each batch are pairs of frames (if there are clips), the rest images.

    With `weights`, one number a source, each source gives its share of every batch instead, images or clips.

    `steps` 0 writes the weights that training would begin with.

    A model with a convolutional stem is trained on edits: `copies`, `edits` and what stands with them hold for it, and
    `objective` and the views do not; for the others it is the other way round.
    """

    model: str = "tiny"
    size: FromOne = 96
    fit: Fit = "squash"
    batch: Annotated[int, Field(ge=2)] = 256
    steps: Count = 2000
    warmup_steps: Count = 100
    base_rate: float = 1.5e-4
    weight_decay: float = 0.05
    clip_share: Share = 0.16
    weights: tuple[Positive, ...] = ()
    pair_window_seconds: Annotated[float, Field(ge=0)] = PAIR_WINDOW_SECONDS  # of a pair; 0 gives one frame twice
    stored: Stored = "raw"  # how the cache keeps decoded pictures
    clip_frames_per_second: Positive = CLIP_FRAMES_PER_SECOND  # frames that the cache keeps of a clip
    contrast_from: Share = 0.0  # share of the steps before which the contrast has no weight
    contrast_ramp: Share = 0.0  # share of the steps in which its weight then climbs to the full one
    heads: Heads = "shared"
    sync_batchnorm: bool = False  # batch statistics of the projectors over all processes
    accumulate: FromOne = 1  # passes of one step; the contrast sees batch / accumulate pairs
    precision: Precision = "fp32"
    compile: bool = False
    shard: bool = False  # weights split over the processes (FSDP2), for networks that do not fit one device
    seed: Count = 0
    checkpoint_steps: FromOne = 200
    keep_checkpoints: FromOne = 2
    picture_steps: Count = 500  # a picture of input, mask and reconstruction each so many steps; 0 for none
    objective: Objective = Objective()
    image_view1: Augmentation = Augmentation()
    image_view2: Augmentation = Augmentation()
    frame_view1: Augmentation = Augmentation()
    frame_view2: Augmentation = Augmentation()
    copies: CopiesObjective = CopiesObjective()
    edits: Edits = Edits()
    queue: Count = 4096  # clean vectors of earlier steps that are further negatives
    frozen_groups: Count = 2  # groups of the trunk's blocks that are not trained, with the first convolution
    mild_share: Share = 0.33  # of the clean views that are cropped and mirrored a little

    def __post_init__(self) -> None:
        if self.model not in SIZES:
            raise TrainingError(f"model is {self.model!r}; it must be one of {', '.join(SIZES)}.")
        if self.shard and self.on_edits:
            raise TrainingError(f"shard is for networks that do not fit one device; {self.model} does. Leave it out.")
        if self.shard and self.precision == "fp16":
            raise TrainingError("shard does not go with precision fp16, whose loss scale it cannot keep. Use bf16.")
        if self.batch % self.accumulate or self.batch // self.accumulate < 2:
            raise TrainingError(
                f"batch is {self.batch}, accumulate {self.accumulate}; each pass needs the same number of pairs, 2 at "
                f"least."
            )
        patch = SIZES[self.model].patch
        if self.size % patch:
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
        return build(cls, values)


def build(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass of these values; one that is unknown, of another type or out of bounds is refused by its name."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        name, told = ".".join(map(str, first["loc"])), first["msg"].replace("Input", "it")
        if first["type"] == "unexpected_keyword_argument":
            table: Any = kind()
            for part in first["loc"][:-1]:
                table = getattr(table, str(part))
            known = ", ".join(sorted(f.name for f in fields(table)))
            raise TrainingError(
                f"{name} is not in a recipe; {name.rpartition('.')[0] or 'it'} knows {known}."
            ) from error
        raise TrainingError(f"{name} is {first['input']!r}; {told}.") from error


def load_recipe(preset: str, changes: list[str]) -> Recipe:
    """A preset's name or a .toml file, with `key=value` or `table.key=value` changes in TOML's notation."""
    values = read_preset(PRESETS, preset)
    return changed(Recipe.from_dict(values), changes)


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


def changed(recipe: R, changes: list[str]) -> R:
    """The recipe with `key=value` changes, `table.key=value` for one of its tables."""
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator:
            raise TrainingError(f"--set wants key=value, got {change!r}.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a bare word such as small
        values = recipe.to_dict()
        table, dot, name = key.strip().partition(".")
        if dot and not isinstance(values.get(table), dict):
            tables = ", ".join(known for known, part in values.items() if isinstance(part, dict)) or "none"
            raise TrainingError(f"--set {key}: there is no table {table!r}; tables are {tables}.")
        values[table] = {**values[table], name: value} if dot else value
        recipe = type(recipe).from_dict(values)
    return recipe
