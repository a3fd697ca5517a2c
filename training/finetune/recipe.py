"""Recipes of fine-tuning: every number of a run on labelled pictures or clips, and of its test (PAPER 3.1, 3.3)."""

import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, with_config

from ...errors import TrainingError
from ...media.spec import Fit
from ...model.classifier import Feature
from ...model.video import Times
from ..recipe import PRESETS, STRICT, Count, FromOne, Positive, Precision, Share, build, changed, read_preset

Sampling = Literal["window", "spread"]
Decoding = Literal["once", "each"]

RAND_AUGMENT = re.compile(r"rand(-(m|n|inc|mmax)\d+|-(mstd|p)\d+(\.\d+)?)*")  # what timm reads without failing
PositiveShare = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


@with_config(STRICT)
@dataclass(frozen=True)
class ImageTuning:
    """How to fine-tune on pictures. `batch` is what a step sees over all processes and passes."""

    size: Count = 0  # side of the pictures in pixels; 0 as the checkpoint was trained
    fit: Literal["as trained", Fit] = "as trained"
    feature: Feature = "mean"
    epochs: FromOne = 100
    warmup_epochs: NotNegative = 5.0
    batch: FromOne = 1024
    base_rate: Positive = 5e-4  # for a batch of 256
    min_rate: float = 1e-6
    weight_decay: float = 0.05
    layer_decay: PositiveShare = 0.65
    drop_path: Share = 0.1
    dropout: Share = 0.0  # before the head
    smoothing: Share = 0.1
    mixup: NotNegative = 0.8  # alpha of the beta distribution; 0 for none
    cutmix: NotNegative = 1.0
    mix_chance: Share = 1.0  # of a pass to be mixed at all
    cutmix_chance: Share = 0.5  # of a mixed pass to be cut rather than blended
    rand_augment: str = "rand-m9-mstd0.5-inc1"  # in timm's notation; empty for none
    erasing: Share = 0.25
    scale: tuple[Positive, Positive] = (0.08, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Share = 0.5
    clip_gradient: NotNegative = 0.0  # largest norm; 0 for none
    precision: Precision = "fp32"
    accumulate: FromOne = 1
    decoding: Decoding = "each"  # once: into a cache; each: again whenever an item is wanted
    workers: Count = 0  # processes that decode and augment; 0 for the one that trains
    seed: Count = 0
    checkpoint_steps: FromOne = 1000
    keep_checkpoints: FromOne = 2
    test_share: PositiveShare = 1.0  # side of the test's crop over the side of the square picture it is taken from

    def __post_init__(self) -> None:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise TrainingError(f"{name} is {[low, high]}; expected two numbers above 0, the lower one first.")
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
        return build(cls, values)


@with_config(STRICT)
@dataclass(frozen=True)
class VideoTuning(ImageTuning):
    """How to fine-tune on clips. `batch` counts clips, `repeats` of one video among them."""

    layer_decay: PositiveShare = 0.75
    repeats: FromOne = 1  # clips of one video in a batch (repeated augmentation)
    frames: FromOne = 16
    tube: FromOne = 2
    times: Times = "zeros"  # what the trained table of times begins with
    sampling: Sampling = "window"  # window: frames `stride_seconds` apart; spread: over the whole video
    stride_seconds: Positive = 4 / 30
    test_clips: FromOne = 5  # of a video, evenly spaced
    test_crops: FromOne = 3  # of a clip, along its longer side; 1 is the picture as it is fitted

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames % self.tube:
            raise TrainingError(f"frames is {self.frames}, tube {self.tube}; tubes must be equal.")
        if self.batch % self.repeats:
            raise TrainingError(f"batch is {self.batch}, repeats {self.repeats}; expected a multiple.")


def load_image_tuning(preset: str, changes: list[str]) -> ImageTuning:
    """A preset of presets/image or a .toml file, with `key=value` changes."""
    return changed(ImageTuning.from_dict(read_preset(PRESETS / "image", preset)), changes)


def load_video_tuning(preset: str, changes: list[str]) -> VideoTuning:
    """A preset of presets/video or a .toml file, with `key=value` changes."""
    return changed(VideoTuning.from_dict(read_preset(PRESETS / "video", preset)), changes)
