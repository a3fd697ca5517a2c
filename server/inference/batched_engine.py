"""The engine behind the batcher, as an engine: what uploads and background jobs embed with.

Each call queues at most one small batch at a time, so that a request that comes in the middle of a long upload waits
for one such batch and not for the upload.
"""

import numpy as np
from numpy.typing import NDArray

from ...export.engine import Engine
from .batcher import Batcher

# A search waits for one such batch. Small ones cost little on a CPU: 2.9 ms of processor time a picture in batches of
# 8, 2.8 ms in batches of 32 (vicmae-tiny in fp32, two cores, median of 15 rounds in turns).
MAX_BATCH_CPU = 8


class BatchedEngine(Engine):
    """The batcher's engine; every batch takes its turn in the batcher's queue. Closing it is its owner's affair."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher, e = batcher, batcher.engine
        max_batch = min(MAX_BATCH_CPU, e.max_batch) if e.device == "cpu" else e.max_batch
        super().__init__(e.spec, e.fingerprint, e.name, max_batch, e.runtime, e.device, e.precision)
        self.calibration, self.gives_patches = e.calibration, e.gives_patches

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raises Overloaded once the batcher is closed."""
        return self._batcher.submit(pixels).result().vectors

    def _run_with_patches(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with self._batcher.exclusive() as engine:
            return engine.embed_with_patches(pixels)
