"""Made items for tests of the index: vectors from a seed, no files. Knows NewItem and nothing of media."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vicmae.export.engine import FakeEngine
from vicmae.index.catalog.items import NewItem, default_item_id

ENGINE = FakeEngine()
DIM = ENGINE.spec.dim


def unit_vectors(seed: int, count: int, dim: int = DIM) -> NDArray[np.float32]:
    """(count, dim) float32, unit length, all different."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def new_item(seed: int = 0, frames: int = 4, fps: float = 2.0, **changes: Any) -> NewItem:
    """An item at file:///made/SEED: an image if it has one frame, else a video."""
    uri = changes.get("uri", f"file:///made/{seed}")
    starts = np.arange(frames) / fps
    is_video = frames > 1
    values: dict[str, Any] = {
        "id": default_item_id(uri),
        "uri": uri,
        "name": f"{seed}.mp4" if is_video else f"{seed}.png",
        "path": Path(f"/made/{seed}"),
        "sha256": f"{seed:064x}",
        "kind": "video" if is_video else "image",
        "mime": "video/mp4" if is_video else "image/png",
        "size_bytes": 1000 + seed,
        "mtime_ns": seed,
        "width": 160,
        "height": 120,
        "duration_seconds": frames / fps if is_video else 0.0,
        "frames_per_second": fps,
        "vectors": unit_vectors(seed, frames),
        "start_seconds": starts,
        "end_seconds": starts + 1 / fps if is_video else starts,
        "informative": np.ones(frames, np.float32),
        **changes,
    }
    return NewItem(**values)
