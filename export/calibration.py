"""What depends on a model's statistics and is no part of its weights: thresholds and curves, fitted to media.

It stands in the bundle's manifest; a bundle that was never calibrated has none. Knows numbers; opens nothing.
"""

import base64
import binascii
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (
    *("max_background", "same_shot", "same_frame", "same_footage", "clearly_less", "about_as_alike", "varied"),
    *("rerank_score", "rerank_tie", "folding_cosine"),
)


@dataclass(frozen=True)
class Curve:
    """A chance in 0..1 from one input: logistic(offset + slope * x), where x is the input itself, or, with `least`,
    -log(1 - input + least): that grows by one for each e-fold nearer to 1. `slope` is above 0: more is surer."""

    offset: float
    slope: float
    least: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.offset) and isfinite(self.slope) and self.slope > 0):
            raise ValueError(f"a curve has offset {self.offset} and slope {self.slope}; numbers, slope above 0")
        if self.least is not None and not 0 < self.least < 1:
            raise ValueError(f"a curve has least {self.least}; expected between 0 and 1, or none")


@dataclass(frozen=True)
class Calibration:
    """Fitted to media that vectors of this model were made of.

    Likeness is 0 for a cosine that any two frames of a collection have, 1 for identical frames (index/matching).

    max_background  cosine: frames that are near the mean themselves are not asked to be nearer to each other
    same_shot       least likeness of two frames in a row of one shot
    same_frame      likeness from which an item holds the very frame
    same_footage    least likeness of stretches that are the same; below it they are only of one kind
    clearly_less    lead in likeness of another item beside which this one is no copy
    about_as_alike  difference in likeness within which two items are equally alike
    varied          1 - likeness of a stretch's frames among each other, from which it counts as moving
    rerank_score    cosine of the best hit below which pixels are not compared
    rerank_tie      cosine: copies, and frames of a still scene, lie within it
    folding_cosine  consecutive frames of at least this cosine share one vector, 0..1
    frame           chance that a frame shows the picture asked for, from its likeness; None: not fitted
    stretch         chance that two stretches show the same footage, from what alignment says of them; None: not fitted
    mean            (D,) float32, base64 in JSON: the mean of the vectors of ordinary pictures
    fitted_on       what it was fitted to, in words and counts
    """

    max_background: float
    same_shot: float
    same_frame: float
    same_footage: float
    clearly_less: float
    about_as_alike: float
    varied: float
    rerank_score: float
    rerank_tie: float
    folding_cosine: float
    frame: Curve | None = None
    stretch: Curve | None = None
    mean: tuple[float, ...] = ()
    fitted_on: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in THRESHOLDS:
            value = getattr(self, name)
            low, high = (-1, 1) if name == "rerank_score" else (0, 1)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; expected {low} to {high}")
        if not self.folding_cosine > 0:
            raise ValueError(f"folding_cosine is {self.folding_cosine}; expected above 0 and at most 1")
        if not self.max_background < 1:
            raise ValueError(f"max_background is {self.max_background}; expected below 1")
        if not self.varied > 0 or not self.clearly_less > 0:
            raise ValueError(f"varied is {self.varied}, clearly_less {self.clearly_less}; expected above 0")
        if not all(map(isfinite, self.mean)):
            raise ValueError("mean holds what is no number; expected D numbers")

    @property
    def is_fitted(self) -> bool:
        """Whether there is any confidence at all."""
        return self.frame is not None

    def to_dict(self) -> dict[str, Any]:
        packed = np.asarray(self.mean, "<f4").tobytes()
        return {**asdict(self), "mean": base64.b64encode(packed).decode()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], dim: int) -> "Calibration":
        """ValueError, TypeError or KeyError say what is wrong with what a manifest holds."""
        mean = unpacked(values["mean"])
        if len(mean) != dim:
            raise ValueError(f"the calibration's mean has {len(mean)} numbers; the model's vectors have {dim}")
        if values["frame"] is None:
            raise ValueError("the calibration has no curve for frames")
        curves = {name: None if values[name] is None else Curve(**values[name]) for name in ("frame", "stretch")}
        return cls(**{**values, **curves, "mean": tuple(mean.tolist())})


def unpacked(text: str) -> NDArray[np.float32]:
    """base64 of little-endian float32 -> (D,); ValueError where it is none."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError(f"the calibration's mean is not base64 of float32: {error}") from error


def how_to_calibrate(what: str) -> str:
    """A sentence for who asks why there is no confidence. what: "pictures" or "clips"."""
    return (
        f"The model was not calibrated for {what}, so nothing says how sure a hit is: `vicmae calibrate BUNDLE MEDIA` "
        "does that."
    )


# Where nothing was fitted: no model's numbers but what holds for any. Half-way between any two frames and identical is
# alike; frames fold only when rounding alone tells their vectors apart; pixels are compared only among hits of equal
# score, which so is the order; and nothing has a confidence.
UNCALIBRATED = Calibration(
    max_background=0.99,
    same_shot=0.5,
    same_frame=0.99,
    same_footage=0.5,
    clearly_less=0.5,
    about_as_alike=0.0,
    varied=0.5,
    rerank_score=-1.0,
    rerank_tie=0.0,
    folding_cosine=0.99999,
)
