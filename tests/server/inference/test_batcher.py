"""Many callers of one engine: together when they wait, each its own vectors, the departed and the unlucky apart."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from numpy.typing import NDArray

from vicmae.errors import EngineError, Overloaded
from vicmae.export.engine import FakeEngine
from vicmae.server.inference.batcher import Batcher

HERE = threading.Event()  # a caller who stays


class Gated(FakeEngine):
    """Computes when it is let, and tells the size of each batch."""

    def __init__(self, max_batch: int = 8) -> None:
        super().__init__(max_batch=max_batch)
        self.go, self.busy = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.error: Exception | None = None

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(pixels))
        self.busy.set()
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return super()._run(pixels)


def pictures(seed: int, count: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def test_who_waits_while_the_engine_is_busy_goes_together_and_gets_his_own() -> None:
    engine, plain = Gated(), FakeEngine()
    with Batcher(engine) as batcher:
        first = batcher.submit(pictures(0), HERE)
        assert engine.busy.wait(10)
        rest = [batcher.submit(pictures(seed, 1 + seed % 3), HERE) for seed in range(1, 6)]
        engine.go.set()
        answers = [answer.result(10) for answer in (first, *rest)]
    assert engine.batches == [1, 2 + 3 + 1 + 2, 3]
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer.vectors, plain.embed(pictures(seed, 1 + seed % 3 if seed else 1)), atol=1e-6)
        assert answer.queue_seconds >= 0 and answer.engine_seconds > 0


def test_a_clip_longer_than_a_batch_goes_alone() -> None:
    engine = Gated(max_batch=4)
    engine.go.set()
    with Batcher(engine) as batcher:
        assert len(batcher.submit(pictures(0, 10), HERE).result(10).vectors) == 10
    assert engine.batches == [4, 4, 2]


def test_a_free_engine_waits_for_nobody_when_nobody_comes() -> None:
    engine = Gated()
    engine.go.set()
    with Batcher(engine, wait_seconds=1000) as batcher:
        assert batcher.submit(pictures(0), HERE).result(10)


def test_a_free_engine_waits_for_who_is_on_the_way() -> None:
    engine = Gated()
    engine.go.set()
    with Batcher(engine, wait_seconds=1000) as batcher:
        with batcher.expecting():
            first = batcher.submit(pictures(0), HERE)
            assert not engine.busy.wait(0.05)
            second = batcher.submit(pictures(1), HERE)
        first.result(10), second.result(10)
    assert engine.batches == [2]


def test_who_left_costs_nothing() -> None:
    engine, left = Gated(), threading.Event()
    with Batcher(engine) as batcher:
        first = batcher.submit(pictures(0), HERE)
        assert engine.busy.wait(10)
        gone, stays = batcher.submit(pictures(1), left), batcher.submit(pictures(2), HERE)
        left.set()
        engine.go.set()
        with pytest.raises(CancelledError):
            gone.result(10)
        first.result(10), stays.result(10)
    assert engine.batches == [1, 1]


def test_an_error_reaches_its_batch_and_the_next_one_goes_on() -> None:
    engine = Gated()
    engine.go.set()
    engine.error = EngineError("The device was lost.")
    with Batcher(engine) as batcher:
        with pytest.raises(EngineError, match="lost"):
            batcher.submit(pictures(0), HERE).result(10)
        engine.error = None
        assert batcher.submit(pictures(0), HERE).result(10)


def test_the_end_answers_who_waits_and_takes_nobody_more() -> None:
    engine = Gated()
    batcher = Batcher(engine)
    with batcher:
        answers = [batcher.submit(pictures(seed), HERE) for seed in range(5)]
        engine.go.set()
    assert all(answer.done() for answer in answers)
    with pytest.raises(Overloaded):
        batcher.submit(pictures(0), HERE)
