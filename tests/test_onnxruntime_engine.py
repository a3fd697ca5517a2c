"""vicmae.export.onnxruntime_engine: a session as an Engine."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_runs import NANO, noise_pixels, write_bundle

from vicmae.errors import EngineError
from vicmae.export.onnxruntime_engine import OnnxRuntimeEngine

SPEC = NANO.input_spec(32, fit="squash")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle") / "model.onnx"


def test_batches_are_cut_to_its_limit(path: Path) -> None:
    small = OnnxRuntimeEngine(path, SPEC, "f", "nano", threads=1, max_batch=3)
    large = OnnxRuntimeEngine(path, SPEC, "f", "nano", threads=1)
    pixels = noise_pixels(10)
    assert np.abs(small.embed(pixels) - large.embed(pixels)).max() < 1e-6
    assert small.embed(pixels[:0]).shape == (0, SPEC.dim)


def test_threads_share_one_session(path: Path) -> None:
    engine = OnnxRuntimeEngine(path, SPEC, "f", "nano", threads=2)
    pixels = noise_pixels(12)
    expected = engine.embed(pixels)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(engine.embed, [pixels] * 8):
            assert np.abs(got - expected).max() < 1e-6


def test_it_states_what_it_is(path: Path) -> None:
    with OnnxRuntimeEngine(path, SPEC, "print", "nano", precision="fp32") as engine:
        assert (engine.spec, engine.fingerprint, engine.name) == (SPEC, "print", "nano")
        assert (engine.device, engine.precision, engine.max_batch) == ("cpu", "fp32", 32)
    engine.close()


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07"])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(EngineError, match="m.onnx does not start in ONNX Runtime"):
        OnnxRuntimeEngine(tmp_path / "m.onnx", SPEC, "f", "nano")
    with pytest.raises(EngineError, match="none.onnx does not start"):
        OnnxRuntimeEngine(tmp_path / "none.onnx", SPEC, "f", "nano")
