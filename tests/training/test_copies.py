"""Judging by copies: who ignores the edits finds everything, who sees nothing finds nothing, micro-AP by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_media import write_image, write_text, write_video
from made_runs import nano, runner, write_bundle, write_pictures
from numpy.typing import NDArray
from typer.testing import Result

from vicmae.errors import InvalidRequest, TrainingError
from vicmae.export.bundle import read_manifest
from vicmae.media.edits import EDITS, half_of
from vicmae.training import cli
from vicmae.training.copy_detection import (
    Prepared,
    judge,
    judge_clips,
    prepare,
    prepare_clips,
    read_set,
)
from vicmae.training.copy_detection.scores import Figure, mean_of, micro_ap, micro_average_precision, ranks_of

__all__ = ["nano"]
Picture = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Run = Callable[..., Result]
CHEAP = ("as it was", "jpeg 20", "mirrored", "grey")


def flat(seed: int) -> Picture:
    return np.full((24, 32, 3), np.random.default_rng(seed).integers(0, 256, 3), np.uint8)


def pictures(count: int) -> dict[str, Picture]:
    """Noise, each of another seed."""
    return {f"{n:03d}": np.random.default_rng(n).integers(0, 256, (24, 32, 3), np.uint8) for n in range(count)}


def all_knowing(prepared: Prepared) -> Callable[[list[Picture]], Vectors]:
    """An encoder that ignores the edit: it is told of each picture what it was made of, in the order of `judge`."""
    names = [*prepared.library]
    for _ in prepared.edits:
        names += [*prepared.photos, *prepared.strangers]
    left = iter(names)
    known = {name: row for row, name in enumerate(dict.fromkeys(names))}

    def embed(asked: list[Picture]) -> Vectors:
        return np.eye(len(known), dtype=np.float32)[[known[next(left)] for _ in asked]]

    return embed


@given(st.integers(0, 100), st.sampled_from([None, "a", "b"]))
def test_an_encoder_that_ignores_the_edit_is_perfect(seed: int, half: str | None) -> None:
    prepared = prepare(pictures(90), strangers=8, queries=20, half=half, edits=CHEAP, seed=seed)  # type: ignore[arg-type]
    scores = judge(all_knowing(prepared), prepared)
    assert scores.mean(1) == scores.mean(10) == Figure(1.0, 0.0)
    assert scores.micro_ap == Figure(1.0, 0.0)


def test_an_encoder_that_sees_nothing_finds_nothing() -> None:
    prepared = prepare(pictures(90), strangers=8, queries=20, edits=CHEAP)
    scores = judge(lambda asked: np.full((len(asked), 4), 0.5, np.float32), prepared)
    assert scores.mean(10).value == 0
    assert scores.micro_ap.value < 0.05


def test_an_encoder_of_colours_finds_what_kept_them_and_loses_what_lost_them() -> None:
    prepared = prepare({str(n): flat(n) for n in range(60)}, strangers=8, queries=20, edits=("mirrored", "grey"))

    def colour(asked: list[Picture]) -> Vectors:
        means = np.stack([picture.mean(axis=(0, 1)) for picture in asked]) - 127.5
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)

    scores = judge(colour, prepared)
    assert scores.by_edit["mirrored"].recall_at_1.value == 1
    assert scores.by_edit["grey"].recall_at_1.value < 0.5
    told = scores.to_dict()
    assert told["edits"]["mirrored"]["R@1"] == {"value": 1.0, "error": 0.0}
    assert told["R@1"]["value"] == pytest.approx(scores.mean(1, ["mirrored", "grey"]).value, abs=1e-4)


def test_what_is_asked_is_kept_and_the_same_for_every_encoder() -> None:
    kept = prepare(pictures(40), strangers=6, queries=5)
    made = prepare(pictures(40), strangers=6, queries=5, keep=False)
    assert kept.edits == tuple(EDITS) and len(kept) == 34 + 30 * 11
    for edit in ("inset", "text"):
        for first, second in zip(kept.asked(edit), made.asked(edit), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert kept.asked("text") is kept.asked("text")


def test_the_halves_share_no_photo_and_the_same_strangers() -> None:
    a, b = (prepare(pictures(90), strangers=8, half=half, edits=CHEAP) for half in ("a", "b"))
    assert set(a.photos).isdisjoint(b.photos) and set(a.strangers) == set(b.strangers)
    assert len(a.photos) + len(b.photos) + len(a.strangers) == 90
    assert all(half_of(name) == "a" for name in a.photos)
    assert a.library == b.library and set(a.library).isdisjoint(a.strangers)


def test_strangers_may_come_from_elsewhere_and_only_some_may_be_asked() -> None:
    elsewhere = {f"other {n}": flat(n) for n in range(5)}
    prepared = prepare(pictures(20), strangers=elsewhere, edits=CHEAP, askable=lambda name: name < "010")
    assert len(prepared.library) == 20 and len(prepared.photos) == 10 and set(prepared.strangers) == set(elsewhere)


def test_too_few_are_told() -> None:
    for how, told in (
        ({"strangers": 4}, "There are 4 strangers; give at least 5"),
        ({"strangers": 20}, "No picture is left to be asked. Give a larger set, or fewer strangers"),
    ):
        with pytest.raises(TrainingError, match=told):
            prepare(pictures(20), **how)  # type: ignore[arg-type]


# Scores


def test_micro_ap_of_a_case_by_hand() -> None:
    """In order of cosine: right, wrong, right, wrong; three were asked. (1/1 + 2/3) / 3."""
    cosines = np.array([0.2, 0.9, 0.5, 0.7], np.float32)
    right = np.array([False, True, True, False])
    assert micro_average_precision(cosines, right, 3) == pytest.approx((1 + 2 / 3) / 3)


def test_pairs_of_one_cosine_are_one_step_in_any_order() -> None:
    right = np.array([True, False, True])
    expected = (1 / 2 + 2 / 3) / 2  # the first two at once: one of two is right
    for order in ([0, 1, 2], [1, 0, 2]):
        cosines = np.array([0.9, 0.9, 0.5], np.float32)
        assert micro_average_precision(cosines, right[order], 2) == pytest.approx(expected)


@given(arrays(np.float32, 12, elements=st.floats(-1, 1, width=32)), arrays(bool, 12))
def test_micro_ap_lies_between_nothing_and_all(cosines: Vectors, right: NDArray[np.bool_]) -> None:
    asked = max(1, int(right.sum()))
    value = micro_average_precision(cosines, right, asked)
    assert -1e-9 <= value <= 1 + 1e-9
    doubled = micro_average_precision(cosines, right, 2 * asked, np.full(12, 2.0))
    assert doubled == pytest.approx(value), "everything twice is the same"


def test_one_threshold_for_all_a_stranger_nearer_than_a_copy_costs() -> None:
    library = np.eye(3, dtype=np.float32)
    copy = np.array([[0.8, 0.6, 0]], np.float32)
    far, near = np.array([[0.1, 0.1, 0.99]], np.float32), np.array([[0, 0.05, 0.999]], np.float32)
    rows, photos = np.array([0, -1]), np.array([0, 1])
    assert micro_ap(copy, library, rows[:1], photos[:1]).value == 1
    for stranger in (far, near):
        assert micro_ap(np.concatenate((copy, stranger)), library, rows, photos).value == pytest.approx(1 / 2)


def test_ranks_count_those_as_near_as_the_original() -> None:
    library = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    queries = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    assert ranks_of(queries, library, np.array([0, 2, 0])).tolist() == [1, 0, 2]


def test_a_mean_has_the_error_of_its_sample() -> None:
    told = mean_of(np.array([True, False, True, True]))
    assert told.value == 0.75 and told.error == pytest.approx(0.25)
    assert mean_of(np.array([1.0])) == Figure(1.0, 0.0)


# Files, clips, the command


def moving_clips(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for seed in range(count):
        write_video(folder / f"{seed:02d}.mp4", seed, seconds=3.0, fps=10, size=(64, 48))
    return folder


def thumbnails(asked: list[Picture]) -> Vectors:
    from PIL import Image

    small = [np.asarray(Image.fromarray(picture).resize((8, 8)), np.float32).ravel() - 127.5 for picture in asked]
    return np.stack([one / np.linalg.norm(one) for one in small])


def test_a_frame_as_it_was_finds_its_clip_and_its_second(tmp_path: Path) -> None:
    found, clips, bad = read_set(moving_clips(tmp_path, 18))
    assert not found and not bad and len(clips) == 18
    prepared = prepare_clips(clips, queries=10, edits=("as it was", "turned 90"))
    assert len(prepared.library) == 10 and len(prepared.names) == 10
    assert (prepared.seconds >= 0).all() and (prepared.seconds < 3).all() and len(set(prepared.seconds)) > 5
    scores = judge_clips(thumbnails, prepared)
    assert scores.by_edit["as it was"].clip.all() and scores.by_edit["as it was"].moment.all()
    assert scores.clip.value == pytest.approx(np.mean([s.clip.mean() for s in scores.by_edit.values()]))
    assert scores.moment.value <= scores.clip.value
    with pytest.raises(TrainingError, match="15 clips are too few to be asked; give at least 16"):
        prepare_clips(dict(list(clips.items())[:15]))


def test_a_set_is_read_from_a_folder_or_an_index(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    write_image(folder / "sub" / "a.png", 1, size=(900, 600))
    write_text(folder / "b.jpg")
    write_video(folder / "c.mp4", 1, seconds=1.0, fps=5, size=(64, 48))
    found, clips, bad = read_set(folder)
    assert list(found) == ["sub/a.png"] and found["sub/a.png"].shape == (256, 384, 3)
    assert list(clips) == ["c.mp4"] and [name for name, _ in bad] == ["b.jpg"]

    rows = "file,set,split,label\nsub/a.png,one,train,x\nc.mp4,two,test,y\n"
    (folder / "index.csv").write_text(rows)
    assert len(read_set(folder, ["one"])[0]) == 1 and not read_set(folder, ["one"])[1]
    both, two, _ = read_set(folder, ["one", "two"])
    assert list(both) == ["one/sub/a.png"] and list(two) == ["two/c.mp4"]

    for path, told in ((tmp_path / "nowhere", "There is no folder"), (tmp_path / "empty", "no readable picture or")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(TrainingError, match=told):
            read_set(path)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nano: object) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(cli.register)


def test_the_command_tells_all_edits_and_records_the_means(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 24)
    write_text(tmp_path / "media" / "bad.jpg")
    write_bundle(tmp_path / "bundle")
    words = ("evaluate", "copies", "media", "--bundle", "bundle", "--queries", "4", "--seed", "3")
    result = run(*words, "--record", "--json")
    assert "skipped bad.jpg: " in result.stderr
    told = json.loads(result.stdout)
    assert told["task"] == "copies" and told["engine"] == "onnxruntime-fp32" and told["seed"] == 3
    scores = told["pictures"]
    assert set(scores["edits"]) == set(EDITS) and scores["queries"] == 4
    assert scores["strangers"] == 8 and scores["known"] == 16
    assert scores["edits"]["as it was"]["R@1"]["value"] == 1
    recorded = read_manifest(tmp_path / "bundle").quality["copies of pictures media"]
    assert recorded["R@1"] == scores["R@1"]["value"] and recorded["queries"] == 4
    assert "copies of pictures media" in (tmp_path / "bundle" / "card.md").read_text()

    printed = run(*words).stdout
    assert "copies of pictures, " in printed and "print and scan" in printed and "micro-AP" in printed
    assert "(4 queries, 8 strangers, 16 known)" in printed
    again = json.loads(run(*words, "--json").stdout)["pictures"]
    assert again == scores


def test_the_command_asks_clips_too_and_leaves_out_what_is_too_few(run: Run, tmp_path: Path) -> None:
    moving_clips(tmp_path / "media", 17)
    write_pictures(tmp_path / "media", 3)
    write_bundle(tmp_path / "bundle")
    result = run("evaluate", "copies", "media", "--bundle", "bundle", "--queries", "2", "--json")
    told = json.loads(result.stdout)
    assert "3 pictures are too few to be asked; give 15" in result.stderr and "pictures" not in told
    assert told["frames"]["queries"] == 2 and told["frames"]["known"] == 9
    assert set(told["frames"]["edits"]["as it was"]) == {"clip", "clip and second"}


def test_strangers_halves_and_engines_are_chosen(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 24)
    write_pictures(tmp_path / "strangers", 6)
    write_bundle(tmp_path / "bundle")
    words = ("evaluate", "copies", "media", "--bundle", "bundle", "--strangers", "strangers", "--half", "a", "--json")
    told = json.loads(run(*words, "--engine", "onnxruntime-fp32").stdout)
    assert told["half"] == "a" and told["pictures"]["strangers"] == 6 and told["pictures"]["known"] == 24
    assert 0 < told["pictures"]["queries"] < 24
    with pytest.raises(InvalidRequest, match="this bundle on --device cpu has onnxruntime-fp32"):
        run(*words, "--engine", "quick")
