"""TensorRT: a bundle's ONNX file built for one GPU, and run there. Needs the packages `tensorrt` and `cuda-python`.

A network is strongly typed: each layer computes in the type that the ONNX file says, so LayerNorm and softmax stay in
fp32 in the fp16 file, and no flag can lower them. (TensorRT 11 knows no other way; 10 is told.)

Built files belong to one GPU, one TensorRT and one profile; their name holds all three. A built file is code: only take
it from where you would take a program.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/index.html
"""

import hashlib
import logging
import re
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import EngineError
from ...media.spec import InputSpec
from .engine import Engine
from .onnxruntime_engine import MAX_BATCH_GPU

FOLDER = "tensorrt"  # beside the bundle's files, or in the cache where the bundle cannot be written

log = logging.getLogger("vicmae.export")


def has_tensorrt() -> bool:
    """Whether both packages are installed; says nothing of a GPU."""
    return find_spec("tensorrt") is not None and find_spec("cuda") is not None


def require_tensorrt() -> None:
    """EngineError with the remedy where the packages are missing."""
    if not has_tensorrt():
        raise EngineError(
            "TensorRT was asked for, but its packages are not installed. Run: pip install tensorrt cuda-python, "
            "or say --device cuda."
        )


def profile_of(spec: InputSpec, max_batch: int) -> tuple[tuple[int, ...], ...]:
    """The least, the favoured and the greatest shape of pixels that a built engine takes."""
    return tuple((batch, spec.size, spec.size, 3) for batch in (1, min(32, max_batch), max_batch))


def built_name(model_sha256: str, gpu: str, tensorrt_version: str, profile: tuple[tuple[int, ...], ...]) -> str:
    """The file name of an engine: another model, GPU, TensorRT or profile gives another name."""
    place = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    shapes = hashlib.sha256(repr(profile).encode()).hexdigest()[:8]
    return f"{model_sha256[:16]}-{place}-{tensorrt_version}-{shapes}.engine"


def is_built(model_sha256: str, folders: list[Path]) -> bool:
    """Whether some engine of this ONNX file lies there, for whatever GPU."""
    return any(next(folder.glob(f"{model_sha256[:16]}-*.engine"), None) for folder in folders)


class TensorRtEngine(Engine):
    """One execution context with its buffers on the GPU; a lock lets one batch in at a time.

    folders  where built engines lie or are put, first the one that is preferred
    build    build where none lies there yet (minutes); EngineError instead where False
    """

    def __init__(
        self,
        path: Path,
        spec: InputSpec,
        fingerprint: str,
        name: str,
        precision: str,
        model_sha256: str,
        device: str,
        folders: list[Path],
        build: bool = True,
        max_batch: int = MAX_BATCH_GPU,
    ) -> None:
        require_tensorrt()
        import tensorrt
        from cuda.bindings import runtime

        self.spec = spec
        self.fingerprint = fingerprint
        self.name = name
        self.max_batch = max_batch
        self.runtime = "tensorrt"
        self.device = device
        self.precision = precision
        self._cuda = runtime
        self._number = int(device.removeprefix("cuda:"))
        self._lock = threading.Lock()
        self._buffers: dict[str, int] = {}
        gpu = self._select_gpu()
        profile = profile_of(spec, max_batch)
        file_name = built_name(model_sha256, gpu, tensorrt.__version__, profile)
        built = next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)
        if built is not None:
            plan = built.read_bytes()
        elif build:
            log.warning("building %s for %s with TensorRT %s: minutes, once", path.name, gpu, tensorrt.__version__)
            plan = build_plan(path, profile)
            _keep(plan, file_name, folders)
        else:
            raise EngineError(f"{path} is not built for {gpu}. Run: vicmae export --tensorrt.")
        logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self._runtime = tensorrt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(f"TensorRT cannot read {built or file_name}. Delete it; it will be built again.")
        self._context = self._engine.create_execution_context()
        self._stream = self._call(runtime.cudaStreamCreate())
        self._set_buffers(tensorrt)

    def _select_gpu(self) -> str:
        """Makes the GPU this thread's own; -> its name."""
        count = self._call(self._cuda.cudaGetDeviceCount(), "no GPU can be reached")
        if self._number >= count:
            raise EngineError(f"{self.device} was asked for, but there are {count} GPUs, counted from 0.")
        self._call(self._cuda.cudaSetDevice(self._number))
        properties = self._call(self._cuda.cudaGetDeviceProperties(self._number))
        return bytes(properties.name).split(b"\0")[0].decode()

    def _set_buffers(self, tensorrt: Any) -> None:
        """Memory on the GPU for every input and output, at the greatest batch."""
        for index in range(self._engine.num_io_tensors):
            tensor = self._engine.get_tensor_name(index)
            shape = (self.max_batch, *tuple(self._engine.get_tensor_shape(tensor))[1:])
            kind = np.dtype(tensorrt.nptype(self._engine.get_tensor_dtype(tensor)))
            self._buffers[tensor] = self._call(self._cuda.cudaMalloc(int(np.prod(shape)) * kind.itemsize))
            self._context.set_tensor_address(tensor, self._buffers[tensor])
            if self._engine.get_tensor_mode(tensor) == tensorrt.TensorIOMode.INPUT:
                self._input = tensor
            elif tensor == "vectors":
                self._kind = kind

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(pixels)
        vectors = np.empty((len(pixels), self.spec.dim), self._kind)
        copy = self._cuda.cudaMemcpyKind
        with self._lock:
            self._call(self._cuda.cudaSetDevice(self._number))
            self._context.set_input_shape(self._input, pixels.shape)
            source, target = self._buffers[self._input], self._buffers["vectors"]
            to_gpu, from_gpu = copy.cudaMemcpyHostToDevice, copy.cudaMemcpyDeviceToHost
            self._call(self._cuda.cudaMemcpyAsync(source, pixels.ctypes.data, pixels.nbytes, to_gpu, self._stream))
            if not self._context.execute_async_v3(stream_handle=int(self._stream)):
                raise EngineError(f"TensorRT failed on {len(pixels)} pictures; its log says why.")
            self._call(self._cuda.cudaMemcpyAsync(vectors.ctypes.data, target, vectors.nbytes, from_gpu, self._stream))
            self._call(self._cuda.cudaStreamSynchronize(self._stream))
        return vectors.astype(np.float32, copy=False)

    def _call(self, answer: tuple[Any, ...], told: str = "CUDA failed") -> Any:
        """The value in what a call of CUDA answered, (error, value...); EngineError where it failed."""
        error, *values = answer
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise EngineError(f"{self.device}: {told} ({error.name}). Check the driver, or say --device cpu.")
        return values[0] if values else None

    def close(self) -> None:
        while self._buffers:
            self._call(self._cuda.cudaFree(self._buffers.popitem()[1]))


def build_plan(path: Path, profile: tuple[tuple[int, ...], ...]) -> bytes:
    """ONNX file -> TensorRT engine for the GPU of this thread. Minutes."""
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        why = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {tensorrt.__version__} cannot read {path}: {why}. Say --device cuda.")
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    shapes.set_shape(network.get_input(0).name, *profile)
    config.add_optimization_profile(shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {tensorrt.__version__} cannot build {path}; its log says why. Say --device cuda.")
    return bytes(plan)


def _keep(plan: bytes, file_name: str, folders: list[Path]) -> None:
    """Puts the engine into the first folder that can be written; where none can, the next start builds again."""
    for folder in folders:
        aside = folder / (file_name + ".partial")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(plan)
            aside.rename(folder / file_name)
        except OSError:
            continue
        return
    log.warning("no folder takes the built engine %s, so the next start builds it again", file_name)
