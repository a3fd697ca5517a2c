"""Folding: what it saves that frames which look the same share a vector, and what it costs the search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...export.calibration import UNCALIBRATED
from ..catalog import Moments
from ..ingest import fold

COSINES = (0.9999, 0.9995, 0.999, 0.998, 0.995, 0.99)
NONE = 2.0  # no cosine is so high
LATER_SECONDS = 0.1  # mean error of the answered second that folding may add


@dataclass(frozen=True)
class Asked:
    """A picture of the film at this place, shown at this second, and its vector (D,), edited or not."""

    film: int
    seconds: float
    vector: NDArray[np.float32]


@dataclass(frozen=True)
class Cost:
    """kept: share of the vectors that are left. first: share of the questions whose film came first. Seconds: error of
    the second that is answered; outside_seconds: how far it is from the stretch that is answered."""

    kept: float
    first: float
    median_seconds: float
    mean_seconds: float
    outside_seconds: float


def cost_of(films: Sequence[Moments], asked: Sequence[Asked], cosine: float) -> Cost:
    """Folds the films at this cosine and asks for each picture, by vectors alone."""
    folded = [fold(moments, cosine) for moments in films]
    vectors = np.concatenate([moments.vectors for moments in folded])
    places = [
        (film, a, b) for film, m in enumerate(folded) for a, b in zip(m.start_seconds, m.end_seconds, strict=True)
    ]
    errors, outside = [], []
    for question in asked:
        film, start, end = places[int((vectors @ question.vector).argmax())]
        if film == question.film:
            errors.append(abs(start - question.seconds))
            outside.append(max(start - question.seconds, question.seconds - end, 0.0))
    before = sum(len(moments.vectors) for moments in films)
    right = np.array(errors or [0.0])
    return Cost(
        len(vectors) / before,
        len(errors) / max(len(asked), 1),
        float(np.median(right)),
        float(right.mean()),
        float(np.mean(outside or [0.0])),
    )


def folding_cosine(films: Sequence[Moments], asked: Sequence[Asked]) -> float:
    """The lowest of COSINES at which no film is lost and the second is answered at most LATER_SECONDS worse (mean)."""
    whole = cost_of(films, asked, NONE)
    chosen = UNCALIBRATED.folding_cosine
    for cosine in COSINES:
        cost = cost_of(films, asked, cosine)
        if cost.first < whole.first or cost.mean_seconds > whole.mean_seconds + LATER_SECONDS:
            break
        chosen = cosine
    return chosen
