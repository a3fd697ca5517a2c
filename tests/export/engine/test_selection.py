"""vicmae.export.engine.selection: which candidates there are, which are refused, which one runs and is remembered."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_runs import noise_pixels, write_bundle_of_many, write_bundle_with_dynamic_scales
from numpy.typing import NDArray

from vicmae.errors import BundleError, DriftError, EngineError, InvalidRequest
from vicmae.export.bundle import load_canary, read_manifest, save_canary, write_manifest
from vicmae.export.drift import Drift
from vicmae.export.engine import FakeEngine, selection
from vicmae.export.engine.candidates import Candidate, Machine, candidates_of
from vicmae.export.engine.selection import (
    Selection,
    Trial,
    build_tensorrt,
    fastest,
    is_faster,
    key_of,
    open_engine,
    recall,
    remember,
)

PLAIN = Machine(frozenset({"CPUExecutionProvider"}))
GPU = Machine(frozenset({"CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"}))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle_of_many(tmp_path / "bundle")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing but ONNX Runtime is installed."""
    monkeypatch.setattr(selection, "this_machine", lambda: PLAIN)


def drifts(bundle: Path, name: str, min_cosine: float) -> None:
    """Lets the drift report of one file say so."""
    manifest = read_manifest(bundle)
    file = replace(manifest.engines[name], drift=Drift(500, "made", 0.9999, min_cosine, 1.0))
    write_manifest(bundle, replace(manifest, engines={**manifest.engines, name: file}))


def names_of(bundle: Path, device: str, machine: Machine, built: bool = False) -> list[list[str]]:
    return [[r.name for r in group] for group in candidates_of(read_manifest(bundle), device, machine, built)]


def test_the_candidates_of_a_cpu(bundle: Path) -> None:
    plain = ["onnxruntime-fp32", "onnxruntime-int8", "onnxruntime-int8-static"]
    more = ["openvino-fp32", "openvino-int8", "openvino-int8-static"]
    assert names_of(bundle, "cpu", PLAIN) == names_of(bundle, "auto", PLAIN) == [plain]
    assert names_of(bundle, "auto", replace(PLAIN, openvino=True)) == [plain + more]
    assert names_of(bundle, "cpu", replace(PLAIN, openvino=True, bf16=True)) == [[*plain, *more, "openvino-bf16"]]


def test_the_candidates_of_a_gpu(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    half = replace(manifest.engines["model.onnx"], precision="fp16")
    write_manifest(bundle, replace(manifest, engines={**manifest.engines, "model.fp16.onnx": half}))
    cuda = ["cuda-fp16", "cuda-fp32"]
    assert names_of(bundle, "cuda:1", GPU) == [cuda]
    assert names_of(bundle, "auto", GPU)[0] == cuda and "onnxruntime-fp32" in names_of(bundle, "auto", GPU)[1]
    tensorrt = ["tensorrt-fp16", "tensorrt-fp32"]
    assert names_of(bundle, "tensorrt", GPU) == [tensorrt]
    assert names_of(bundle, "auto", GPU)[0] == cuda, "building takes minutes: only if asked"
    assert names_of(bundle, "auto", GPU, built=True)[0] == cuda + tensorrt
    candidates = candidates_of(read_manifest(bundle), "cuda:1", GPU)[0]
    assert {candidate.device for candidate in candidates} == {"cuda:1"}


def test_tensorrt_is_refused_before_anything_is_written(bundle: Path, plain: None) -> None:
    with pytest.raises(EngineError, match="comes without it. Run: pip"):
        build_tensorrt(bundle)
    assert not (bundle / "tensorrt").exists()


def test_engines_of_tensorrt_are_built_beside_the_files(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "this_machine", lambda: GPU)
    opened: list[tuple[str, Path | None]] = []

    def engine(path: Path, *about: object, runtime: str, cache: Path | None, **_: object) -> FakeEngine:
        opened.append((runtime, cache))
        raise EngineError("no GPU")

    monkeypatch.setattr(selection, "OnnxRuntimeEngine", engine)
    with pytest.raises(EngineError, match="no GPU"):
        build_tensorrt(bundle)
    assert opened == [("tensorrt", bundle / "tensorrt")]


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "", "CPU", "cpu:0", "cuda:1 "])
def test_a_device_that_is_none_is_refused(bundle: Path, device: str) -> None:
    with pytest.raises(InvalidRequest, match="expected auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N"):
        open_engine(bundle, threads=1, device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "tensorrt"])
@pytest.mark.parametrize("engine", ["auto", "fastest"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_a_cpu(
    bundle: Path, device: str, engine: str, plain: None
) -> None:
    with pytest.raises(EngineError, match="was asked for, but"):
        open_engine(bundle, threads=1, device=device, engine=engine)


def test_every_name_opens_and_gives_the_trained_vectors(bundle: Path, plain: None) -> None:
    pixels = noise_pixels(3)
    expected = open_engine(bundle, threads=1).embed(pixels)
    for name in ("onnxruntime-int8", "onnxruntime-int8-static"):
        with open_engine(bundle, threads=1, engine=name) as engine:
            assert (engine.runtime, engine.precision, engine.device) == ("onnxruntime", "int8", "cpu")
            assert (engine.embed(pixels) * expected).sum(axis=1).min() > 0.97


def test_an_unknown_name_is_told_the_names_there_are(bundle: Path, plain: None) -> None:
    with pytest.raises(InvalidRequest, match="this bundle on --device cpu has onnxruntime-fp32, onnxruntime-int8, "):
        open_engine(bundle, threads=1, engine="onnxruntime-fp64")


def test_the_loud_line_says_what_runs_and_why(bundle: Path, plain: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        open_engine(bundle, threads=1).close()
    assert "nano runs on cpu as onnxruntime-fp32 (fp32), asked for by name; least cosine" in caplog.text


def test_an_engine_outside_its_limits_is_left_out_loudly_and_an_error_by_name(
    bundle: Path, plain: None, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("model.int8.onnx", "model.int8-static.onnx"):
        drifts(bundle, name, 0.5)
    for wish in ("auto", "fastest"):
        caplog.clear()
        assert open_engine(bundle, threads=1, engine=wish).precision == "fp32"
        assert "engine onnxruntime-int8 refused" in caplog.text and "0.500000" in caplog.text
    with pytest.raises(DriftError, match="minimum cosine to the trained model is 0.500000"):
        open_engine(bundle, threads=1, engine="onnxruntime-int8")


def test_the_canary_refuses_an_engine_whose_report_is_fine(bundle: Path, plain: None) -> None:
    pixels, vectors = load_canary(bundle)
    save_canary(bundle, pixels, np.roll(vectors, 1, axis=1))
    for wish in ("auto", "onnxruntime-int8"):
        with pytest.raises(DriftError, match="on this machine: mean cosine"):
            open_engine(bundle, threads=1, engine=wish)


def test_scales_of_the_batch_are_refused_and_the_next_engine_serves(
    tmp_path: Path, plain: None, caplog: pytest.LogCaptureFixture
) -> None:
    old = write_bundle_with_dynamic_scales(tmp_path / "old")
    for wish in ("auto", "fastest"):
        with open_engine(old, threads=1, engine=wish) as engine:
            assert engine.precision == "fp32"
    assert "engine onnxruntime-int8 refused" in caplog.text and "neighbours in the batch" in caplog.text
    with pytest.raises(DriftError, match=r"differs by .* 1e-05 is allowed.*--precision int8-static"):
        open_engine(old, threads=1, engine="onnxruntime-int8")


def test_the_fastest_within_the_limits_serves(bundle: Path, plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.int8.onnx", "model.int8-static.onnx"):
        drifts(bundle, name, 0.98)
    monkeypatch.setattr(selection, "is_faster", lambda candidate, best, *_: candidate.precision == "int8")
    for wish in ("auto", "fastest"):
        assert open_engine(bundle, threads=1, engine=wish).precision == "int8"


def test_bfloat16_is_tried_by_name_only(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no drift report of its own: the canary alone does not show how far it drifts on real pictures."""
    monkeypatch.setattr(selection, "this_machine", lambda: replace(PLAIN, openvino=True, bf16=True))
    tried: list[str] = []

    def refuse(selection: Selection, candidate: Candidate) -> Trial:
        tried.append(candidate.name)
        raise EngineError("none here")

    monkeypatch.setattr(selection, "try_candidate", refuse)
    with pytest.raises(EngineError, match="none here"):
        open_engine(bundle, threads=1, engine="auto")
    assert "openvino-fp32" in tried and "openvino-bf16" not in tried


def test_a_damaged_file_is_never_just_left_out(bundle: Path, plain: None) -> None:
    content = bytearray((bundle / "model.int8.onnx").read_bytes())
    content[-1] ^= 1
    (bundle / "model.int8.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="model.int8.onnx is not the file that was exported"):
        open_engine(bundle, threads=1, engine="auto")


def test_what_was_fastest_is_remembered(
    bundle: Path, tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    wishes = {"threads": 1, "engine": "fastest", "cache": cache}
    monkeypatch.setattr(selection, "is_faster", lambda candidate, best, *_: True)
    open_engine(bundle, **wishes)  # type: ignore[arg-type]
    (kept,) = cache.glob("*.json")
    assert json.loads(kept.read_text()) == {"engine": "onnxruntime-int8-static"}
    monkeypatch.setattr(selection, "is_faster", lambda *_: pytest.fail("measured again"))
    started: list[str] = []
    start = selection.try_candidate

    def watched(trial: Selection, candidate: Candidate) -> Trial:
        started.append(candidate.name)
        return start(trial, candidate)

    monkeypatch.setattr(selection, "try_candidate", watched)
    open_engine(bundle, **wishes)  # type: ignore[arg-type]
    assert started == ["onnxruntime-int8-static"]


def test_a_remembered_engine_that_drifts_since_is_replaced(bundle: Path, tmp_path: Path, plain: None) -> None:
    manifest = read_manifest(bundle)
    key = key_of(manifest, 1, "cpu", "auto")
    remember(tmp_path, key, "onnxruntime-int8")
    drifts(bundle, "model.int8.onnx", 0.5)
    with open_engine(bundle, threads=1, engine="auto", cache=tmp_path):
        assert recall(tmp_path, key) != "onnxruntime-int8"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"engine": "gone"}', '{"engine": 7}'])
def test_a_broken_memory_costs_only_time(bundle: Path, tmp_path: Path, plain: None, content: str) -> None:
    (tmp_path / f"{key_of(read_manifest(bundle), 1, 'cpu', 'auto')}.json").write_text(content)
    open_engine(bundle, threads=1, engine="auto", cache=tmp_path).close()


def test_a_place_that_cannot_be_written_costs_only_time(bundle: Path, tmp_path: Path, plain: None) -> None:
    (tmp_path / "file").write_text("no folder")
    open_engine(bundle, threads=1, engine="auto", cache=tmp_path / "file").close()
    assert not list(bundle.glob("*.json.partial"))


def test_a_measurement_holds_for_one_machine_and_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(bundle)

    def key(threads: int = 2, device: str = "cpu", engine: str = "auto") -> str:
        return key_of(manifest, threads, device, engine)

    keys = {key(), key(threads=1), key(device="auto"), key(engine="fastest")}
    keys.add(key_of(replace(manifest, fingerprint="other"), 2, "cpu", "auto"))
    first = next(iter(manifest.engines))
    other = replace(manifest.engines[first], sha256="0" * 64)
    keys.add(key_of(replace(manifest, engines={first: other}), 2, "cpu", "auto"))
    assert key() in keys and len(keys) == 6
    monkeypatch.setattr(selection, "_version", lambda package: "next")
    assert key() not in keys
    monkeypatch.setattr(selection, "cpu_name", lambda: "another CPU")
    assert key() not in keys


class Clock:
    """A clock that only engines move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(FakeEngine):
    """Needs so many seconds of a made clock for each batch, one after the other, the last ones for ever."""

    def __init__(self, clock: Clock, *seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds, self.runs = clock, list(seconds), 0

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.runs += 1
        self.clock.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        return super()._run(pixels)


def start(engine: Timed, name: str, least_cosine: float = 1.0) -> Trial:
    return Trial(Candidate(name, "model.onnx", "fp32", "cpu"), engine, least_cosine)


def test_a_candidate_must_be_clearly_faster() -> None:
    clock = Clock()
    for seconds, wins in ((0.05, True), (0.094, True), (0.098, False), (0.1, False), (0.2, False)):
        assert is_faster(Timed(clock, seconds), Timed(clock, 0.1), clock) is wins, seconds


def test_a_disturbed_turn_does_not_decide() -> None:
    clock = Clock()
    assert is_faster(Timed(clock, 0.09, 0.05), Timed(clock, 0.1), clock)
    assert not is_faster(Timed(clock, 0.1), Timed(clock, 0.15, 0.05), clock)


def test_a_hopeless_candidate_gets_one_turn() -> None:
    clock = Clock()
    slow = Timed(clock, 5.0)
    assert not is_faster(slow, Timed(clock, 0.1), clock) and slow.runs == 1


def test_the_fastest_of_those_that_passed_wins() -> None:
    clock = Clock()

    def chosen(*trials: Trial | None) -> str | None:
        found = fastest(iter(trials), clock)
        return found.candidate.runtime if found else None

    slow, fast = (Timed(clock, s) for s in (0.1, 0.05))
    assert chosen(start(slow, "slow"), None, start(fast, "fast")) == "fast"
    assert chosen(None) is None and chosen() is None
