"""vicmae.training.finetune.loop and its batches: learns, goes on where it was killed, refuses what it cannot do."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import NANO, free_port, nano, nano_encoder
from made_tuning import CLASSES, made_task, nano_tuning, nano_video_tuning
from safetensors.torch import load_file
from timm.data import Mixup
from torch.multiprocessing.spawn import spawn

from vicmae.errors import CorruptMedia, TrainingError
from vicmae.model.checkpoints import load_encoder, save_model
from vicmae.model.classifier import load_classifier
from vicmae.model.config import SIZES
from vicmae.model.video import VideoEncoder
from vicmae.training.distributed import joined
from vicmae.training.finetune import ImageTuning, judge
from vicmae.training.finetune.batches import items_of_step, read_batches, steps_per_epoch
from vicmae.training.finetune.data import Task, Wanted
from vicmae.training.finetune.loop import Progress, build_classifier, finetune, mix

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
RECIPES = {"image": nano_tuning(), "video": nano_video_tuning()}


class Killed(Exception):
    """Stands for the power going off."""


def task_of(recipe: ImageTuning) -> Task:
    return made_task(frames=8 if hasattr(recipe, "frames") else 1)


def run_finetuning(recipe: ImageTuning, run: Path, task: Task | None = None, **more: Any) -> Path:
    task = task or task_of(recipe)
    return finetune(recipe, task, build_classifier(recipe, "none:nano", task.classes), run, **more)


def logged(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("items_per_second", "waiting")} for line in lines]


def assert_same_weights(a: Path, b: Path) -> None:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (a, b))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("kind", RECIPES)
def test_two_colours_are_told_apart(tmp_path: Path, kind: str) -> None:
    recipe = replace(RECIPES[kind], epochs=12, mixup=0.0, cutmix=0.0, rand_augment="", checkpoint_steps=100)
    task = task_of(recipe)
    model = build_classifier(recipe, "none:nano", task.classes)
    before = judge(model, task.test, recipe, "cpu").top1
    last = finetune(recipe, task, model, tmp_path / "run")
    scores = judge(model, task.test, recipe, "cpu")
    assert before <= 0.5 and scores.top1 == 1.0 and scores.tested == 6
    assert logged(tmp_path / "run")[-1]["loss"] < 0.8 * logged(tmp_path / "run")[0]["loss"]
    loaded, notes = load_classifier(tmp_path / "run")
    assert notes["kind"] == kind and loaded.classes == CLASSES
    assert judge(loaded, task.test, recipe, "cpu") == scores
    assert last.name == f"step-{12 * steps_per_epoch(12, recipe):08d}"


def one_of_two(index: int, port: int, out: str) -> None:
    """What torchrun starts: the same call in each process."""
    SIZES["nano"] = NANO
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update({**meeting, "RANK": str(index), "LOCAL_RANK": str(index)})
    with joined("cpu"):
        for kind, recipe in RECIPES.items():
            longer = replace(recipe, epochs=12, mixup=0.0, cutmix=0.0, rand_augment="", checkpoint_steps=100)
            task = task_of(longer)
            model = build_classifier(longer, "none:nano", task.classes)
            finetune(longer, task, model, Path(out) / kind)
            torch.save(model.state_dict(), Path(out) / f"{kind}-{index}.pt")


def test_two_processes_learn_as_one_network(tmp_path: Path) -> None:
    spawn(one_of_two, (free_port(), str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    for kind, recipe in RECIPES.items():
        first, second = (torch.load(tmp_path / f"{kind}-{i}.pt", weights_only=True) for i in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first), kind
        model, _ = load_classifier(tmp_path / kind)
        assert judge(model, task_of(recipe).test, recipe, "cpu").top1 == 1.0


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("killed_at", [1, 3])
def test_a_killed_and_resumed_run_equals_one_that_was_not(tmp_path: Path, kind: str, killed_at: int) -> None:
    def kill(now: Progress) -> None:
        if now.step == killed_at:
            raise Killed

    recipe = RECIPES[kind]
    whole = run_finetuning(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        run_finetuning(recipe, tmp_path / "killed", report=kill)
    resumed = run_finetuning(recipe, tmp_path / "killed", resume=True)
    assert_same_weights(whole, resumed)
    assert logged(tmp_path / "whole") == logged(tmp_path / "killed")
    with pytest.raises(TrainingError, match="Add --resume"):
        run_finetuning(recipe, tmp_path / "whole")


def test_processes_that_read_change_nothing(tmp_path: Path) -> None:
    alone = run_finetuning(nano_tuning(epochs=1), tmp_path / "alone")
    helped = run_finetuning(nano_tuning(epochs=1, workers=2), tmp_path / "helped")
    assert_same_weights(alone, helped)


def test_accumulated_passes_give_the_step_of_one(tmp_path: Path) -> None:
    calm = {"epochs": 1, "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0, "dropout": 0.0, "checkpoint_steps": 1}
    one = run_finetuning(nano_tuning(**calm), tmp_path / "one")
    two = run_finetuning(nano_tuning(**calm, accumulate=2), tmp_path / "two")
    for name, value in load_file(one / "model.safetensors").items():
        torch.testing.assert_close(load_file(two / "model.safetensors")[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_with_clipped_gradients_learns(tmp_path: Path, precision: str) -> None:
    recipe = nano_tuning(precision=precision, clip_gradient=1.0, epochs=8, mixup=0.0, cutmix=0.0, rand_augment="")
    run_finetuning(recipe, tmp_path / "run")
    assert logged(tmp_path / "run")[-1]["loss"] < logged(tmp_path / "run")[0]["loss"]


def test_a_loss_that_is_no_number_stops(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) at step \d+, no number\. .* smaller base_rate"):
        run_finetuning(nano_tuning(base_rate=1e30, epochs=20), tmp_path / "run")


def test_another_network_is_not_resumed(tmp_path: Path) -> None:
    run_finetuning(nano_tuning(epochs=1), tmp_path / "run")
    with pytest.raises(TrainingError, match="was begun with feature mean, not cls"):
        run_finetuning(nano_tuning(feature="cls"), tmp_path / "run", resume=True)
    with pytest.raises(TrainingError, match="run was begun with another network or other classes"):
        task = made_task()
        model = build_classifier(nano_tuning(), "none:nano", ("a", "b", "c"))
        finetune(nano_tuning(), task, model, tmp_path / "run", resume=True)


def test_it_starts_from_a_checkpoint_at_any_size(tmp_path: Path) -> None:
    save_model(nano_encoder(seed=3), tmp_path / "nano.safetensors")
    start = str(tmp_path / "nano.safetensors")
    model = build_classifier(nano_tuning(size=0), start, CLASSES)
    assert model.trunk.spec == nano_encoder().spec
    name = "blocks.1.mlp.fc1.weight"
    assert torch.equal(model.trunk.state_dict()[name], nano_encoder(seed=3).state_dict()[name])
    assert build_classifier(nano_tuning(size=64, fit="crop"), start, CLASSES).trunk.spec.size == 64
    assert isinstance(build_classifier(nano_video_tuning(), start, CLASSES).trunk, VideoEncoder)
    last = finetune(nano_tuning(epochs=1), made_task(), build_classifier(nano_tuning(), start, CLASSES), tmp_path / "r")
    assert load_encoder(last).config.name == "nano"


def test_starts_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="for an untrained encoder say none:SIZE"):
        build_classifier(nano_tuning(), "none", CLASSES)
    with pytest.raises(TrainingError, match="--set size=224"):
        build_classifier(nano_tuning(size=0), "none:nano", CLASSES)
    with pytest.raises(TrainingError, match="size is 33; nano needs a positive multiple of 8"):
        build_classifier(nano_tuning(size=33), "none:nano", CLASSES)
    with pytest.raises(TrainingError, match="a pass has 3. Set batch to a multiple of 2"):
        run_finetuning(nano_tuning(batch=3), tmp_path / "run")


def test_every_epoch_sees_every_item_as_often_as_it_is_repeated() -> None:
    recipe = nano_video_tuning(batch=6)
    seen = np.concatenate([items_of_step(9, recipe, step) for step in range(2 * steps_per_epoch(9, recipe))])
    assert set(Counter(seen.tolist()).values()) == {4}
    assert (seen[::2] == seen[1::2]).all(), "clips of one video stand side by side"
    assert list(items_of_step(3, nano_tuning(batch=8), 0)[:3]) != [0, 0, 0], "a batch may be larger than the data"


def test_repeated_clips_differ() -> None:
    recipe, task = nano_video_tuning(), made_task(frames=8)
    spec = nano_encoder().spec
    (batch,) = read_batches(task.train, recipe, spec, np.arange(8), 0, 1, pinned=False)
    assert batch.pictures.shape == (8, 4, 3, 32, 32)
    assert batch.targets[0] == batch.targets[1] and not torch.equal(batch.pictures[0], batch.pictures[1])


class SomeBroken:
    """The items of a task, of which some cannot be decoded."""

    def __init__(self, task: Task, broken: set[int]) -> None:
        self.names, self.targets, self.of, self.broken = task.train.names, task.train.targets, task.train, broken

    def frames(self, item: int, wanted: Wanted) -> Any:
        if item in self.broken:
            raise CorruptMedia("It is broken.")
        return self.of.frames(item, wanted)


def test_broken_items_are_replaced_and_many_stop(tmp_path: Path) -> None:
    task = made_task(items=40)
    few = replace(task, train=SomeBroken(task, {3, 17}))
    run_finetuning(nano_tuning(epochs=1), tmp_path / "few", few)
    assert logged(tmp_path / "few")[-1]["bad"] == 2
    with pytest.raises(TrainingError, match="of 40 items cannot be decoded, more than 5%. .* The first: .*broken"):
        run_finetuning(nano_tuning(epochs=1), tmp_path / "many", replace(task, train=SomeBroken(task, {3, 17, 30})))
    with pytest.raises(TrainingError, match="20 items in a row cannot be decoded"):
        run_finetuning(nano_tuning(), tmp_path / "all", replace(task, train=SomeBroken(task, set(range(40)))))


def test_mixing_treats_all_frames_of_a_clip_alike() -> None:
    clips = torch.rand(4, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(1, 5, 1, 1, 1)
    for mixup, cutmix in ((1.0, 0.0), (0.0, 1.0)):
        np.random.seed(3)
        before = clips.clone()
        mixed, soft = mix(Mixup(mixup, cutmix, num_classes=2), before, torch.tensor([0, 1, 0, 1]))
        assert not torch.equal(mixed, clips)
        assert all(torch.equal(mixed[:, 0], mixed[:, t]) for t in range(5))
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(4))
