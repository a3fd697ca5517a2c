"""vicmae.export.engine.batch_invariance: a vector that depends on its batch, or on when it is asked, is found."""

import numpy as np
import pytest
from made_runs import noise_pixels
from numpy.typing import NDArray

from vicmae.errors import DriftError
from vicmae.export.engine import FakeEngine
from vicmae.export.engine.batch_invariance import LARGEST_DIFFERENCE, batch_difference, require_batch_invariance

PIXELS = noise_pixels(4)


class Changing(FakeEngine):
    """Adds something to each vector: of the batch's other pictures, of its place there, or of the run."""

    def __init__(self, what: str, size: float) -> None:
        super().__init__()
        self.what, self.change, self.runs = what, size, 0

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.runs += 1
        n = len(pixels)
        of = {
            "neighbours": np.full(n, (pixels.max() - pixels.min()) / 255),
            "size": np.full(n, n),
            "place": np.arange(n),
            "run": np.full(n, self.runs),
        }[self.what]
        return np.asarray(super()._run(pixels) + self.change * of[:, None], np.float32)


def test_an_engine_that_looks_at_one_picture_at_a_time_passes() -> None:
    assert batch_difference(FakeEngine(), PIXELS) == 0
    require_batch_invariance(FakeEngine(), PIXELS, "m.onnx")


@pytest.mark.parametrize("what", ["neighbours", "size", "place", "run"])
def test_what_a_vector_must_not_depend_on_is_found(what: str) -> None:
    dull = (PIXELS // 4) + 64  # neighbours of full contrast stretch this range
    with pytest.raises(DriftError, match="m.onnx: a picture's vector differs by .* 1e-05 is allowed"):
        require_batch_invariance(Changing(what, 1e-3), dull, "m.onnx")


def test_rounding_passes() -> None:
    assert 0 < batch_difference(Changing("size", 1e-7), PIXELS) < LARGEST_DIFFERENCE
    require_batch_invariance(Changing("size", 1e-7), PIXELS, "m.onnx")


def test_no_number_is_no_pass() -> None:
    with pytest.raises(DriftError, match="nan"):
        require_batch_invariance(Changing("place", float("nan")), PIXELS, "m.onnx")
