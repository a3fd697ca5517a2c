"""Calibration: what depends on a model's statistics, fitted to a person's own media, edited. No labels are needed."""

from .calibrate import Progress, calibrate
from .edits import EDITS, encoded_anew
from .fit import fit_curve
from .folding import COSINES, Asked, Cost, cost_of
from .material import Material, read_material

__all__ = [
    "COSINES",
    "EDITS",
    "Asked",
    "Cost",
    "Material",
    "Progress",
    "calibrate",
    "cost_of",
    "encoded_anew",
    "fit_curve",
    "read_material",
]
