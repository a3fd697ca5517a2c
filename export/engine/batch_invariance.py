"""Does a picture's vector depend on its neighbours in the batch, or on when it is asked? It must not.

Otherwise two requests for one picture get two answers, and an indexing run that was interrupted keeps other vectors
than one that was not. Scales that are made from the values of a whole batch do that (dynamic int8).
"""

import numpy as np
from numpy.typing import NDArray

from ...errors import DriftError
from .engine import Engine

LARGEST_DIFFERENCE = 1e-5  # between any two numbers of the vectors that an engine gives for one picture


def batch_difference(engine: Engine, pixels: NDArray[np.uint8]) -> float:
    """pixels (C, S, S, 3) uint8, C >= 2 -> the largest difference between two vectors of one picture: alone, with the
    others, at another place, beside other neighbours, and asked a second time."""
    neighbours = _unlike_neighbours(pixels[:1])
    together = engine.embed(pixels)
    others = [
        np.concatenate([engine.embed(pixels[i : i + 1]) for i in range(len(pixels))]),
        engine.embed(pixels[::-1])[::-1],
        engine.embed(np.concatenate([neighbours, pixels]))[len(neighbours) :],
        engine.embed(pixels),
    ]
    return max(float(np.abs(other - together).max()) for other in others)


def require_batch_invariance(engine: Engine, pixels: NDArray[np.uint8], what: str) -> None:
    """Raises DriftError, naming `what`, where a vector depends on its batch or on when it is asked, or is no number."""
    difference = batch_difference(engine, pixels)
    if not difference <= LARGEST_DIFFERENCE:
        raise DriftError(
            f"{what}: a picture's vector differs by {difference:.1e} with its neighbours in the batch or from one run "
            f"to the next; {LARGEST_DIFFERENCE:.0e} is allowed. Its vectors could not be compared; use another engine, "
            "or export again with --precision int8-static instead of dynamic int8."
        )


def _unlike_neighbours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, S, S, 3) uint8 that stretch any range taken over a batch: black, white, and noise of full contrast."""
    noise = np.random.default_rng(0).integers(0, 2, pixels.shape, dtype=np.uint8) * np.uint8(255)
    return np.concatenate([np.zeros_like(pixels), np.full_like(pixels, 255), noise])
