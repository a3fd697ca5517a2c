"""vicmae.server.canary and metrics: a running engine that begins to drift is noticed, told and published."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from made_runs import noise_pixels, write_bundle
from numpy.typing import NDArray
from served import problem

from vicmae.errors import EngineError
from vicmae.export.engine import FakeEngine
from vicmae.server.app import create_app
from vicmae.server.inference.canary import Canary
from vicmae.settings import load_settings


class Turning(FakeEngine):
    """An engine whose vectors can be made wrong, or which can be made to fail."""

    wrong = False
    error: Exception | None = None

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.error:
            raise self.error
        vectors = super()._run(pixels)
        return np.roll(vectors, 1, axis=1) if self.wrong else vectors


PIXELS = noise_pixels(5)


def canary(engine: FakeEngine, published: list[float], every_seconds: float = 0) -> Canary:
    return Canary(engine, PIXELS, FakeEngine().embed(PIXELS), every_seconds, published.append)


def test_a_faithful_engine_is_well() -> None:
    published: list[float] = []
    watch = canary(Turning(), published)
    assert all(watch.check() for _ in range(7)) and watch.is_well
    assert published == pytest.approx([1.0] * 7)


def test_an_engine_that_turns_wrong_is_told_loudly_until_it_recovers(caplog: pytest.LogCaptureFixture) -> None:
    engine = Turning()
    published: list[float] = []
    watch = canary(engine, published)
    engine.wrong = True
    assert not watch.check() and not watch.is_well and published[-1] < 0.999
    assert "NOT READY" in caplog.text and caplog.records[-1].levelno == logging.ERROR
    engine.wrong = False
    assert watch.check() and watch.is_well and "again" in caplog.text


def test_an_engine_that_fails_is_not_well() -> None:
    engine = Turning()
    watch = canary(engine, [])
    engine.error = EngineError("The device was lost.")
    assert not watch.check() and not watch.is_well


@pytest.mark.parametrize("error", [EngineError("lost"), RuntimeError("unforeseen")])
def test_it_watches_by_itself_and_stops_with_the_server(error: Exception) -> None:
    seen = threading.Event()

    class Failing(FakeEngine):
        def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            seen.set()
            raise error

    watch = canary(Failing(), [], every_seconds=0.001)
    with watch:
        assert seen.wait(10)
    assert not watch.is_well and "canary" not in {thread.name for thread in threading.enumerate()}


def test_no_seconds_means_no_watch() -> None:
    with canary(Turning(), []):
        assert "canary" not in {thread.name for thread in threading.enumerate()}


def test_the_server_publishes_the_drift_and_stops_being_ready(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    app = create_app(load_settings(data=tmp_path / "data", bundle=bundle, threads=1))
    with TestClient(app, base_url="http://localhost") as client:
        lines = client.get("/metrics").text.splitlines()
        told = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}
        assert told["vicmae_engine_drift_min_cosine"] == pytest.approx(1, abs=1e-4)
        (info,) = (name for name in told if name.startswith("vicmae_engine_info"))
        assert 'model="nano"' in info and 'runtime="onnxruntime"' in info and 'precision="fp32"' in info
        assert client.get("/readyz").status_code == 200
        app.state.services.canary.is_well = False
        assert "server's log" in problem(client.get("/readyz"), 503)["detail"]
        assert client.get("/livez").status_code == 200
        (model,) = client.get("/v1/models").json()["data"]
        assert (model["runtime"], model["device"], model["precision"]) == ("onnxruntime", "cpu", "fp32")
