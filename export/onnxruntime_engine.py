"""The default engine: a bundle's model.onnx on the CPU through ONNX Runtime."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..media.spec import InputSpec
from .engine import Engine
from .onnx_errors import why_it_does_not_start


class OnnxRuntimeEngine(Engine):
    """One ONNX Runtime session. Its runs are thread-safe and release the interpreter."""

    def __init__(
        self,
        path: Path,
        spec: InputSpec,
        fingerprint: str,
        name: str,
        precision: str = "fp32",
        threads: int = 0,
        max_batch: int = 32,
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise EngineError(why_it_does_not_start(path, error)) from error
        self._input = self._session.get_inputs()[0].name
        self.spec = spec
        self.fingerprint = fingerprint
        self.name = name
        self.max_batch = max_batch
        self.device = "cpu"
        self.precision = precision

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        (vectors,) = self._session.run(["vectors"], {self._input: pixels})
        return np.asarray(vectors, np.float32)
