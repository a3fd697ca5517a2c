"""Frames that look the same share a vector; unfolded, everybody sees the frames again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_items import DIM, ENGINE, new_item, unit_vectors
from made_media import picture, write_animation
from made_queries import search_clip, search_frame

from vicmae.index.catalog.items import Moments
from vicmae.index.ingest.folding import fold as fold_at
from vicmae.index.ingest.options import IngestOptions
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library

SAME_COSINE = ENGINE.calibration.folding_cosine


def fold(moments: Moments) -> Moments:
    return fold_at(moments, SAME_COSINE)


@st.composite
def runs(draw: st.DrawFn) -> Moments:
    """Samples at 2 a second of a film in which every scene stands still for a while."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    vectors = np.repeat(unit_vectors(draw(st.integers(0, 99)), len(lengths)), lengths, axis=0)
    starts = np.arange(len(vectors)) / 2
    informative = draw(arrays(np.float32, len(vectors), elements=st.floats(0, 1, width=32)))
    return Moments(vectors, starts, starts + 0.5, informative)


@given(runs())
def test_folding_loses_no_time_and_unfolding_gives_every_frame_back(moments: Moments) -> None:
    folded = fold(moments)
    assert folded.start_seconds[0] == 0 and folded.end_seconds[-1] == moments.end_seconds[-1]
    assert (folded.start_seconds[1:] == folded.end_seconds[:-1]).all()
    assert (folded.vectors[1:] != folded.vectors[:-1]).any(axis=1).all()
    unfolded = folded.unfolded(2.0)
    np.testing.assert_array_equal(unfolded.vectors, moments.vectors)
    np.testing.assert_allclose(unfolded.start_seconds, moments.start_seconds)
    np.testing.assert_allclose(unfolded.end_seconds, moments.end_seconds)
    assert (unfolded.informative >= moments.informative).all()


@given(runs())
def test_folding_twice_changes_nothing(moments: Moments) -> None:
    once = fold(moments)
    for again in (fold(once), fold(once.unfolded(2.0))):
        np.testing.assert_array_equal(again.vectors, once.vectors)
        np.testing.assert_allclose(again.start_seconds, once.start_seconds)


def test_a_slow_pan_is_not_swallowed_step_by_step() -> None:
    angles = np.linspace(0, np.pi / 2, 200)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    starts = np.arange(200.0)
    folded = fold(Moments(vectors, starts, starts + 1, np.ones(200, np.float32)))
    assert 10 < len(folded.vectors) < 100
    for place, start in enumerate(folded.start_seconds):
        inside = (starts >= start) & (starts < folded.end_seconds[place])
        assert (vectors[inside] @ folded.vectors[place] >= SAME_COSINE - 1e-6).all()


def test_a_gap_in_time_ends_a_stretch() -> None:
    vectors = np.repeat(unit_vectors(1, 1), 3, axis=0)
    moments = Moments(vectors, np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0, 6.0]), np.ones(3, np.float32))
    assert fold(moments).start_seconds.tolist() == [0.0, 5.0]


def test_irregular_samples_stay_as_they_are() -> None:
    starts = np.array([0.0, 0.4, 1.1])
    moments = Moments(unit_vectors(1, 3), starts, np.array([0.4, 1.1, 1.5]), np.ones(3, np.float32))
    assert moments.unfolded(2.0) is moments


def test_a_still_film_keeps_one_vector_and_is_found_as_before(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "still.gif", [1] * 6 + [2] * 6, 500)
    with Library(tmp_path / "data") as library:
        collection = library.create("one", ENGINE)
        item = collection.get(ingest_file(collection, ENGINE, path, IngestOptions(frames_per_second=2)).item_id)
        assert item.frames == 2 and item.duration_seconds == pytest.approx(6)
        moments = collection.moments_of(item.id)
        np.testing.assert_allclose(moments.start_seconds, np.arange(12) / 2)
        side = ENGINE.spec.size
        query = ENGINE.embed(np.asarray(picture(2, (side, side)))[None])
        (hit,) = search_frame(collection, query[0], 1)
        assert hit.start_seconds == pytest.approx(3.0)
        assert (hit.segments[0].start_seconds, hit.segments[0].end_seconds) == pytest.approx((3.0, 6.0))
        (clip,) = search_clip(collection, moments.vectors[4:9], moments.start_seconds[4:9], 1)
        assert (clip.start_seconds, clip.end_seconds) == pytest.approx((2.0, 4.5))


def test_a_copy_of_a_still_film_shares_its_vectors_too(tmp_path: Path) -> None:
    first = write_animation(tmp_path / "a.gif", [1] * 6 + [2] * 6, 500)
    copy = tmp_path / "b.gif"
    copy.write_bytes(first.read_bytes())
    with Library(tmp_path / "data") as library:
        collection = library.create("one", ENGINE)
        items = [ingest_file(collection, ENGINE, path) for path in (first, copy)]
        assert [item.frames for item in items] == [2, 2]


def test_a_picture_has_one_moment(tmp_path: Path) -> None:
    with Library(tmp_path / "data") as library:
        collection = library.create("one", ENGINE)
        item = collection.add(new_item(1, frames=1))
        assert collection.moments_of(item.id).vectors.shape == (1, DIM)
