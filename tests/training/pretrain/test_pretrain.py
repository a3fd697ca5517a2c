"""vicmae.training.pretrain.loop: the loop learns, survives being killed, and refuses what it cannot do."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_runs import MILD, NANO, made_pictures, nano, nano_recipe, write_pictures
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from vicmae.errors import StorageError, TrainingError
from vicmae.model.checkpoints import load_encoder
from vicmae.model.config import SIZES
from vicmae.model.vicmae import Objective
from vicmae.training.pretrain import Progress, build_model, pretrain
from vicmae.training.pretrain.batches import batch_shares, read_batch
from vicmae.training.pretrain.step_inputs import objective_at
from vicmae.training.recipe import Recipe
from vicmae.training.rundir import step_name
from vicmae.training.sources import Pictures
from vicmae.training.views import Augmentation

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
PICTURES = made_pictures()


class Killed(Exception):
    """Stands for the power going off."""


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def steps_of(run: Path) -> list[str]:
    return sorted(p.name for p in run.iterdir() if p.is_dir())


def logged(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def without_speed(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k not in ("pairs_per_second", "waiting")} for line in logged(run)]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def kill_at(step: int, run: Path, recipe: Recipe) -> None:
    def report(now: Progress) -> None:
        if now.step == step:
            raise Killed

    with pytest.raises(Killed):
        pretrain(recipe, PICTURES, run, report=report)


def test_the_loss_falls(tmp_path: Path) -> None:
    told: list[Progress] = []
    recipe = nano_recipe(steps=60, warmup_steps=10, checkpoint_steps=60, base_rate=0.1)
    last = pretrain(recipe, PICTURES, tmp_path / "run", report=told.append)
    assert last == tmp_path / "run" / "step-00000060"
    first, final = told[:8], told[-8:]
    for figure in ("loss", "reconstruction", "contrast"):
        before, after = (np.mean([getattr(p, figure) for p in part]) for part in (first, final))
        assert after < 0.95 * before, figure
    assert [line["step"] for line in logged(tmp_path / "run")] == list(range(1, 61))
    assert logged(tmp_path / "run")[-1] == vars(told[-1])
    assert told[0].loss == pytest.approx(0.5 * told[0].reconstruction + 0.5 * told[0].contrast)


def test_the_last_checkpoint_is_an_encoder(tmp_path: Path) -> None:
    pretrain(nano_recipe(steps=2), PICTURES, tmp_path / "run")
    encoder = load_encoder(tmp_path / "run")
    assert encoder.config == NANO
    assert encoder.spec == NANO.input_spec(32, fit="squash")


def test_a_network_without_class_token_is_pretrained_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(NANO, class_token=False)
    monkeypatch.setitem(SIZES, "nano", bare)
    recipe = nano_recipe(steps=4, checkpoint_steps=2)
    whole = pretrain(recipe, PICTURES, tmp_path / "run")
    kill_at(3, tmp_path / "killed", recipe)
    assert same(weights(whole), weights(pretrain(recipe, PICTURES, tmp_path / "killed", resume=True)))
    assert load_encoder(tmp_path / "run").config == bare and "cls_token" not in weights(whole)
    assert weights(whole)["pos_embed"].shape == (1, 16, 32)
    monkeypatch.setitem(SIZES, "nano", replace(NANO, norm_of_mean=True))
    with pytest.raises(TrainingError, match="nano normalises the mean of its tokens"):
        pretrain(recipe, PICTURES, tmp_path / "other")


@pytest.mark.parametrize("killed_at", [1, 2, 3, 5])
def test_a_killed_and_resumed_run_equals_one_that_was_not(tmp_path: Path, killed_at: int) -> None:
    recipe = nano_recipe()
    whole = pretrain(recipe, PICTURES, tmp_path / "whole")
    kill_at(killed_at, tmp_path / "killed", recipe)
    resumed = pretrain(recipe, PICTURES, tmp_path / "killed", resume=True)
    assert same(weights(whole), weights(resumed))
    a, b = (torch.load(folder / "trainer.pt", weights_only=True) for folder in (whole, resumed))
    assert a["step"] == b["step"] == 6
    for name, moments in a["optimiser"]["state"].items():
        assert same(moments, b["optimiser"]["state"][name])
    assert without_speed(tmp_path / "killed") == without_speed(tmp_path / "whole")


def test_a_finished_run_resumed_stays_as_it_is(tmp_path: Path) -> None:
    last = pretrain(nano_recipe(), PICTURES, tmp_path / "run")
    before = weights(last)
    assert pretrain(nano_recipe(), PICTURES, tmp_path / "run", resume=True) == last
    assert same(before, weights(last)) and len(logged(tmp_path / "run")) == 6


def test_a_line_half_written_by_a_killed_run_is_left_out(tmp_path: Path) -> None:
    kill_at(5, tmp_path / "run", nano_recipe())
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')
    pretrain(nano_recipe(), PICTURES, tmp_path / "run", resume=True)
    assert [line["step"] for line in logged(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_lost_log_does_not_stop_a_resumed_run(tmp_path: Path) -> None:
    kill_at(5, tmp_path / "run", nano_recipe())
    (tmp_path / "run" / "log.jsonl").unlink()
    pretrain(nano_recipe(), PICTURES, tmp_path / "run", resume=True)
    assert [line["step"] for line in logged(tmp_path / "run")] == [5, 6]


def test_the_last_checkpoints_are_kept_whole(tmp_path: Path) -> None:
    pretrain(nano_recipe(steps=7, checkpoint_steps=2, keep_checkpoints=2), PICTURES, tmp_path / "run")
    assert steps_of(tmp_path / "run") == ["step-00000006", "step-00000007"]
    for step in steps_of(tmp_path / "run"):
        files = sorted(p.name for p in (tmp_path / "run" / step).iterdir())
        assert files == ["model.safetensors", "trainer.pt"]


def test_a_checkpoint_appears_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Killed

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fail)
        with pytest.raises(Killed):
            pretrain(nano_recipe(), PICTURES, run)
    assert list(run.glob("step-*")) == []
    assert pretrain(nano_recipe(), PICTURES, run, resume=True).name == "step-00000006"
    assert steps_of(run) == ["step-00000004", "step-00000006"]


def test_run_json_says_what_was_done(tmp_path: Path) -> None:
    recipe = nano_recipe()
    pretrain(recipe, PICTURES, tmp_path / "run", facts={"command": "vicmae pretrain x", "data": "y"})
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    assert Recipe.from_dict(told.pop("recipe")) == recipe
    assert told == {
        "command": "vicmae pretrain x",
        "data": "y",
        "images": 24,
        "clips": 6,
        "steps": 6,
        "batch": 8,
        "pairs": 48,
        "pairs_per_contrast": 8,
    }


def test_a_used_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    last = pretrain(nano_recipe(), PICTURES, tmp_path / "run")
    before = weights(last), (tmp_path / "run" / "log.jsonl").read_text()
    with pytest.raises(TrainingError, match="holds a run up to step-00000006. Add --resume"):
        pretrain(nano_recipe(seed=1), PICTURES, tmp_path / "run")
    assert same(before[0], weights(last)) and before[1] == (tmp_path / "run" / "log.jsonl").read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="is a file"):
        pretrain(nano_recipe(), PICTURES, tmp_path / "file")


def test_resuming_with_another_network_is_refused(tmp_path: Path) -> None:
    pretrain(nano_recipe(steps=2), PICTURES, tmp_path / "run")
    for changes in ({"size": 64}, {"fit": "crop"}, {"model": "tiny"}):
        with pytest.raises(TrainingError, match=f"was begun with {next(iter(changes))}"):
            pretrain(nano_recipe(**changes), PICTURES, tmp_path / "run", resume=True)


def test_a_loss_that_is_no_number_stops_before_it_is_saved(tmp_path: Path) -> None:
    recipe = nano_recipe(steps=40, warmup_steps=0, base_rate=1e12, checkpoint_steps=1, keep_checkpoints=40)
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) at step \d+, .* Go on from step-\d+ with --resume"):
        pretrain(recipe, PICTURES, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"Begin anew with --out NEW and a smaller base_rate"):
        pretrain(replace(recipe, checkpoint_steps=40), PICTURES, tmp_path / "unsaved")
    assert all(np.isfinite(line["loss"]) for line in logged(tmp_path / "run"))
    assert len(steps_of(tmp_path / "run")) == len(logged(tmp_path / "run"))


def test_the_contrast_comes_in_after_its_share() -> None:
    recipe = nano_recipe(steps=10, contrast_from=0.25)
    weight = [objective_at(recipe, step).contrast_weight for step in range(10)]
    assert weight == [0.0] * 3 + [0.5] * 7
    assert objective_at(nano_recipe(), 0) == nano_recipe().objective


def test_the_contrast_may_climb() -> None:
    recipe = nano_recipe(steps=10, contrast_from=0.2, contrast_ramp=0.5)
    weight = [objective_at(recipe, step).contrast_weight for step in range(10)]
    assert weight == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])


def test_before_that_the_projector_is_not_trained(tmp_path: Path) -> None:
    recipe = nano_recipe(steps=4, contrast_from=1.0, weight_decay=0.0, checkpoint_steps=4)
    trained = weights(pretrain(recipe, PICTURES, tmp_path / "run"))
    start = build_model(recipe).state_dict()
    assert torch.equal(trained["projector.0.weight"], start["projector.0.weight"])
    assert not torch.equal(trained["decoder_pred.weight"], start["decoder_pred.weight"])


def test_the_seed_decides_the_run(tmp_path: Path) -> None:
    first, again, other = (
        weights(pretrain(nano_recipe(steps=2, seed=seed), PICTURES, tmp_path / name))
        for seed, name in ((3, "a"), (3, "b"), (4, "c"))
    )
    assert same(first, again) and not same(first, other)


@given(st.integers(0, 30), st.integers(0, 12), st.integers(2, 12), st.floats(0, 1), st.integers(0, 50))
def test_a_batch_has_its_share_of_clips_and_no_item_twice(
    images: int, clips: int, batch: int, share: float, step: int
) -> None:
    recipe = Recipe(batch=batch, clip_share=share)
    if images + clips == 0:
        return
    pictures = replace(
        PICTURES,
        data=np.arange(images + clips * 8, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3),
        first=np.concatenate([np.arange(images), images + 8 * np.arange(clips)]),
        count=np.array([1] * images + [8] * clips),
        seconds=np.concatenate([np.zeros(images), np.tile(np.arange(8) / 4, clips)]),
    )
    of = np.flatnonzero(~pictures.is_clip), np.flatnonzero(pictures.is_clip)
    wanted = min(clips, round(batch * share)) if images else batch
    if wanted > clips or batch - wanted > images:
        with pytest.raises(TrainingError, match="Set a smaller batch"):
            read_batch(recipe, pictures, *of, step)
        return
    got = read_batch(recipe, pictures, *of, step)
    assert got.pixels.shape == (2, batch, 1, 1, 3) and int(got.is_clip.sum()) == wanted
    rows = got.pixels[:, :, 0, 0, 0].numpy().astype(int)
    items = np.where(rows < images, rows, images + (rows - images) // 8)
    assert (items[0] == items[1]).all() and len(set(items[0])) == batch
    assert (rows[0] == rows[1])[~got.is_clip.numpy()].all()


@pytest.mark.parametrize(("window_seconds", "most_seconds"), [(0.0, 0.0), (0.5, 0.5), (9.0, 1.75)])
def test_the_window_bounds_the_gap_of_a_pair(window_seconds: float, most_seconds: float) -> None:
    recipe = nano_recipe(batch=6, clip_share=1.0, pair_window_seconds=window_seconds)
    images, clips = np.flatnonzero(~PICTURES.is_clip), np.flatnonzero(PICTURES.is_clip)
    gaps = []
    data = np.asarray(PICTURES.data)
    for step in range(20):
        first, second = read_batch(recipe, PICTURES, images[:0], clips, step).pixels.numpy()
        for one, other in zip(first, second, strict=True):
            rows = [int(np.flatnonzero((data == frame).all(axis=(1, 2, 3)))[0]) for frame in (one, other)]
            gaps.append(abs(PICTURES.seconds[rows[0]] - PICTURES.seconds[rows[1]]))
    assert max(gaps) <= most_seconds
    assert max(gaps) > 0 or window_seconds == 0


def test_an_epoch_shows_each_item_once() -> None:
    recipe = nano_recipe(batch=8, clip_share=0.0)
    images = np.flatnonzero(~PICTURES.is_clip)
    numbers = replace(PICTURES, data=np.arange(len(PICTURES.data), dtype=np.uint8)[:, None, None, None].repeat(3, 3))
    seen = [
        sorted(
            row
            for step in range(3 * epoch, 3 * epoch + 3)
            for row in read_batch(recipe, numbers, images, images[:0], step).pixels[0, :, 0, 0, 0].tolist()
        )
        for epoch in range(2)
    ]
    assert seen == [list(range(24))] * 2


def rows_of(recipe: Recipe, pictures: Pictures, step: int) -> list[int]:
    numbers = replace(pictures, data=np.arange(len(PICTURES.data), dtype=np.uint8)[:, None, None, None].repeat(3, 3))
    images, clips = np.flatnonzero(~PICTURES.is_clip), np.flatnonzero(PICTURES.is_clip)
    rows: list[int] = read_batch(recipe, numbers, images, clips, step).pixels[0, :, 0, 0, 0].tolist()
    return rows


def test_batches_without_weights_never_change() -> None:
    """A run that was begun with an earlier version goes on with the same batches."""
    recipe = nano_recipe(batch=8, clip_share=0.25, seed=7)
    assert rows_of(recipe, PICTURES, 5) == [7, 23, 12, 15, 1, 6, 37, 70]
    assert rows_of(recipe, PICTURES, 11) == [22, 3, 8, 14, 13, 5, 69, 43]


@given(st.integers(2, 300), st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_shares_follow_the_weights(batch: int, weights: list[float]) -> None:
    shares = batch_shares(batch, tuple(weights))
    assert sum(shares) == batch
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - batch * weight / sum(weights)) < 1


def test_weights_mix_the_sources(tmp_path: Path) -> None:
    source = np.array([0] * 20 + [1] * 4 + [2] * 6)
    pictures = replace(PICTURES, source=source)
    recipe = nano_recipe(batch=8, weights=(5, 1, 2))
    item_of_row = np.repeat(np.arange(30), PICTURES.count)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for step in range(12):
        items = item_of_row[rows_of(recipe, pictures, step)].tolist()
        assert len(set(items)) == 8 and np.bincount(source[items]).tolist() == [5, 1, 2]
        assert items == item_of_row[rows_of(recipe, pictures, step)].tolist()
        for item in items:
            seen[int(source[item])].append(item)
    for number, items in seen.items():  # whole epochs of each source: every item equally often
        counts = np.bincount(items, minlength=30)[source == number]
        assert (counts == counts[0]).all()
    assert pretrain(replace(recipe, steps=1), pictures, tmp_path / "run").name == "step-00000001"


@pytest.mark.parametrize(
    ("weights_given", "source", "told"),
    [
        ((1.0,), None, "cache does not say"),
        ((1.0,), [0] * 24 + [1] * 6, "one number for each source"),
        ((100.0, 1.0), [0] * 24 + [1] * 6, "source 2 gives 0 of the 8 items"),
        ((1.0, 9.0), [0] * 24 + [1] * 6, "source 2 gives 7 of the 8 items of a batch, and it holds 6"),
        ((1.0, 1.0), [0] * 30, "source 2 gives 4 of the 8 items of a batch, and it holds 0"),
    ],
)
def test_weights_that_cannot_be_kept_are_refused(
    weights_given: tuple[float, ...], source: list[int] | None, told: str
) -> None:
    pictures = replace(PICTURES, source=None if source is None else np.array(source))
    with pytest.raises(TrainingError, match=told):
        rows_of(nano_recipe(batch=8, weights=weights_given), pictures, 0)


def test_too_few_items_stop_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="A batch needs 30 items, the sources hold 24"):
        pretrain(nano_recipe(batch=30, clip_share=0.0), PICTURES, tmp_path / "run")


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(TrainingError, match=f"The device '{device}' cannot be used here"):
        pretrain(nano_recipe(), PICTURES, tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_the_strongest_recipe_runs(tmp_path: Path) -> None:
    strong = dict.fromkeys(("image_view1", "image_view2", "frame_view1", "frame_view2"), Augmentation())
    recipe = nano_recipe(steps=2, objective=Objective(mask_ratio=0.75), **strong)
    assert pretrain(recipe, PICTURES, tmp_path / "run").is_dir()
    assert MILD != Augmentation() and step_name(2) == "step-00000002"


def test_a_process_killed_outright_is_resumed(tmp_path: Path) -> None:
    """SIGKILL, the real thing: no handler runs, no buffer is flushed."""
    folder, run = write_pictures(tmp_path / "media", 8), tmp_path / "run"
    command = [sys.executable, "-m", "vicmae", "pretrain", "retrieval", str(folder), "-o", str(run), "--device", "cpu"]
    settings = {"size": 32, "batch": 4, "steps": 100_000, "checkpoint_steps": 1, "warmup_steps": 2}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def words(**changes: int) -> list[str]:
        return [w for name, value in {**settings, **changes}.items() for w in ("--set", f"{name}={value}")]

    with subprocess.Popen([*command, *words()], env=environment, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (run / "step-00000002").is_dir():
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    reached = int(max(p.name for p in run.glob("step-*")).removeprefix("step-"))
    done = subprocess.run(
        [*command, "--resume", *words(steps=reached + 1)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == run / step_name(reached + 1)
    assert logged(run)[-1]["step"] == reached + 1
    assert not [p for p in run.glob(".step-*")], "what was half written when the power went off is gone"


def test_the_numbers_of_the_first_version_stay(tmp_path: Path) -> None:
    """A run begun with an older version goes on with this one: recorded before batches could be split."""
    told: list[Progress] = []
    pretrain(nano_recipe(contrast_from=0.2), PICTURES, tmp_path / "run", report=told.append)
    recorded = [0.568043, 0.567784, 2.060494, 2.251160, 2.977861, 2.928084]
    assert [p.loss for p in told] == pytest.approx(recorded, rel=1e-3)


def test_a_checkpoint_of_the_first_version_is_resumed(tmp_path: Path) -> None:
    kill_at(5, tmp_path / "run", nano_recipe())
    file = tmp_path / "run" / "step-00000004" / "trainer.pt"
    trainer = torch.load(file, weights_only=True)
    for name in ("heads", "contrast_ramp", "sync_batchnorm", "accumulate", "precision", "compile", "shard"):
        del trainer["recipe"][name]
    assert set(trainer) == {"step", "optimiser", "recipe"}
    torch.save(trainer, file)
    resumed = pretrain(nano_recipe(), PICTURES, tmp_path / "run", resume=True)
    assert same(weights(resumed), weights(pretrain(nano_recipe(), PICTURES, tmp_path / "whole")))


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"precision": "fp16"}, {"heads": "predictor-target"}])
def test_other_precisions_and_heads_train_and_resume(tmp_path: Path, changes: dict[str, str]) -> None:
    recipe = nano_recipe(**changes)
    whole = pretrain(recipe, PICTURES, tmp_path / "whole")
    kill_at(3, tmp_path / "killed", recipe)
    assert same(weights(whole), weights(pretrain(recipe, PICTURES, tmp_path / "killed", resume=True)))
    plain = pretrain(nano_recipe(), PICTURES, tmp_path / "plain")
    of_it, of_plain = (np.array([line["reconstruction"] for line in logged(r.parent)]) for r in (whole, plain))
    np.testing.assert_allclose(of_it, of_plain, rtol=0.05)
    assert load_encoder(whole.parent).config == NANO


def test_accumulated_steps_see_the_same_pictures(tmp_path: Path) -> None:
    """Without contrast, whose negatives are fewer, passes add up to the step that one pass makes."""
    quiet = {"objective": Objective(contrast_weight=0.0), "batch": 8}
    for name, accumulate in (("one", 1), ("four", 4)):
        pretrain(nano_recipe(**quiet, accumulate=accumulate), PICTURES, tmp_path / name)
    one, four = (np.array([line["reconstruction"] for line in logged(tmp_path / n)]) for n in ("one", "four"))
    np.testing.assert_allclose(one, four, rtol=1e-4)
    assert {line["pairs_per_contrast"] for line in logged(tmp_path / "four")} == {2}
    assert all(0 <= line["waiting"] <= 1 for line in logged(tmp_path / "four"))


def test_pictures_and_events_are_written(tmp_path: Path) -> None:
    pretrain(nano_recipe(steps=4, picture_steps=2), PICTURES, tmp_path / "run")
    drawn = sorted((tmp_path / "run" / "pictures").iterdir())
    assert [p.name for p in drawn] == ["step-00000002.png", "step-00000004.png"]
    with Image.open(drawn[0]) as picture:
        assert picture.size == (3 * 32, 8 * 32)
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = events.EventAccumulator(str(tmp_path / "run"))
    read.Reload()
    assert [e.step for e in read.Scalars("loss")] == [1, 2, 3, 4]


def test_a_disk_that_refuses_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written: Not a directory. Name a folder that can be written"):
        pretrain(nano_recipe(), PICTURES, tmp_path / "file" / "run")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # a real refusal, at a real write
    try:
        with pytest.raises(StorageError, match="run cannot be written: .*Free some space, then start again"):
            pretrain(nano_recipe(), PICTURES, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [p for p in (tmp_path / "run").iterdir() if p.is_dir()], "nothing half written is left"
    assert pretrain(nano_recipe(), PICTURES, tmp_path / "run", resume=True).is_dir()
