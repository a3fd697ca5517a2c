"""How good are the vectors: nearest-neighbour accuracy and retrieval, on images and on clips.

Works on any Engine, so a checkpoint and the bundle made of it are judged by the same code.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError, TrainingError
from ..export.engine import Engine
from ..media.preprocess import to_pixels
from ..media.reader import read_frames
from .labelled import Sample

QUERY_SPLITS = ("test", "query", "val")
CLIP_FRAMES_PER_SECOND = 2.0
FRAMES_AT_ONCE = 512  # decoded and not yet embedded


@dataclass(frozen=True)
class Vectors:
    """vectors (N, D) float32 unit length, labels (N,) str; of the samples that could be read."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.str_]


def embed_samples(engine: Engine, samples: Iterable[Sample]) -> tuple[Vectors, Vectors, list[tuple[str, str]]]:
    """-> what is looked in, what is asked, and (name, reason) of the unreadable. A clip is the mean of its frames.

    Samples are taken one by one and only their vectors kept, so that a dataset may be larger than the memory.
    """
    pixels: list[NDArray[np.uint8]] = []
    means: list[NDArray[np.float32]] = []
    asked: list[bool] = []
    labels: list[str] = []
    bad: list[tuple[str, str]] = []
    for sample in samples:
        try:
            chunks = [to_pixels(f, engine.spec) for f in read_frames(sample.content, CLIP_FRAMES_PER_SECOND)]
        except MediaError as error:
            bad.append((sample.name, str(error)))
            continue
        pixels.append(np.concatenate(chunks))
        asked.append(sample.split in QUERY_SPLITS)
        labels.append(sample.label)
        if sum(map(len, pixels)) >= FRAMES_AT_ONCE:
            means += _embed_means(engine, pixels)
            pixels.clear()
    if pixels:
        means += _embed_means(engine, pixels)
    if not means:
        raise TrainingError("There is not one readable sample.")
    vectors, is_asked, names = np.stack(means), np.array(asked), np.array(labels)
    for rows, role in ((~is_asked, "train or gallery"), (is_asked, "test or query")):
        if not rows.any():
            raise TrainingError(f"There is not one readable {role} sample.")
    return Vectors(vectors[~is_asked], names[~is_asked]), Vectors(vectors[is_asked], names[is_asked]), bad


def _embed_means(engine: Engine, pixels: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """The pixels (T, S, S, 3) of samples -> of each its vector (D,): the mean of its frames' at unit length."""
    frames = np.split(engine.embed(np.concatenate(pixels)), np.cumsum([len(p) for p in pixels])[:-1])
    means = [f.mean(axis=0) for f in frames]
    return [mean / np.linalg.norm(mean) for mean in means]


def knn_accuracy(known: Vectors, queries: Vectors, k: int) -> float:
    """Share of queries whose class the k nearest (cosine) vote for; a tie goes to the nearer ones."""
    similarity = queries.vectors @ known.vectors.T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    right = 0
    for row, label in zip(nearest, queries.labels, strict=True):
        votes = Counter(known.labels[row].tolist())  # insertion order is nearest first, and decides ties
        right += votes.most_common(1)[0][0] == label
    return right / len(queries.labels)


def retrieval_scores(known: Vectors, queries: Vectors, ranks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """R@k (share of queries with a relevant one among the first k) and mean average precision."""
    relevant = known.labels[None, :] == queries.labels[:, None]
    answerable = relevant.any(axis=1)
    if not answerable.any():
        raise TrainingError("No query has a gallery item of its group.")
    similarity = (queries.vectors @ known.vectors.T)[answerable]
    order = np.argsort(-similarity, axis=1, kind="stable")
    hits = np.take_along_axis(relevant[answerable], order, axis=1)
    scores = {f"R@{k}": float(hits[:, :k].any(axis=1).mean()) for k in ranks}
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    scores["mAP"] = float(((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean())
    return scores
