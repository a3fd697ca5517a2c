"""The seam between vectors and whatever computes them: a small base, and its fake.

An engine knows pixels and vectors. It knows nothing of files, formats, collections or HTTP.
"""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidRequest
from ...media.spec import InputSpec
from ..calibration import UNCALIBRATED, Calibration, Curve


class Engine(ABC):
    """Runs one bundle's encoder. An engine states its own limits; callers do not guess them."""

    spec: InputSpec
    fingerprint: str  # what makes vectors comparable: same weights, same InputSpec, same pooling
    name: str  # the model's name, e.g. "vicmae-tiny"
    max_batch: int
    runtime: str  # what computes: "onnxruntime", "openvino", "tensorrt", "pytorch"
    device: str  # "cpu", "cuda:0"
    precision: str  # "fp32", "bf16", "fp16", "int8"
    gives_patches: bool = False  # whether embed_with_patches works
    calibration: Calibration = UNCALIBRATED  # of the bundle

    def __init__(
        self, spec: InputSpec, fingerprint: str, name: str, max_batch: int, runtime: str, device: str, precision: str
    ) -> None:
        self.spec, self.fingerprint, self.name, self.max_batch = spec, fingerprint, name, max_batch
        self.runtime, self.device, self.precision = runtime, device, precision

    @abstractmethod
    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """pixels (n, S, S, 3) uint8, 1 <= n <= max_batch -> vectors (n, D) float32, unit length."""

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """pixels (N, S, S, 3) uint8 -> vectors (N, D) float32, unit length. Any N, also 0; thread-safe."""
        self._check(pixels)
        parts = [self._run(pixels[i : i + self.max_batch]) for i in range(0, len(pixels), self.max_batch)]
        return np.concatenate(parts) if parts else np.zeros((0, self.spec.dim), np.float32)

    def embed_with_patches(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """pixels (N, S, S, 3) uint8, N >= 1 -> vectors (N, D) float32 as of embed, and patch tokens (N, L, D) float32.

        The tokens are the ones of which a vector is the mean, in raster order, of any length. Raises InvalidRequest
        when the bundle's graph does not give them.
        """
        self._check(pixels)
        if not self.gives_patches:
            raise InvalidRequest(
                f"The model {self.name!r} as it runs here ({self.runtime}, {self.precision}) gives no patch tokens, "
                "which explanations are made of. Export it again with `vicmae export --patch-tokens`, and run it with "
                "--engine onnxruntime-fp32."
            )
        starts = range(0, len(pixels), self.max_batch)
        vectors, patches = zip(*(self._run_with_patches(pixels[i : i + self.max_batch]) for i in starts), strict=True)
        return np.concatenate(vectors), np.concatenate(patches)

    def _run_with_patches(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As _run, with the patch tokens (n, L, D) float32; only asked of an engine that gives_patches."""
        raise NotImplementedError

    def _check(self, pixels: NDArray[np.uint8]) -> None:
        size = self.spec.size
        if pixels.ndim != 4 or pixels.shape[1:] != (size, size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be (N, {size}, {size}, 3) uint8, got {pixels.shape} {pixels.dtype}")

    def calibration_of(self, fingerprint: str) -> Calibration:
        """What was fitted for vectors of this fingerprint; nothing of another model's is borrowed."""
        return self.calibration if fingerprint == self.fingerprint else UNCALIBRATED

    def close(self) -> None:  # noqa: B027 - most engines have nothing to free
        """Frees what the engine holds. Calling it twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


FAKE_CALIBRATION = Calibration(
    max_background=0.94,
    same_shot=0.6,
    same_frame=0.85,
    same_footage=0.7,
    clearly_less=0.25,
    about_as_alike=0.05,
    varied=0.1,
    rerank_score=0.9,
    rerank_tie=0.02,
    folding_cosine=0.9995,
    frame=Curve(-4.75, 1.41, 0.005),
    stretch=Curve(-5.89, 11.50),
)


class FakeEngine(Engine):
    """Vectors without a model, for tests: the mean colours of an 8x8 grid, centred and normalised.

    Similar pictures get similar vectors, so search and alignment can be tested for what they find.
    """

    def __init__(
        self,
        size: int = 32,
        max_batch: int = 16,
        fingerprint: str = "fake-0",
        calibration: Calibration = FAKE_CALIBRATION,
    ) -> None:
        spec = InputSpec(size=size, patch=size // 8, dim=8 * 8 * 3)
        super().__init__(spec, fingerprint, "fake", max_batch, "fake", "cpu", "fp32")
        self.calibration = calibration
        self.gives_patches = True

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        flat = self._colours(pixels).reshape(len(pixels), -1)
        return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), np.float32)

    def _run_with_patches(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A patch token is the colour of its cell, over and over, so that like colours meet at any two places."""
        colours = self._colours(pixels).reshape(len(pixels), 64, 3)
        return self._run(pixels), np.tile(colours, (1, 1, 64))

    def _colours(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        cell = self.spec.patch
        grid = pixels.reshape(len(pixels), 8, cell, 8, cell, 3).mean(axis=(2, 4))
        return np.asarray(grid, np.float32) - np.float32(127.4)
