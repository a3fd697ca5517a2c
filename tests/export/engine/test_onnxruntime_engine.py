"""vicmae.export.engine.onnxruntime_engine: a session as an Engine."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from made_runs import NANO, noise_pixels, write_bundle

from vicmae.errors import EngineError
from vicmae.export.engine.onnxruntime_engine import PROVIDERS, OnnxRuntimeEngine

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
    with pytest.raises(EngineError, match="m.onnx is not an ONNX file"):
        OnnxRuntimeEngine(tmp_path / "m.onnx", SPEC, "f", "nano")
    with pytest.raises(EngineError, match="none.onnx does not start"):
        OnnxRuntimeEngine(tmp_path / "none.onnx", SPEC, "f", "nano")


@pytest.mark.parametrize("runtime", ["cuda", "tensorrt"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_a_cpu(path: Path, runtime: str) -> None:
    if PROVIDERS[runtime] in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime may have a GPU")
    with pytest.raises(EngineError, match="cuda:0 was asked for, but this ONNX Runtime"):
        OnnxRuntimeEngine(path, SPEC, "f", "nano", runtime=runtime, device="cuda:0")


def test_a_session_that_fell_back_to_the_cpu_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the GPU build does on a machine without a GPU: it lists the provider, warns, and starts on the CPU."""
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda p, o, providers: real(p, o, providers=["CPUExecutionProvider"])
    )
    for runtime in ("cuda", "tensorrt"):
        with pytest.raises(EngineError, match="cuda:1 was asked for, but ONNX Runtime started on CPUExecutionProv"):
            OnnxRuntimeEngine(path, SPEC, "f", "nano", runtime=runtime, device="cuda:1")


@pytest.mark.skipif(
    PROVIDERS["cuda"] not in onnxruntime.get_available_providers(), reason="needs onnxruntime-gpu and a GPU"
)
def test_cuda_gives_the_vectors_of_the_cpu(path: Path) -> None:
    pixels = noise_pixels(5)
    expected = OnnxRuntimeEngine(path, SPEC, "f", "nano").embed(pixels)
    engine = OnnxRuntimeEngine(path, SPEC, "f", "nano", runtime="cuda", device="cuda:0")
    assert engine.max_batch == 256 and (engine.embed(pixels) * expected).sum(axis=1).min() > 0.9999
