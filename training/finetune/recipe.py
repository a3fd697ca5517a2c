"""Recipes of fine-tuning: every number of a run on labelled pictures or clips, and of its test (PAPER 3.1, 3.3)."""

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from ...errors import TrainingError
from ...media.spec import Fit
from ...model.classifier import Feature
from ...model.video import Times
from ..recipe import PRESETS, Precision, build, changed, read_preset

Sampling = Literal["window", "spread"]
Decoding = Literal["once", "each"]

AT_LEAST = {
    "epochs": 1,
    "batch": 1,
    "accumulate": 1,
    "workers": 0,
    "seed": 0,
    "checkpoint_steps": 1,
    "keep_checkpoints": 1,
    "size": 0,
    "warmup_epochs": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "clip_gradient": 0.0,
    "repeats": 1,
    "frames": 1,
    "tube": 1,
    "test_clips": 1,
    "test_crops": 1,
}
RAND_AUGMENT = re.compile(r"rand(-(m|n|inc|mmax)\d+|-(mstd|p)\d+(\.\d+)?)*")  # what timm reads without failing
SHARES = ("drop_path", "dropout", "smoothing", "mix_chance", "cutmix_chance", "erasing", "flip")


@dataclass(frozen=True)
class ImageTuning:
    """How to fine-tune on pictures. `batch` is what a step sees over all processes and passes."""

    size: int = 0  # side of the pictures in pixels; 0 as the checkpoint was trained
    fit: Fit | Literal["as trained"] = "as trained"
    feature: Feature = "mean"
    epochs: int = 100
    warmup_epochs: float = 5.0
    batch: int = 1024
    base_rate: float = 5e-4  # for a batch of 256
    min_rate: float = 1e-6
    weight_decay: float = 0.05
    layer_decay: float = 0.65
    drop_path: float = 0.1
    dropout: float = 0.0  # before the head
    smoothing: float = 0.1
    mixup: float = 0.8  # alpha of the beta distribution; 0 for none
    cutmix: float = 1.0
    mix_chance: float = 1.0  # of a pass to be mixed at all
    cutmix_chance: float = 0.5  # of a mixed pass to be cut rather than blended
    rand_augment: str = "rand-m9-mstd0.5-inc1"  # in timm's notation; empty for none
    erasing: float = 0.25
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    clip_gradient: float = 0.0  # largest norm; 0 for none
    precision: Precision = "fp32"
    accumulate: int = 1
    decoding: Decoding = "each"  # once: into a cache; each: again whenever an item is wanted
    workers: int = 0  # processes that decode and augment; 0 for the one that trains
    seed: int = 0
    checkpoint_steps: int = 1000
    keep_checkpoints: int = 2
    test_share: float = 1.0  # side of the test's crop over the side of the square picture it is taken from

    def __post_init__(self) -> None:
        choices = {"feature": Feature, "precision": Precision, "decoding": Decoding, "sampling": Sampling}
        for name, kind in {**choices, "times": Times}.items():
            if getattr(self, name, None) is not None and getattr(self, name) not in get_args(kind):
                raise TrainingError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(get_args(kind))}."
                )
        if self.fit not in (fits := ("as trained", *get_args(Fit))):
            raise TrainingError(f"fit is {self.fit!r}; it must be one of {', '.join(fits)}.")
        for name, lowest in AT_LEAST.items():
            value = getattr(self, name, lowest)
            if not lowest <= value < math.inf:
                raise TrainingError(f"{name} is {value}; expected at least {lowest}.")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected a share from 0 to 1.")
        for name in ("layer_decay", "test_share"):
            if not 0 < getattr(self, name) <= 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; expected a share above 0, 1 at most.")
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise TrainingError(f"{name} is {[low, high]}; expected two numbers above 0, the lower one first.")
        if not 0 < self.base_rate < math.inf:
            raise TrainingError(f"base_rate is {self.base_rate}; expected a number above 0.")
        if self.rand_augment and not RAND_AUGMENT.fullmatch(self.rand_augment):
            raise TrainingError(
                f"rand_augment is {self.rand_augment!r}; expected timm's notation, such as rand-m9-mstd0.5-inc1."
            )
        if self.batch % self.accumulate:
            raise TrainingError(f"batch is {self.batch}, accumulate {self.accumulate}; passes must be equal.")

    @property
    def mixes(self) -> bool:
        return self.mix_chance > 0 and (self.mixup > 0 or self.cutmix > 0)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        recipe: Self = build(cls, values)
        return recipe


@dataclass(frozen=True)
class VideoTuning(ImageTuning):
    """How to fine-tune on clips. `batch` counts clips, `repeats` of one video among them."""

    layer_decay: float = 0.75
    repeats: int = 1  # clips of one video in a batch (repeated augmentation)
    frames: int = 16
    tube: int = 2
    times: Times = "zeros"  # what the trained table of times begins with
    sampling: Sampling = "window"  # window: frames `stride_seconds` apart; spread: over the whole video
    stride_seconds: float = 4 / 30
    test_clips: int = 5  # of a video, evenly spaced
    test_crops: int = 3  # of a clip, along its longer side; 1 is the picture as it is fitted

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames % self.tube:
            raise TrainingError(f"frames is {self.frames}, tube {self.tube}; tubes must be equal.")
        if self.batch % self.repeats:
            raise TrainingError(f"batch is {self.batch}, repeats {self.repeats}; expected a multiple.")
        if not 0 < self.stride_seconds < math.inf:
            raise TrainingError(f"stride_seconds is {self.stride_seconds}; expected a number above 0.")


def load_image_tuning(preset: str, changes: list[str]) -> ImageTuning:
    """A preset of presets/image or a .toml file, with `key=value` changes."""
    return changed(ImageTuning.from_dict(read_preset(PRESETS / "image", preset)), changes)


def load_video_tuning(preset: str, changes: list[str]) -> VideoTuning:
    """A preset of presets/video or a .toml file, with `key=value` changes."""
    return changed(VideoTuning.from_dict(read_preset(PRESETS / "video", preset)), changes)
