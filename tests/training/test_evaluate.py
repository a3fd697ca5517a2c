"""vicmae.training.evaluate: scores against values worked out by hand."""

import io
from pathlib import Path

import numpy as np
import pytest
from made_media import picture, scene_frames, write_video
from PIL import Image

from vicmae.errors import TrainingError
from vicmae.export.engine import FakeEngine
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import read_frames
from vicmae.training.evaluate import Vectors, embed_samples, knn_accuracy, retrieval_scores
from vicmae.training.labelled import Sample


def on_a_circle(degrees: list[float], labels: str) -> Vectors:
    angles = np.radians(degrees)
    return Vectors(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), np.array(list(labels)))


KNOWN = on_a_circle([0, 10, 20, 80, 90], "aabbb")


@pytest.mark.parametrize(
    ("k", "accuracy"),
    [
        (1, 3 / 4),  # 16 degrees: b is nearest, a is wanted
        (2, 3 / 4),  # 16 degrees: b and a tie, and b is nearer
        (3, 4 / 4),  # 16 degrees: b, a, a
        (5, 2 / 4),  # everybody votes, b has the majority
        (99, 2 / 4),
    ],
)
def test_nearest_neighbours_vote(k: int, accuracy: float) -> None:
    queries = on_a_circle([1, 16, 85, 70], "aabb")
    assert knn_accuracy(KNOWN, queries, k) == accuracy


def test_retrieval_by_hand() -> None:
    # Order from 0 degrees: a a b b b; from 90: b b b a a; from 14, wanted a: a(10) b(20) a(0) b b.
    scores = retrieval_scores(KNOWN, on_a_circle([0, 90, 14, 18], "abaa"), ranks=(1, 2, 3))
    # From 18, wanted a: b(20) a(10) a(0) b b: precision 1/2, 2/3.
    precision = [1.0, 1.0, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]
    assert scores == {"R@1": 0.75, "R@2": 1.0, "R@3": 1.0, "mAP": pytest.approx(np.mean(precision))}


def test_a_query_without_a_partner_is_left_out() -> None:
    scores = retrieval_scores(KNOWN, on_a_circle([0, 45], "az"))
    assert scores == {"R@1": 1.0, "R@5": 1.0, "R@10": 1.0, "mAP": 1.0}
    with pytest.raises(TrainingError, match="No query has a gallery item"):
        retrieval_scores(KNOWN, on_a_circle([0], "z"))


def test_the_worst_order() -> None:
    known = on_a_circle([0, 1, 2, 90], "bbba")
    scores = retrieval_scores(known, on_a_circle([0], "a"), ranks=(1, 3, 4))
    assert scores == {"R@1": 0.0, "R@3": 0.0, "R@4": 1.0, "mAP": 0.25}


def sample(name: str, seed: int, split: str) -> Sample:
    out = io.BytesIO()
    picture(seed).save(out, "png")
    return Sample(name, f"label{seed}", split, out.getvalue())


@pytest.mark.parametrize(("looked_in", "asked"), [("train", "test"), ("gallery", "query"), ("train", "val")])
def test_samples_become_unit_vectors_by_their_role(looked_in: str, asked: str) -> None:
    samples = [sample("a", 1, looked_in), sample("b", 1, asked), sample("c", 2, looked_in)]
    known, queries, bad = embed_samples(FakeEngine(), samples)
    assert known.labels.tolist() == ["label1", "label2"] and queries.labels.tolist() == ["label1"] and not bad
    assert np.allclose(np.linalg.norm(known.vectors, axis=1), 1)
    assert np.allclose(known.vectors[0], queries.vectors[0])


def test_a_clip_is_the_mean_of_its_frames(tmp_path: Path) -> None:
    engine = FakeEngine()
    clip = write_video(tmp_path / "c.mp4", 3, seconds=4.0).read_bytes()
    frames = np.concatenate([to_pixels(f, engine.spec) for f in read_frames(clip, 2.0)])
    mean = engine.embed(frames).mean(axis=0)
    known, queries, _ = embed_samples(engine, [Sample("c", "x", "train", clip), sample("a", 1, "test")])
    assert len(frames) == 8 == len(list(scene_frames(3, 4.0, 2)))
    assert np.allclose(known.vectors[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert queries.vectors.shape == known.vectors.shape


def test_the_unreadable_are_told_and_left_out() -> None:
    samples = [sample("a", 1, "train"), Sample("bad", "x", "train", b"no picture"), sample("b", 1, "test")]
    known, queries, bad = embed_samples(FakeEngine(), samples)
    assert len(known.labels) == len(queries.labels) == 1
    assert [name for name, _ in bad] == ["bad"] and bad[0][1].endswith(".")


def test_samples_are_embedded_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [sample(str(seed), seed, split) for seed in range(4) for split in ("train", "test")]
    whole, _, _ = embed_samples(FakeEngine(), samples)
    monkeypatch.setattr("vicmae.training.evaluate.FRAMES_AT_ONCE", 3)
    known, queries, _ = embed_samples(FakeEngine(), iter(samples))
    assert known.labels.tolist() == queries.labels.tolist() == [f"label{seed}" for seed in range(4)]
    assert np.array_equal(known.vectors, whole.vectors) and np.allclose(known.vectors, queries.vectors)


def test_one_role_alone_is_refused() -> None:
    with pytest.raises(TrainingError, match="readable test or query sample"):
        embed_samples(FakeEngine(), [sample("a", 1, "train")])
    with pytest.raises(TrainingError, match="readable train or gallery sample"):
        embed_samples(FakeEngine(), [sample("a", 1, "test")])
    with pytest.raises(TrainingError, match="not one readable sample"):
        embed_samples(FakeEngine(), [Sample("bad", "x", "train", b"")])


def test_the_engine_sees_what_the_server_would_show_it() -> None:
    wide = io.BytesIO()
    Image.new("RGB", (400, 20), (200, 30, 30)).save(wide, "png")
    known, queries, _ = embed_samples(FakeEngine(), [Sample("w", "x", s, wide.getvalue()) for s in ("train", "test")])
    assert np.allclose(known.vectors @ queries.vectors.T, 1)
