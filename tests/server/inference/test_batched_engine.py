"""The engine that uploads and jobs embed with: the same vectors, in small batches that take their turn."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from vicmae.errors import Overloaded
from vicmae.export.engine import FakeEngine
from vicmae.server.inference.batched_engine import MAX_BATCH_CPU, BatchedEngine
from vicmae.server.inference.batcher import Batcher


class Recording(FakeEngine):
    """Notes the brightest picture of each batch, and computes only while its gate is open."""

    def __init__(self) -> None:
        super().__init__(max_batch=32)
        self.gate, self.busy = threading.Event(), threading.Event()
        self.batches: list[NDArray[np.uint8]] = []

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(pixels)
        self.busy.set()
        assert self.gate.wait(10)
        return super()._run(pixels)


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 200, (count, 32, 32, 3), np.uint8)


def test_it_gives_the_vectors_of_the_engine_behind_it() -> None:
    engine = FakeEngine()
    with Batcher(engine) as batcher:
        batched = BatchedEngine(batcher)
        assert (batched.fingerprint, batched.spec, batched.name) == (engine.fingerprint, engine.spec, engine.name)
        np.testing.assert_array_equal(batched.embed(pictures(50)), engine.embed(pictures(50)))
        assert batched.embed(pictures(0)).shape == (0, engine.spec.dim)


def test_a_request_waits_for_one_batch_and_not_for_the_upload() -> None:
    engine = Recording()
    upload, query = pictures(5 * MAX_BATCH_CPU), np.full((1, 32, 32, 3), 255, np.uint8)
    with Batcher(engine) as batcher:
        background = threading.Thread(target=BatchedEngine(batcher).embed, args=(upload,))
        background.start()
        assert engine.busy.wait(10)
        answer = batcher.submit(query)  # while the first batch of the upload is in the engine
        engine.gate.set()
        answer.result(10)
        background.join()
    assert sum(map(len, engine.batches)) == len(upload) + len(query)
    turns = [turn for turn, batch in enumerate(engine.batches) if batch.max() == 255]
    assert turns == [1] and len(engine.batches) >= 5, "the query is in the second batch, of five or six"


def test_after_the_end_it_says_so() -> None:
    with Batcher(FakeEngine()) as batcher:
        batched = BatchedEngine(batcher)
    with pytest.raises(Overloaded, match="stopping"):
        batched.embed(pictures(1))
