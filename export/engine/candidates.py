"""What could run a bundle here: each runtime with each file of it, in the order in which they are tried."""

import platform
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ...errors import InvalidRequest
from ..bundle import Manifest
from .onnxruntime_engine import PROVIDERS


@dataclass(frozen=True)
class Machine:
    """What is installed here. `bf16`: the CPU computes in bfloat16."""

    providers: frozenset[str]
    openvino: bool = False
    bf16: bool = False


@dataclass(frozen=True)
class Candidate:
    """One file of a bundle in one runtime on one device."""

    runtime: str
    file: str
    precision: str
    device: str

    @property
    def name(self) -> str:
        variant = self.file.removeprefix("model").removesuffix(".onnx").strip(".")
        return f"{self.runtime}-{variant or self.precision}"


def candidates_of(manifest: Manifest, device: str, machine: Machine, built: bool = False) -> list[list[Candidate]]:
    """Every candidate on the device, the plainest first; groups in the order in which "auto" prefers them.

    built: whether TensorRT engines lie beside the bundle's files; "auto" does not wait the minutes of building them.
    """
    match = re.fullmatch(r"(auto|cpu)|(cuda|tensorrt)(?::(\d+))?", device)
    if match is None:
        raise InvalidRequest(f"--device is {device!r}; expected auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N.")
    files = manifest.engines
    on_cpu = [Candidate("onnxruntime", name, file.precision, "cpu") for name, file in files.items()]
    if machine.openvino:
        on_cpu += [Candidate("openvino", name, file.precision, "cpu") for name, file in files.items()]
        if machine.bf16:
            on_cpu += [Candidate("openvino", n, "bf16", "cpu") for n, file in files.items() if file.precision == "fp32"]
    if device == "cpu":
        return [on_cpu]
    place = f"cuda:{match[3] or 0}"
    floats = {name: file for name, file in files.items() if file.precision in ("fp16", "fp32")}
    floats = dict(sorted(floats.items(), key=lambda pair: pair[1].precision))  # fp16 first
    cuda = [Candidate("cuda", name, file.precision, place) for name, file in floats.items()]
    tensorrt = [Candidate("tensorrt", name, file.precision, place) for name, file in floats.items()]
    if match[2]:
        return [cuda if match[2] == "cuda" else tensorrt]
    on_gpu = cuda if PROVIDERS["cuda"] in machine.providers else []
    if built and PROVIDERS["tensorrt"] in machine.providers:
        on_gpu = [*on_gpu, *tensorrt]
    return [on_gpu, on_cpu] if on_gpu else [on_cpu]


def named(engine: str, groups: list[list[Candidate]], device: str) -> Candidate:
    """The candidate of that name; InvalidRequest lists those there are."""
    known = {candidate.name: candidate for group in groups for candidate in group}
    if engine not in known:
        raise InvalidRequest(
            f"--engine is {engine!r}; this bundle on --device {device} has {', '.join(known)}; or say auto or fastest."
        )
    return known[engine]


@cache
def this_machine() -> Machine:
    """What is installed here; looked up once."""
    import onnxruntime

    openvino = find_spec("openvino") is not None
    # By the CPU's own words: asking OpenVINO means loading it, at every start. Its engine asks once more.
    bf16 = openvino and not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_name().split())
    return Machine(frozenset(onnxruntime.get_available_providers()), openvino, bf16)


def cpu_name() -> str:
    """The CPU's model and abilities, where the system tells them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return "|".join(line for line in lines[:40] if line.startswith(("model name", "flags")))
