"""Made vectors and items, without files: what the benchmarks of the index and the soak search. No measuring here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.index_rivals import Floats
from numpy.typing import NDArray

from vicmae.export.engine import FakeEngine
from vicmae.index.catalog.items import NewItem, default_item_id

DIM = 384


def made(count: int, seed: int, dim: int = DIM) -> Floats:
    """(count, dim) float32 unit vectors, as the docstring of index.py says."""
    world = np.random.default_rng(7)
    turned = np.linalg.qr(world.normal(size=(dim, 48)))[0].T.astype(np.float32)
    scenes = world.normal(size=(2000, 48)).astype(np.float32)
    chance = np.random.default_rng(seed)
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, 50_000):
        part = vectors[start : start + 50_000]
        where = scenes[chance.integers(0, len(scenes), len(part))]
        where = where + 0.6 * chance.standard_normal(where.shape, np.float32)
        part[:] = where @ turned + 0.1 * chance.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def engine_of(dim: int) -> FakeEngine:
    """A stand-in for a model of that dimension."""
    engine = FakeEngine()
    engine.spec = replace(engine.spec, dim=dim)
    return engine


def item_of(number: int, vectors: Floats, fps: float = 2.0) -> NewItem:
    uri = f"file:///made/{number}"
    starts = np.arange(len(vectors)) / fps
    return NewItem(
        id=default_item_id(uri),
        uri=uri,
        name=f"{number}.mp4",
        path=Path(f"/made/{number}"),
        sha256=f"{number:064x}",
        kind="video",
        mime="video/mp4",
        size_bytes=1,
        mtime_ns=1,
        width=1,
        height=1,
        duration_seconds=len(vectors) / fps,
        frames_per_second=fps,
        vectors=vectors,
        start_seconds=starts,
        end_seconds=starts + 1 / fps,
        informative=np.ones(len(vectors), np.float32),
    )


def film(number: int, frames: int = 97, dim: int = 192) -> Floats:
    """(frames, dim): shots of 12 frames, four films share a place, all frames share a little."""
    chance = np.random.default_rng(number)
    common = 0.7 * np.random.default_rng(number // 4).normal(size=dim) + 1.0
    steps = 0.25 * chance.normal(size=(frames, dim))
    steps[::12] = 0
    walked = np.concatenate([np.cumsum(steps[i : i + 12], axis=0) for i in range(0, frames, 12)])
    shots = np.repeat(chance.normal(size=(-(-frames // 12), dim)), 12, axis=0)[:frames]
    made = walked + shots + common
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def noisy(vectors: Floats, seed: int, amount: float) -> Floats:
    made = vectors + amount * np.random.default_rng(seed).normal(size=vectors.shape).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    return {"p50_ms": 1e3 * float(np.median(seconds)), "p99_ms": 1e3 * float(np.quantile(seconds, 0.99))}
