"""How fast and how faithful is each engine of a bundle here? The figures of `vicmae bench engine`; prints nothing.

All engines take their turns within each round, so that whatever else the machine does meanwhile hits them alike; a
figure is the best of its rounds. Memory is measured in a process of its own for each engine.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DriftError, EngineError
from .bundle import Manifest, load_canary, read_manifest
from .drift import Drift, compare
from .engine import Engine, candidates_of, open_engine, this_machine

EAGER = "pytorch-eager"
PEAK_SIDE = 2048  # of the square matrices whose product measures the machine's peak


@dataclass(frozen=True)
class Speed:
    """One engine at one batch and number of threads. `share`: of the machine's fp32 matrix peak, None if unknown."""

    engine: str
    threads: int
    batch: int
    images_per_second: float
    ms: float
    ratio: float | None  # to PyTorch eager, None without PyTorch
    share: float | None


@dataclass(frozen=True)
class Fidelity:
    """One engine's agreement with the fp32 encoder, and the memory that a process needs more for it."""

    engine: str
    precision: str
    file_bytes: int
    memory_bytes: int
    drift: Drift


@dataclass(frozen=True)
class Report:
    """Everything measured, and on what. `refused` holds engines that did not start, each with the reason."""

    model: str
    size: int
    machine: str
    peaks: dict[int, float]  # threads -> GFLOP/s of an fp32 matrix product
    speeds: list[Speed]
    fidelity: list[Fidelity]
    refused: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    bundle: Path,
    batches: list[int],
    threads: list[int],
    seconds: float,
    device: str = "cpu",
    engines: list[str] | None = None,
    pictures: Iterable[NDArray[np.uint8]] = (),
    source: str = "canary",
    step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Every engine of the bundle (or those named) at each batch and number of threads.

    seconds   spent on each engine, batch and number of threads
    pictures  batches (n, S, S, 3) uint8 for the cosines, described by `source`; without any the canary is taken
    step      is told what is being measured
    """
    manifest = read_manifest(bundle)
    known = {r.name: r for group in candidates_of(manifest, device, this_machine()) for r in group}
    refused: dict[str, str] = {}
    speeds: list[Speed] = []
    fidelity: list[Fidelity] = []
    peaks: dict[int, float] = {}
    for count in threads:
        step(f"starting engines, {count} threads")
        opened = _open_all(bundle, engines or list(known), count, device, refused)
        eager = eager_engine(manifest, count)
        peaks[count] = matrix_peak(count)
        for batch in batches:
            step(f"batch {batch}, {count} threads")
            contest = ({EAGER: eager} if eager else {}) | opened
            speeds += _speeds(contest, batch, count, seconds, _gflop(manifest), peaks[count])
    if opened:
        step("cosines")
        drifts = _drifts(bundle, manifest, opened, list(pictures), source)
        for name, engine in opened.items():
            step(f"memory of {name}")
            used = memory_bytes(bundle, name, threads[-1], device)
            fidelity.append(
                Fidelity(name, engine.precision, manifest.engines[known[name].file].bytes, used, drifts[name])
            )
    return Report(manifest.name, manifest.spec.size, machine_in_words(), peaks, speeds, fidelity, refused)


def _open_all(bundle: Path, names: list[str], threads: int, device: str, refused: dict[str, str]) -> dict[str, Engine]:
    opened = {}
    for name in names:
        try:
            opened[name] = open_engine(bundle, threads, device, name)
        except (EngineError, DriftError) as error:
            refused[name] = str(error)
    return opened


def _speeds(
    engines: dict[str, Engine], batch: int, threads: int, seconds: float, gflop: float | None, peak: float
) -> Iterator[Speed]:
    least = least_seconds(engines, batch, seconds)
    eager = least.get(EAGER)
    for name, took in least.items():
        share = gflop * batch / took / peak if gflop else None
        yield Speed(name, threads, batch, batch / took, took * 1000, eager / took if eager else None, share)


def least_seconds(
    engines: dict[str, Engine], batch: int, seconds: float, clock: Callable[[], float] = perf_counter
) -> dict[str, float]:
    """The shortest time in which each engine embedded a batch: all in turn, until each had `seconds` on average."""
    size = next(iter(engines.values())).spec.size if engines else 1
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    for engine in engines.values():
        engine.embed(pixels)
    least = dict.fromkeys(engines, float("inf"))
    began = clock()
    while clock() - began < seconds * len(engines):
        for name, engine in engines.items():
            turn = clock()
            engine.embed(pixels)
            least[name] = min(least[name], clock() - turn)
    return least


def _drifts(
    bundle: Path, manifest: Manifest, engines: dict[str, Engine], pictures: list[NDArray[np.uint8]], source: str
) -> dict[str, Drift]:
    """Against the trained model's own vectors of the canary, or the fp32 engine's of the pictures given."""
    if pictures:
        pixels = np.concatenate(pictures)
        with open_engine(bundle) as reference:
            expected = reference.embed(pixels)
    else:
        pixels, expected = load_canary(bundle)
    return {name: compare(expected, engine.embed(pixels), source) for name, engine in engines.items()}


def eager_engine(manifest: Manifest, threads: int) -> Engine | None:
    """PyTorch eager in fp32; random weights of this architecture cost the same time. None without PyTorch."""
    try:
        import torch

        from .torch_engine import random_engine
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return random_engine(manifest)


def matrix_peak(threads: int) -> float:
    """GFLOP/s of a large fp32 matrix product here: PyTorch's with that many threads, else numpy's with all."""
    product: Callable[[], object]
    try:
        import torch

        torch.set_num_threads(threads)
        square = torch.ones(PEAK_SIDE, PEAK_SIDE)
        product = lambda: square @ square  # noqa: E731
    except ImportError:
        ones = np.ones((PEAK_SIDE, PEAK_SIDE), np.float32)
        product = lambda: ones @ ones  # noqa: E731
    best = float("inf")
    for _ in range(5):
        began = perf_counter()
        product()
        best = min(best, perf_counter() - began)
    return float(2 * PEAK_SIDE**3 / best / 1e9)


def _gflop(manifest: Manifest) -> float | None:
    """Multiplications and additions of one picture through a ViT, in 1e9; None for other networks."""
    depth, ratio = manifest.architecture.get("depth"), manifest.architecture.get("mlp_ratio")
    if depth is None or ratio is None or manifest.architecture.get("trunk") is not None:
        return None
    spec = manifest.spec
    tokens = spec.tokens + 1
    block = tokens * spec.dim**2 * (8 + 4 * ratio) + 4 * tokens**2 * spec.dim
    return float(depth * block + 6 * spec.tokens * spec.patch**2 * spec.dim) / 1e9


def memory_bytes(bundle: Path, engine: str, threads: int, device: str) -> int:
    """How much a fresh process grows from before it opens the engine until it has embedded a batch of 8."""
    words = [sys.executable, "-c", _MEMORY_SCRIPT, str(bundle), engine, str(threads), device]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise EngineError(f"{engine} fails in a process of its own: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


def grown_bytes(bundle: str, engine: str, threads: str, device: str) -> int:
    """The same for this very process, which must be fresh."""
    before = _peak_bytes()
    with open_engine(Path(bundle), int(threads), device, engine) as opened:
        size = opened.spec.size
        opened.embed(np.zeros((8, size, size, 3), np.uint8))
        return _peak_bytes() - before


def _peak_bytes() -> int:
    """The most memory that this process held so far; elsewhere than on Linux 0, which makes every growth 0."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


_MEMORY_SCRIPT = f"import sys; from {__name__} import grown_bytes; print(grown_bytes(*sys.argv[1:]))"


def machine_in_words() -> str:
    """The CPU as the system names it, with its cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores, {model}"
