"""ONNX Runtime: the default engine. A bundle's ONNX file on the CPU, on CUDA, or through its TensorRT provider.

It never computes elsewhere than asked: ONNX Runtime itself falls back to the CPU with a warning, here that is an error.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import EngineError
from ...media.spec import InputSpec
from .engine import Engine
from .onnx_errors import why_it_does_not_start

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
MAX_BATCH_CPU = 32
MAX_BATCH_GPU = 256


class OnnxRuntimeEngine(Engine):
    """One ONNX Runtime session. Its runs are thread-safe and release the interpreter.

    runtime  a key of PROVIDERS
    device   "cpu", or "cuda:N" for the other two
    cache    folder where the TensorRT provider keeps what it builds, None: nowhere
    """

    def __init__(
        self,
        path: Path,
        spec: InputSpec,
        fingerprint: str,
        name: str,
        precision: str = "fp32",
        threads: int = 0,
        max_batch: int | None = None,
        runtime: str = "onnxruntime",
        device: str = "cpu",
        cache: Path | None = None,
    ) -> None:
        import onnxruntime

        max_batch = max_batch or (MAX_BATCH_CPU if device == "cpu" else MAX_BATCH_GPU)
        super().__init__(spec, fingerprint, name, max_batch, runtime, device, precision)
        provider = PROVIDERS[runtime]
        if provider not in onnxruntime.get_available_providers():
            raise EngineError(
                f"{device} was asked for, but this ONNX Runtime {onnxruntime.__version__} has no {provider}. "
                "Run: pip uninstall onnxruntime && pip install '.[gpu]', or say --device cpu."
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.log_severity_level = 3
        # A waiting thread sleeps: spinning took as much processor time again as computing, from those who decode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            if device != "cpu":
                onnxruntime.preload_dlls()
            self._session = onnxruntime.InferenceSession(path, options, providers=self._providers(cache))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise EngineError(why_it_does_not_start(path, error)) from error
        got = self._session.get_providers()[0]
        if got != provider:
            raise EngineError(
                f"{device} was asked for, but ONNX Runtime started on {got}: the driver or a CUDA library is missing. "
                "Mend that (its log says what), or say --device cpu."
            )
        self._session.disable_fallback()
        self._vectors_only = onnxruntime.RunOptions()
        self._vectors_only.only_execute_path_to_fetches = True  # patch tokens cost nothing where nobody asks for them
        self._input = self._session.get_inputs()[0].name
        self._output, *more = [output.name for output in self._session.get_outputs()]
        self._patches = more[0] if more else None
        self.gives_patches = self._patches is not None

    def _providers(self, cache: Path | None) -> list[tuple[str, dict[str, Any]]]:
        """The one that computes first; behind it only what may take the shape arithmetic it leaves."""
        if self.device == "cpu":
            return [(PROVIDERS["onnxruntime"], {})]
        number = int(self.device.removeprefix("cuda:"))
        behind: list[tuple[str, dict[str, Any]]] = [(PROVIDERS["cuda"], {"device_id": number})]
        if self.runtime != "tensorrt":
            return behind
        return [(PROVIDERS["tensorrt"], self._tensorrt_options(number, cache)), *behind]

    def _tensorrt_options(self, number: int, cache: Path | None) -> dict[str, Any]:
        """https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html"""
        side = self.spec.size

        def shape(batch: int) -> str:
            return f"pixels:{batch}x{side}x{side}x3"

        options = {
            "device_id": number,
            "trt_fp16_enable": self.precision == "fp16",
            "trt_layer_norm_fp32_fallback": True,
            "trt_profile_min_shapes": shape(1),
            "trt_profile_opt_shapes": shape(min(32, self.max_batch)),
            "trt_profile_max_shapes": shape(self.max_batch),
        }
        if cache is not None:
            options |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache)}
            options |= {"trt_timing_cache_enable": True}
        return options

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        (vectors,) = self._session.run([self._output], {self._input: pixels}, self._vectors_only)
        return np.asarray(vectors, np.float32)

    def _run_with_patches(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        vectors, patches = self._session.run([self._output, self._patches], {self._input: pixels})
        return np.asarray(vectors, np.float32), np.asarray(patches, np.float32)
