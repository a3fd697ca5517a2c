"""Running a bundle: what an engine is, the runtimes, and the choice of one on this machine. Imports no torch."""

from .batch_invariance import require_batch_invariance
from .candidates import candidates_of, this_machine
from .engine import Engine, FakeEngine
from .onnx_errors import why_it_does_not_start
from .onnxruntime_engine import OnnxRuntimeEngine
from .selection import build_tensorrt, open_engine, require_tensorrt
