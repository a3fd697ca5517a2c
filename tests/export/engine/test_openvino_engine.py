"""vicmae.export.engine.openvino_engine: the same files, the same vectors, in OpenVINO."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_runs import NANO, noise_pixels, write_bundle_of_many

from vicmae.errors import EngineError
from vicmae.export.engine import open_engine

pytest.importorskip("openvino", reason="OpenVINO is not installed (extra openvino)")
from vicmae.export.engine.openvino_engine import OpenVinoEngine, cpu_has_bfloat16

SPEC = NANO.input_spec(32, fit="squash")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle_of_many(tmp_path_factory.mktemp("openvino") / "bundle")


def test_it_gives_the_vectors_of_onnx_runtime(bundle: Path) -> None:
    pixels = noise_pixels(10)
    expected = open_engine(bundle, threads=1).embed(pixels)
    engine = OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", threads=1, max_batch=3)
    assert np.abs(engine.embed(pixels) - expected).max() < 1e-4
    with open_engine(bundle, threads=1, engine="openvino-int8-static") as static:
        assert (static.runtime, static.precision, static.device) == ("openvino", "int8", "cpu")
        assert (static.embed(pixels) * expected).sum(axis=1).min() > 0.97


def test_threads_share_one_engine(bundle: Path) -> None:
    engine = OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", threads=2)
    batches = [noise_pixels(5, seed=seed) for seed in range(12)]
    expected = [engine.embed(pixels) for pixels in batches]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(engine.embed, batches), expected, strict=True):
            assert np.abs(got - wanted).max() < 1e-5


def test_a_vector_outlives_the_next_run(bundle: Path) -> None:
    engine = OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", threads=1)
    first = engine.embed(noise_pixels(1, seed=1))
    kept = first.copy()
    engine.embed(noise_pixels(1, seed=2))
    assert (first == kept).all()


def test_pixels_need_not_lie_together(bundle: Path) -> None:
    engine = OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", threads=1)
    pixels = noise_pixels(6)
    assert np.abs(engine.embed(pixels[::2]) - engine.embed(pixels)[::2]).max() < 1e-5


def test_what_is_compiled_is_kept(bundle: Path, tmp_path: Path) -> None:
    for _ in range(2):
        OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", threads=1, cache=tmp_path).embed(noise_pixels(1))
        assert len(list(tmp_path.rglob("*.blob"))) == 1


def test_a_folder_that_cannot_be_written_costs_only_time(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", threads=1, cache=tmp_path / "file").embed(noise_pixels(1))


def test_bfloat16_is_refused_where_the_cpu_has_none(bundle: Path) -> None:
    if cpu_has_bfloat16():
        pytest.skip("this CPU has bfloat16")
    with pytest.raises(EngineError, match="does not compute in bfloat16"):
        OpenVinoEngine(bundle / "model.onnx", SPEC, "f", "nano", precision="bf16")


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no bfloat16")
def test_bfloat16_passes_its_gate(bundle: Path) -> None:
    with open_engine(bundle, threads=1, engine="openvino-bf16") as engine:
        assert engine.precision == "bf16"


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07"])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(EngineError, match="m.onnx does not start in OpenVINO"):
        OpenVinoEngine(tmp_path / "m.onnx", SPEC, "f", "nano")


def test_an_engine_dropped_in_another_thread_leaves_signals_working(bundle: Path) -> None:
    """OpenVINO's plugin, once unloaded from another thread than it was loaded in, took the signal stack along."""
    script = f"""
import faulthandler, gc, signal, threading
from pathlib import Path
from vicmae.export.engine.openvino_engine import OpenVinoEngine
from vicmae.media.spec import InputSpec

faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
spec = InputSpec.from_dict({SPEC.to_dict()!r})
engines = [OpenVinoEngine(Path({str(bundle / "model.onnx")!r}), spec, "f", "nano", threads=1)]
thread = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
thread.start()
thread.join()
signal.raise_signal(signal.SIGUSR1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
