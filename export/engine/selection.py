"""Engine selection: the candidates of a bundle on this machine, the gate each must pass, the fastest of those that do.

A candidate is a runtime with one file of the bundle, named like "openvino-int8-static". Each is tried on the bundle's
canary pixels before it may run. What was measured once is remembered in a folder, if there is one that can be written.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import numpy as np

from ...errors import BundleError, DriftError, EngineError, VicmaeError
from ..bundle import EngineFile, Manifest, load_canary, read_manifest, require_unaltered
from ..calibration import UNCALIBRATED
from ..drift import compare, require_within_limits
from .batch_invariance import require_batch_invariance
from .candidates import Candidate, candidates_of, cpu_name, named, this_machine
from .engine import Engine
from .onnxruntime_engine import PROVIDERS, OnnxRuntimeEngine

TENSORRT_FOLDER = "tensorrt"  # in the bundle: engines built for its GPU by build_tensorrt
CANARY_PICTURES = 4  # of the canary's at a start, so that a large model starts soon; a running server tries all in turn
CLEARLY_FASTER = 1.05  # a later candidate replaces an earlier one only by more than the noise of measuring
COMPARISON_SECONDS = 0.5
COMPARISON_PICTURES = 4
# Tried by name only (docs/engines.md): fp16 on a CPU and OpenVINO on dynamic scales are slower than the same runtime's
# other files wherever measured; bfloat16 has no drift report, and on real pictures it drifts more than on the canary's.
BY_NAME_ONLY = {"onnxruntime-fp16", "openvino-fp16", "openvino-int8", "openvino-bf16"}

log = logging.getLogger("vicmae.export")


@dataclass(frozen=True)
class Trial:
    """An engine that passed the gate. `least_cosine`: of its drift report and of its canary here, the lower one."""

    candidate: Candidate
    engine: Engine
    least_cosine: float


@dataclass(frozen=True)
class Selection:
    """What all candidates of one bundle share while they are tried."""

    bundle: Path
    manifest: Manifest
    threads: int
    cache: Path | None
    whole: set[str] = field(default_factory=set)  # files whose sha256 was compared, so that none is read twice


def open_engine(
    bundle: Path, threads: int = 0, device: str = "cpu", engine: str = "onnxruntime-fp32", cache: Path | None = None
) -> Engine:
    """Starts an engine of the bundle that gives the trained model's vectors on this machine.

    threads  of the CPU, 0: every core
    device   "cpu", "cuda", "cuda:N", "tensorrt", "tensorrt:N", or "auto": a GPU if there is one
    engine   a candidate's name; "auto", or "fastest", its older name: the fastest of those within the limits
    cache    folder for what is measured and built here; None: nowhere, so it is measured each time

    Refuses an altered or missing file (BundleError), vectors outside the limits (DriftError), a device that is not
    there (EngineError). A candidate that was not asked for by name is left out with a warning instead.
    """
    manifest = read_manifest(bundle)
    if not manifest.engines:
        raise BundleError(f"{bundle} has no engine file. Export it again.")
    groups = candidates_of(manifest, device, this_machine(), (bundle / TENSORRT_FOLDER).is_dir())
    selection = Selection(bundle, manifest, threads, cache)
    if engine not in ("auto", "fastest"):
        asked = try_candidate(selection, named(engine, groups, device))
        _announce(asked, "asked for by name")
        return asked.engine
    key = key_of(manifest, threads, device, engine)
    known = {candidate.name: candidate for group in groups for candidate in group}
    remembered = known.get(recall(cache, key) or "")
    refusals: list[EngineError | DriftError] = []
    if remembered and (trial := try_or_refuse(selection, remembered, refusals)) is not None:
        _announce(trial, "measured before as the fastest here")
        return trial.engine
    for group in groups:
        tried = [candidate for candidate in group if candidate != remembered and candidate.name not in BY_NAME_ONLY]
        trial = fastest(try_or_refuse(selection, candidate, refusals) for candidate in tried)
        if trial is not None:
            remember(cache, key, trial.candidate.name)
            _announce(trial, f"fastest of {len(tried)} tried" if len(tried) > 1 else "the only one here")
            return trial.engine
        if group is not groups[-1]:
            log.warning("no GPU engine of %s works here; it runs on the CPU", manifest.name)
    raise refusals[-1] if refusals else EngineError(f"{bundle} has no engine for --engine {engine} on this machine.")


def build_tensorrt(bundle: Path, device: str = "tensorrt") -> list[str]:
    """Builds the bundle's float files for a GPU, beside them, each through the gate; -> the names of these engines.

    Takes minutes a file. Raises like open_engine where an engine cannot be built or drifts.
    """
    manifest = read_manifest(bundle)
    folder = bundle / TENSORRT_FOLDER
    require_tensorrt()
    folder.mkdir(exist_ok=True)
    (candidates,) = candidates_of(manifest, device, this_machine())
    for candidate in candidates:
        try_candidate(Selection(bundle, manifest, threads=0, cache=None), candidate).engine.close()
    return [candidate.name for candidate in candidates]


def require_tensorrt() -> None:
    """EngineError with the remedy where ONNX Runtime has no TensorRT."""
    if PROVIDERS["tensorrt"] not in this_machine().providers:
        raise EngineError(
            "TensorRT was asked for, but this ONNX Runtime comes without it. Run: pip uninstall onnxruntime && "
            "pip install '.[gpu]' tensorrt, or say --device cuda."
        )


def try_candidate(selection: Selection, candidate: Candidate) -> Trial:
    """Opens one candidate and takes it through the gate: whole file, drift report, canary. Raises what is wrong."""
    with ThreadPoolExecutor(1) as beside:
        # To read a large file for its sha256 takes as long as to open it.
        whole = beside.submit(require_unaltered_file, selection, candidate.file)
        try:
            trial = within_limits(selection, candidate)
        except VicmaeError:
            whole.result()  # that the file was altered is the better reason, and comes first
            raise
        whole.result()
    return trial


def require_unaltered_file(selection: Selection, file_name: str) -> None:
    """Compares the file's sha256 with the manifest's, once a selection. Raises BundleError."""
    if file_name not in selection.whole:
        require_unaltered(selection.bundle, file_name, selection.manifest.engines[file_name])
        selection.whole.add(file_name)


def within_limits(selection: Selection, candidate: Candidate) -> Trial:
    """Opens one candidate; drift report, canary and batches here are within limits. Raises EngineError, DriftError."""
    file = selection.manifest.engines[candidate.file]
    path = selection.bundle / candidate.file
    require_within_limits(file.drift, file.precision, f"the drift report of {path}")
    engine = _start(path, file, candidate, selection)
    engine.calibration = selection.manifest.calibration or UNCALIBRATED
    size = selection.manifest.spec.size
    pixels, expected = load_canary(selection.bundle)
    if pixels.shape[1:] != (size, size, 3) or pixels.dtype != "uint8":
        raise BundleError(
            f"The canary of {selection.bundle} holds pixels {pixels.shape} {pixels.dtype}, the manifest asks for "
            f"pictures of {size}. Copy the whole bundle again."
        )
    drift = compare(expected[:CANARY_PICTURES], engine.embed(pixels[:CANARY_PICTURES]), source="canary")
    require_within_limits(drift, candidate.precision, f"{path} on this machine")
    require_batch_invariance(engine, pixels[:CANARY_PICTURES], f"{path} on this machine")
    return Trial(candidate, engine, min(drift.min_cosine, file.drift.min_cosine))


def try_or_refuse(selection: Selection, candidate: Candidate, refusals: list[EngineError | DriftError]) -> Trial | None:
    """The same for one that nobody asked for by name: a refusal is told and kept, a damaged file still raises."""
    try:
        return try_candidate(selection, candidate)
    except (EngineError, DriftError) as error:
        log.warning("engine %s refused: %s", candidate.name, error)
        refusals.append(error)
        return None


def fastest(trials: Iterable[Trial | None], clock: Callable[[], float] = perf_counter) -> Trial | None:
    """The fastest of the candidates that passed, None if none did. Only two are open at a time."""
    best: Trial | None = None
    for trial in trials:
        if trial is not None and (best is None or is_faster(trial.engine, best.engine, clock)):
            best = trial
    return best


def is_faster(candidate: Engine, best: Engine, clock: Callable[[], float] = perf_counter) -> bool:
    """Whether the candidate needs clearly less time: the least of several turns each, taken alternately."""
    size = best.spec.size
    pixels = (np.arange(COMPARISON_PICTURES * size * size * 3) % 251).astype(np.uint8).reshape(-1, size, size, 3)
    least: dict[Engine, float] = {}
    began = clock()
    while True:
        for engine in (best, candidate):
            turn = clock()
            engine.embed(pixels)
            least[engine] = min(least.get(engine, float("inf")), clock() - turn)
        too_slow = least[candidate] > 2 * least[best]
        if too_slow or clock() - began > COMPARISON_SECONDS:
            return least[candidate] * CLEARLY_FASTER < least[best]


def key_of(manifest: Manifest, threads: int, device: str, engine: str) -> str:
    """What a measurement holds for: this machine, these versions, these files, this wish."""
    parts = [
        *(cpu_name(), os.cpu_count(), threads, device, engine),
        *(manifest.fingerprint, sorted(file.sha256 for file in manifest.engines.values())),
        *(_version(package) for package in ("vicmae", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def recall(cache: Path | None, key: str) -> str | None:
    """The name of the candidate that was fastest, if it was measured before."""
    try:
        return str(json.loads((cache / f"{key}.json").read_text())["engine"]) if cache else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(cache: Path | None, key: str, name: str) -> None:
    """Writes the name for the next start. A folder that cannot be written only costs time then."""
    if cache is None:
        return
    aside = cache / f"{key}.{os.getpid()}.partial"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({"engine": name}) + "\n")
        aside.rename(cache / f"{key}.json")
    except OSError as error:
        log.info("which engine is fastest cannot be kept in %s: %s", cache, error.strerror)


def _start(path: Path, file: EngineFile, candidate: Candidate, selection: Selection) -> Engine:
    manifest = selection.manifest
    common = (path, manifest.spec, manifest.fingerprint, manifest.name, candidate.precision)
    if candidate.runtime == "openvino":
        from .openvino_engine import OpenVinoEngine

        return OpenVinoEngine(*common, threads=selection.threads, cache=selection.cache)
    built = selection.bundle / TENSORRT_FOLDER
    cache = built if candidate.runtime == "tensorrt" and built.is_dir() else selection.cache
    return OnnxRuntimeEngine(
        *common, threads=selection.threads, runtime=candidate.runtime, device=candidate.device, cache=cache
    )


def _announce(trial: Trial, why: str) -> None:
    engine = trial.engine
    log.info(
        "%s runs on %s as %s (%s), %s; least cosine to the original %.6f",
        *(engine.name, engine.device, trial.candidate.name, engine.precision, why, trial.least_cosine),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
