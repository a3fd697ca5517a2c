"""What depends on a model's statistics and is no part of its weights: thresholds and curves, fitted to media.

`vicmae calibrate` fits it and writes it into the bundle's manifest. A bundle that was never calibrated has none, and
then nobody knows how likely a hit is: no other model's numbers are taken instead. Knows numbers; opens nothing.
"""

import base64
import binascii
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOW_TO_CALIBRATE = "This model was never calibrated, so confidence is unknown. Run: vicmae calibrate BUNDLE MEDIA"


@dataclass(frozen=True)
class Curve:
    """A chance from one figure x: 1 / (1 + exp(-(intercept + slope * x))). `slope` is above 0: more is surer."""

    intercept: float
    slope: float

    def __post_init__(self) -> None:
        if not (isfinite(self.intercept) and isfinite(self.slope) and self.slope > 0):
            raise ValueError(f"a curve has intercept {self.intercept} and slope {self.slope}; numbers, slope above 0")


@dataclass(frozen=True)
class Calibration:
    """Fitted to media that vectors of this model were made of.

    folding_cosine  consecutive frames of at least this cosine share one vector, 0..1
    frame           chance that a frame shows the picture asked for; x = -ln(1 - likeness + 0.005)
    clip            chance that two stretches show the same footage; x = what alignment says of them, 0..1
    mean            (D,) float32, base64 in JSON: the mean of the vectors of ordinary pictures
    fitted_on       what it was fitted to, in words and counts
    """

    folding_cosine: float
    frame: Curve
    clip: Curve | None
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
        curves = {name: None if values[name] is None else Curve(**values[name]) for name in ("frame", "clip")}
        return cls(**{**values, **curves, "mean": tuple(mean.tolist())})


def unpacked(text: str) -> NDArray[np.float32]:
    """base64 of little-endian float32 -> (D,); ValueError where it is none."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError(f"the calibration's mean is not base64 of float32: {error}") from error
