"""The drift gate: does an engine give the vectors of the trained model? Pure arithmetic on vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DriftError

TOP = 10


@dataclass(frozen=True)
class Drift:
    """How far an engine's vectors lie from the fp32 PyTorch encoder's, on the same pictures.

    top10_overlap is the mean share of each picture's ten nearest others that both agree on (1.0 if too few pictures).
    """

    pictures: int
    source: str
    mean_cosine: float
    min_cosine: float
    top10_overlap: float


@dataclass(frozen=True)
class DriftLimits:
    """The least that is accepted. Overlap is judged only where there are enough pictures for it to mean something."""

    mean_cosine: float
    min_cosine: float
    top10_overlap: float = 0.9


LIMITS = {
    "fp32": DriftLimits(0.9999, 0.9999),
    "fp16": DriftLimits(0.999, 0.999),
    "int8": DriftLimits(0.99, 0.97),
    "bf16": DriftLimits(0.999, 0.999),
}
ENOUGH_PICTURES = 100


def compare(reference: NDArray[np.float32], vectors: NDArray[np.float32], source: str) -> Drift:
    """reference, vectors (N, D) unit length, row by row of the same N pictures -> Drift."""
    if reference.shape != vectors.shape:
        raise DriftError(f"The engine gives vectors {vectors.shape}, the trained model {reference.shape}.")
    cosine = (reference.astype(np.float64) * vectors).sum(axis=1)
    overlap = 1.0
    if len(reference) > TOP:
        pairs = zip(_nearest(reference), _nearest(vectors), strict=True)
        overlap = float(np.mean([len(set(a) & set(b)) / TOP for a, b in pairs]))
    return Drift(len(reference), source, float(cosine.mean()), float(cosine.min()), overlap)


def require_within_limits(drift: Drift, precision: str, what: str) -> None:
    """Raises DriftError, naming `what`, where a figure is under its limit or no number."""
    limits = LIMITS.get(precision)
    if limits is None:
        raise DriftError(f"{what}: no limits are known for precision {precision!r}; known are {', '.join(LIMITS)}.")
    figures = [
        ("mean cosine", drift.mean_cosine, limits.mean_cosine),
        ("minimum cosine", drift.min_cosine, limits.min_cosine),
    ]
    if drift.pictures >= ENOUGH_PICTURES:
        figures.append(("top-10 overlap", drift.top10_overlap, limits.top10_overlap))
    for name, got, least in figures:
        if not got >= least:
            raise DriftError(
                f"{what}: {name} to the trained model is {got:.6f} over {drift.pictures} pictures, {precision} needs "
                f"{least}. Its vectors would not match; export again, in a higher precision if need be."
            )


def _nearest(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argpartition(-similarity, TOP, axis=1)[:, :TOP]
