"""vicmae.training.linear: a probe finds what is linear in the vectors, and nothing else."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vicmae.errors import TrainingError
from vicmae.training.evaluate import Vectors
from vicmae.training.linear import linear_accuracy, train_probe


def unit(points: NDArray[np.float64], labels: NDArray[np.int64]) -> Vectors:
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return Vectors(points.astype(np.float32), np.array([f"class {label:02d}" for label in labels]))


def clusters(count: int, classes: int, spread: float, seed: int) -> Vectors:
    """Points about one corner for each class, all far from the origin on one side, as features are."""
    corners = np.random.default_rng(9).normal(size=(classes, 16)) * 0.1
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return unit(1 + corners[labels] + spread * generator.normal(size=(count, 16)), labels)


def test_clusters_are_told_apart() -> None:
    known, queries = clusters(96, 8, 0.02, 1), clusters(40, 8, 0.02, 2)
    scores = linear_accuracy(known, queries, epochs=60, rate=0.05)
    assert scores == {"top-1": 1.0, "top-5": 1.0}
    assert linear_accuracy(known, queries, epochs=60, rate=0.05) == scores


def test_a_direction_that_neighbours_do_not_show_is_found() -> None:
    """The class hides in one weak component among strong noise: linear, though far from the nearest neighbours."""
    generator = np.random.default_rng(3)
    labels = np.arange(400) % 2
    points = generator.normal(size=(400, 8))
    points[:, 3] = np.where(labels == 1, 0.02, -0.02)
    points[:, 0] += 20
    whole = unit(points, labels)
    known, queries = (Vectors(whole.vectors[part], whole.labels[part]) for part in (slice(0, 300), slice(300, 400)))
    assert linear_accuracy(known, queries, epochs=60, rate=0.05)["top-1"] > 0.97


def test_labels_without_meaning_give_chance() -> None:
    generator = np.random.default_rng(4)
    known, queries = (unit(generator.normal(size=(600, 4)), generator.integers(0, 4, 600)) for _ in range(2))
    assert abs(linear_accuracy(known, queries, epochs=5, rate=0.01)["top-1"] - 0.25) < 0.08


def test_few_classes_have_no_top_five_and_unknown_classes_are_wrong() -> None:
    known = clusters(30, 3, 0.02, 1)
    queries = clusters(30, 3, 0.02, 2)
    foreign = np.array(["a class before all", "class 01x", "zebra"] * 5 + queries.labels[15:].tolist())
    assert linear_accuracy(known, Vectors(queries.vectors, foreign), epochs=40, rate=0.05) == {"top-1": 0.5}


def test_many_rows_are_taken_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicmae.training.linear.BATCH", 7)
    known = clusters(50, 3, 0.02, 1)  # the last batch holds one row
    assert linear_accuracy(known, clusters(30, 3, 0.02, 2), epochs=20, rate=0.05) == {"top-1": 1.0}


def test_a_probe_follows_its_seed() -> None:
    vectors, targets = torch.randn(20, 4), torch.arange(20) % 3
    first, again, other = (train_probe(vectors, targets, 3, 2, 0.01, seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_one_class_is_refused() -> None:
    one = clusters(5, 1, 0.02, 1)
    with pytest.raises(TrainingError, match="all of the class class 00"):
        linear_accuracy(one, one, epochs=1, rate=0.1)
