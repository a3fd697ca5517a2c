"""Which engine runs: every road a bundle could take on this machine, the gate each must pass, the fastest of the rest.

A road is a runtime with one file of the bundle, named like "openvino-int8-static". Each is tried on the bundle's canary
pixels before it may run. What was measured once is remembered in a folder, if there is one that can be written.
"""

import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache as once
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np

from ..errors import BundleError, DriftError, EngineError, InvalidRequest, VicmaeError
from .batch_invariance import require_batch_invariance
from .bundle import EngineFile, Manifest, load_canary, read_manifest, require_unaltered
from .drift import compare, require_within_limits
from .engine import Engine
from .onnxruntime_engine import PROVIDERS, OnnxRuntimeEngine
from .tensorrt_engine import FOLDER, TensorRtEngine, has_tensorrt, is_built

CANARY_PICTURES = 4  # of the canary's at a start, so that a large model starts soon; a running server tries all in turn
FAITHFUL = 0.999  # the least cosine that "auto" takes; "fastest" takes whatever passes its own precision's limits
CLEARLY_FASTER = 1.05  # a later road replaces an earlier one only by more than the noise of measuring
DUEL_SECONDS = 0.5
DUEL_PICTURES = 4
# Tried by name only: slower than the same runtime's other files wherever measured (docs/engines.md).
BY_NAME_ONLY = {"onnxruntime-fp16", "openvino-fp16", "openvino-int8"}

log = logging.getLogger("vicmae.export")


@dataclass(frozen=True)
class Machine:
    """What is installed here. `bf16`: the CPU computes in bfloat16."""

    providers: frozenset[str]
    openvino: bool = False
    bf16: bool = False
    tensorrt: bool = False


@dataclass(frozen=True)
class Road:
    """One file of a bundle in one runtime on one device."""

    runtime: str
    file: str
    precision: str
    device: str

    @property
    def name(self) -> str:
        variant = self.file.removeprefix("model").removesuffix(".onnx").strip(".")
        return f"{self.runtime}-{variant or self.precision}"


@dataclass(frozen=True)
class Start:
    """An engine that passed the gate. `least_cosine`: of its drift report and of its canary here, the lower one."""

    road: Road
    engine: Engine
    least_cosine: float


@dataclass(frozen=True)
class Trial:
    """What all roads of one bundle share while they are tried."""

    bundle: Path
    manifest: Manifest
    threads: int
    cache: Path | None
    build: bool = False  # whether TensorRT may take its minutes
    whole: set[str] = field(default_factory=set)  # files whose sha256 was compared, so that none is read twice


def open_engine(
    bundle: Path, threads: int = 0, device: str = "cpu", engine: str = "onnxruntime-fp32", cache: Path | None = None
) -> Engine:
    """Starts an engine of the bundle that gives the trained model's vectors on this machine.

    threads  of the CPU, 0: every core
    device   "cpu", "cuda", "cuda:N", "tensorrt", "tensorrt:N", or "auto": a GPU if there is one
    engine   a road's name; "auto": the fastest with cosine >= 0.999; "fastest": the fastest within the limits
    cache    folder for what is measured and built here; None: nowhere, so it is measured each time

    Refuses an altered or missing file (BundleError), vectors outside the limits (DriftError), a device that is not
    there (EngineError). A road that was not asked for by name is left out with a warning instead.
    """
    manifest = read_manifest(bundle)
    if not manifest.engines:
        raise BundleError(f"{bundle} has no engine file. Export it again.")
    groups = roads_of(manifest, device, this_machine(), _tensorrt_folders(bundle, cache))
    trial = Trial(bundle, manifest, threads, cache, build=device.startswith("tensorrt"))
    if engine not in ("auto", "fastest"):
        asked = start_road(trial, named(engine, groups, device))
        _announce(asked, "asked for by name")
        return asked.engine
    key = key_of(manifest, threads, device, engine)
    known = {road.name: road for group in groups for road in group}
    remembered = known.get(recall(cache, key) or "")
    refusals: list[EngineError | DriftError] = []
    if remembered and (start := start_road_or_none(trial, remembered, refusals)) is not None:
        _announce(start, "measured before as the fastest here")
        return start.engine
    least = FAITHFUL if engine == "auto" else 0.0
    for group in groups:
        tried = [road for road in group if road != remembered and road.name not in BY_NAME_ONLY]
        start = fastest((start_road_or_none(trial, road, refusals) for road in tried), least)
        if start is not None:
            remember(cache, key, start.road.name)
            _announce(start, f"fastest of {len(tried)} tried" if len(tried) > 1 else "the only one here")
            return start.engine
        if group is not groups[-1]:
            log.warning("no GPU engine of %s works here; it runs on the CPU", manifest.name)
    raise refusals[-1] if refusals else EngineError(f"{bundle} has no engine for --engine {engine} on this machine.")


def build_tensorrt(bundle: Path, device: str = "tensorrt") -> list[str]:
    """Builds the bundle's float files for a GPU, beside them, each through the gate; -> the names of these engines.

    Takes minutes a file. Raises like open_engine where an engine cannot be built or drifts.
    """
    manifest = read_manifest(bundle)
    trial = Trial(bundle, manifest, threads=0, cache=None, build=True)
    roads = [road for group in roads_of(manifest, device, this_machine(), []) for road in group]
    own = [road for road in roads if road.runtime == "tensorrt"]
    for road in own:
        start_road(trial, road).engine.close()
    return [road.name for road in own]


def roads_of(manifest: Manifest, device: str, machine: Machine, built: list[Path]) -> list[list[Road]]:
    """Every road on the device, the plainest first; groups in the order in which "auto" prefers them."""
    match = re.fullmatch(r"(auto|cpu)|(cuda|tensorrt)(?::(\d+))?", device)
    if match is None:
        raise InvalidRequest(f"--device is {device!r}; expected auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N.")
    files = manifest.engines
    on_cpu = [Road("onnxruntime", name, file.precision, "cpu") for name, file in files.items()]
    if machine.openvino:
        on_cpu += [Road("openvino", name, file.precision, "cpu") for name, file in files.items()]
        if machine.bf16:
            on_cpu += [Road("openvino", n, "bf16", "cpu") for n, file in files.items() if file.precision == "fp32"]
    if device == "cpu":
        return [on_cpu]
    place = f"cuda:{match[3] or 0}"
    floats = {name: file for name, file in files.items() if file.precision in ("fp16", "fp32")}
    floats = dict(sorted(floats.items(), key=lambda pair: pair[1].precision))  # fp16 first
    cuda = [Road("cuda", name, file.precision, place) for name, file in floats.items()]
    provider = [Road("tensorrt-provider", name, file.precision, place) for name, file in floats.items()]
    own = [Road("tensorrt", name, file.precision, place) for name, file in floats.items()]
    if device == "auto":
        ready = [road for road in own if machine.tensorrt and is_built(files[road.file].sha256, built)]
        on_gpu = [*cuda, *ready] if PROVIDERS["cuda"] in machine.providers else ready
        return [on_gpu, on_cpu] if on_gpu else [on_cpu]
    if match[2] == "cuda":
        return [cuda]
    if machine.tensorrt or PROVIDERS["tensorrt-provider"] not in machine.providers:
        return [[*own, *provider]]
    return [[*provider, *own]]


def named(engine: str, groups: list[list[Road]], device: str) -> Road:
    """The road of that name; InvalidRequest lists those there are."""
    known = {road.name: road for group in groups for road in group}
    if engine not in known:
        raise InvalidRequest(
            f"--engine is {engine!r}; this bundle on --device {device} has {', '.join(known)}; or say auto or fastest."
        )
    return known[engine]


def start_road(trial: Trial, road: Road) -> Start:
    """Opens one road and takes it through the gate: whole file, drift report, canary. Raises what is wrong."""
    with ThreadPoolExecutor(1) as beside:
        # To read a large file for its sha256 takes as long as to open it.
        whole = beside.submit(require_whole, trial, road.file)
        try:
            start = within_limits(trial, road)
        except VicmaeError:
            whole.result()  # that the file was altered is the better reason, and comes first
            raise
        whole.result()
    return start


def require_whole(trial: Trial, file_name: str) -> None:
    """Compares the file's sha256 with the manifest's, once a trial. Raises BundleError."""
    if file_name not in trial.whole:
        require_unaltered(trial.bundle, file_name, trial.manifest.engines[file_name])
        trial.whole.add(file_name)


def within_limits(trial: Trial, road: Road) -> Start:
    """Opens one road; its drift report, canary and batches here are within limits. Raises EngineError, DriftError."""
    file = trial.manifest.engines[road.file]
    path = trial.bundle / road.file
    require_within_limits(file.drift, file.precision, f"the drift report of {path}")
    engine = _start(path, file, road, trial)
    size = trial.manifest.spec.size
    pixels, expected = load_canary(trial.bundle)
    if pixels.shape[1:] != (size, size, 3) or pixels.dtype != "uint8":
        raise BundleError(
            f"The canary of {trial.bundle} holds pixels {pixels.shape} {pixels.dtype}, the manifest asks for pictures "
            f"of {size}. Copy the whole bundle again."
        )
    drift = compare(expected[:CANARY_PICTURES], engine.embed(pixels[:CANARY_PICTURES]), source="canary")
    require_within_limits(drift, road.precision, f"{path} on this machine")
    require_batch_invariance(engine, pixels[:CANARY_PICTURES], f"{path} on this machine")
    return Start(road, engine, min(drift.min_cosine, file.drift.min_cosine))


def start_road_or_none(trial: Trial, road: Road, refusals: list[EngineError | DriftError]) -> Start | None:
    """start_road for a road that nobody asked for by name: a refusal is told and kept, a damaged file still raises."""
    try:
        return start_road(trial, road)
    except (EngineError, DriftError) as error:
        log.warning("engine %s refused: %s", road.name, error)
        refusals.append(error)
        return None


def fastest(
    starts: Iterable[Start | None], least_cosine: float, clock: Callable[[], float] = perf_counter
) -> Start | None:
    """The fastest of those at least that faithful; of all, if none is. Only two are open at a time."""
    best: Start | None = None
    second_choice: Start | None = None
    for start in starts:
        if start is None:
            continue
        if start.least_cosine < least_cosine:
            log.info("engine %s has cosine %.6f: not for --engine auto", start.road.name, start.least_cosine)
            second_choice = second_choice or start
        elif best is None or is_faster(start.engine, best.engine, clock):
            best = start
    return best or second_choice


def is_faster(challenger: Engine, holder: Engine, clock: Callable[[], float] = perf_counter) -> bool:
    """Whether the challenger needs clearly less time: the least of several turns each, taken alternately."""
    size = holder.spec.size
    pixels = (np.arange(DUEL_PICTURES * size * size * 3) % 251).astype(np.uint8).reshape(-1, size, size, 3)
    least: dict[Engine, float] = {}
    began = clock()
    while True:
        for engine in (holder, challenger):
            turn = clock()
            engine.embed(pixels)
            least[engine] = min(least.get(engine, float("inf")), clock() - turn)
        hopeless = least[challenger] > 2 * least[holder]
        if hopeless or clock() - began > DUEL_SECONDS:
            return least[challenger] * CLEARLY_FASTER < least[holder]


def key_of(manifest: Manifest, threads: int, device: str, engine: str) -> str:
    """What a measurement holds for: this machine, these versions, these files, this wish."""
    parts = [
        *(_cpu(), os.cpu_count(), threads, device, engine),
        *(manifest.fingerprint, sorted(file.sha256 for file in manifest.engines.values())),
        *(_version(package) for package in ("vicmae", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def recall(cache: Path | None, key: str) -> str | None:
    """The name of the road that was fastest, if it was measured before."""
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


@once
def this_machine() -> Machine:
    """What is installed here; looked up once."""
    import onnxruntime

    openvino = find_spec("openvino") is not None
    # By the CPU's own words: asking OpenVINO means loading it, at every start. Its engine asks once more.
    bf16 = openvino and not {"avx512_bf16", "amx_bf16"}.isdisjoint(_cpu().split())
    return Machine(frozenset(onnxruntime.get_available_providers()), openvino, bf16, has_tensorrt())


def _start(path: Path, file: EngineFile, road: Road, trial: Trial) -> Engine:
    manifest = trial.manifest
    common = (path, manifest.spec, manifest.fingerprint, manifest.name, road.precision)
    if road.runtime == "openvino":
        from .openvino_engine import OpenVinoEngine

        return OpenVinoEngine(*common, threads=trial.threads, cache=trial.cache)
    if road.runtime == "tensorrt":
        folders = _tensorrt_folders(trial.bundle, trial.cache)
        return TensorRtEngine(*common, file.sha256, road.device, folders, trial.build)
    return OnnxRuntimeEngine(
        *common, threads=trial.threads, runtime=road.runtime, device=road.device, cache=trial.cache
    )


def _tensorrt_folders(bundle: Path, cache: Path | None) -> list[Path]:
    return [bundle / FOLDER] + ([cache / FOLDER] if cache else [])


def _announce(start: Start, why: str) -> None:
    engine = start.engine
    log.info(
        "%s runs on %s as %s (%s), %s; least cosine to the original %.6f",
        *(engine.name, engine.device, start.road.name, engine.precision, why, start.least_cosine),
    )


def _cpu() -> str:
    """The CPU's model and abilities, where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return "|".join(line for line in lines[:40] if line.startswith(("model name", "flags")))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
