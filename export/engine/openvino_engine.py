"""OpenVINO on the CPU: reads the same ONNX files. Comes with the extra `openvino`; nothing else needs it."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import EngineError
from ...media.spec import InputSpec
from .engine import Engine
from .onnxruntime_engine import MAX_BATCH_CPU


class OpenVinoEngine(Engine):
    """One compiled model with a pool of requests: thread-safe, and a run releases the interpreter.

    precision "bf16" computes an fp32 file in bfloat16, and is refused where the CPU has none.
    cache: folder in which OpenVINO keeps the compiled model, so that the next start is quick; None: nowhere.
    """

    def __init__(
        self,
        path: Path,
        spec: InputSpec,
        fingerprint: str,
        name: str,
        precision: str = "fp32",
        threads: int = 0,
        max_batch: int = MAX_BATCH_CPU,
        cache: Path | None = None,
    ) -> None:
        import openvino

        super().__init__(spec, fingerprint, name, max_batch, "openvino", "cpu", precision)
        if precision == "bf16" and not cpu_has_bfloat16():
            raise EngineError("This CPU does not compute in bfloat16. Choose another --engine, or leave it to auto.")
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1,
            # Left alone, OpenVINO takes bf16 or fp16 wherever the CPU has it, whatever the file says.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        if cache is not None:
            options["CACHE_DIR"] = str(cache)
        try:
            self._model = core().compile_model(path, "CPU", options)
        except Exception as error:  # OpenVINO raises plain RuntimeErrors, and others where a file is damaged
            raise EngineError(f"{path} does not start in OpenVINO {openvino.__version__}: {error}") from error
        self._idle = [self._model.create_infer_request()]
        self.gives_patches = len(self._model.outputs) > 1

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        (vectors,) = self._infer(pixels, outputs=1)
        return vectors

    def _run_with_patches(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        vectors, patches = self._infer(pixels, outputs=2)
        return vectors, patches

    def _infer(self, pixels: NDArray[np.uint8], outputs: int) -> list[NDArray[np.float32]]:
        """The first `outputs` of the graph, copied: the request's own memory is used again by the next run."""
        try:
            request = self._idle.pop()
        except IndexError:  # all are at work in other threads
            request = self._model.create_infer_request()
        request.infer({0: np.ascontiguousarray(pixels)}, share_inputs=True)
        results = [np.array(request.get_output_tensor(i).data, np.float32) for i in range(outputs)]
        self._idle.append(request)
        return results


@cache
def core() -> Any:
    """OpenVINO's Core, one for the whole life of the process; thread-safe.

    Its CPU plugin gives the loading thread a signal stack of its own, and unmaps it when the last Core goes. Where that
    happens in another thread, the first thread keeps a stack that is no more, and its next signal kills the process.
    """
    import openvino

    return openvino.Core()


def cpu_has_bfloat16() -> bool:
    """Whether OpenVINO can compute in bfloat16 here (AVX512-BF16 or AMX)."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
