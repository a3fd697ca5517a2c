"""What depends on a model's statistics and is no part of its weights: thresholds and curves, fitted to media.

It stands in the bundle's manifest; a bundle that was never calibrated has none. Knows numbers; opens nothing.
"""

import base64
import binascii
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray


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

    folding_cosine  consecutive frames of at least this cosine share one vector, 0..1
    frame           chance that a frame shows the picture asked for, from its likeness
    stretch         chance that two stretches show the same footage, from what alignment says of them; None: not fitted
    mean            (D,) float32, base64 in JSON: the mean of the vectors of ordinary pictures
    fitted_on       what it was fitted to, in words and counts
    """

    folding_cosine: float
    frame: Curve
    stretch: Curve | None
    mean: tuple[float, ...]
    fitted_on: dict[str, Any]

    def __post_init__(self) -> None:
        if not 0 < self.folding_cosine <= 1:
            raise ValueError(f"folding_cosine is {self.folding_cosine}; expected above 0 and at most 1")
        if not self.mean or not all(map(isfinite, self.mean)):
            raise ValueError("mean is empty or holds what is no number; expected D numbers")

    def to_dict(self) -> dict[str, Any]:
        packed = np.asarray(self.mean, "<f4").tobytes()
        return {**asdict(self), "mean": base64.b64encode(packed).decode()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], dim: int) -> "Calibration":
        """ValueError, TypeError or KeyError say what is wrong with what a manifest holds."""
        mean = unpacked(values["mean"])
        if len(mean) != dim:
            raise ValueError(f"the calibration's mean has {len(mean)} numbers; the model's vectors have {dim}")
        curves = {name: None if values[name] is None else Curve(**values[name]) for name in ("frame", "stretch")}
        return cls(**{**values, **curves, "mean": tuple(mean.tolist())})


def unpacked(text: str) -> NDArray[np.float32]:
    """base64 of little-endian float32 -> (D,); ValueError where it is none."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError(f"the calibration's mean is not base64 of float32: {error}") from error
