"""Vectors as bytes: fp16, little-endian, unit length. What the catalog and the segments store."""

import numpy as np
from numpy.typing import NDArray


def pack_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """vectors (T, D) float32 -> T blobs of D little-endian fp16, each scaled to unit length."""
    return [row.tobytes() for row in unit_length(vectors).astype("<f2")]


def unpack_vectors(blobs: list[bytes], dim: int) -> NDArray[np.float32]:
    """T blobs of D little-endian fp16 -> (T, D) float32, unit length again after the rounding."""
    return unpack_rows(b"".join(blobs), dim)


def unpack_rows(raw: bytes, dim: int) -> NDArray[np.float32]:
    """The bytes of T rows, one after another -> (T, dim) float32, unit length again after the rounding."""
    return unit_length(np.frombuffer(raw, "<f2").reshape(-1, dim).astype(np.float32))


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """vectors (..., D) scaled to length 1; a zero vector stays zero (it is similar to nothing)."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)
