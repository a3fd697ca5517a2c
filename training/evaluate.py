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

ASKED = ("test", "query", "val")
CLIP_FRAMES_PER_SECOND = 2.0


@dataclass(frozen=True)
class Vectors:
    """vectors (N, D) float32 unit length, labels (N,) str; of the samples that could be read."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.str_]


def embed_samples(engine: Engine, samples: Iterable[Sample]) -> tuple[Vectors, Vectors, list[tuple[str, str]]]:
    """-> what is looked in, what is asked, and (name, reason) of the unreadable. A clip is the mean of its frames."""
    pixels: list[NDArray[np.uint8]] = []
    kept: list[Sample] = []
    bad: list[tuple[str, str]] = []
    for sample in samples:
        try:
            chunks = [to_pixels(f, engine.spec) for f in read_frames(sample.content, CLIP_FRAMES_PER_SECOND)]
        except MediaError as error:
            bad.append((sample.name, str(error)))
            continue
        pixels.append(np.concatenate(chunks))
        kept.append(sample)
    if not kept:
        raise TrainingError("There is not one readable sample.")
    frames = np.split(engine.embed(np.concatenate(pixels)), np.cumsum([len(p) for p in pixels])[:-1])
    means = np.stack([f.mean(axis=0) for f in frames])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    asked = np.array([sample.split in ASKED for sample in kept])
    labels = np.array([sample.label for sample in kept])
    for rows, role in ((~asked, "train or gallery"), (asked, "test or query")):
        if not rows.any():
            raise TrainingError(f"There is not one readable {role} sample.")
    return Vectors(means[~asked], labels[~asked]), Vectors(means[asked], labels[asked]), bad


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
