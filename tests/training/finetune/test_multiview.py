"""vicmae.training.finetune.multiview: probabilities of views are averaged; scores count what could be tested."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import nano, nano_encoder
from made_tuning import CLASSES, made_task, nano_tuning, nano_video_tuning

from vicmae.errors import CorruptMedia, TrainingError
from vicmae.model.classifier import Classifier
from vicmae.model.video import inflate
from vicmae.training.finetune.multiview import judge, probabilities, rank_of, views_of

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")


def classifier(classes: tuple[str, ...] = CLASSES, frames: int = 0) -> Classifier:
    trunk = inflate(nano_encoder(), frames, 2) if frames else nano_encoder()
    model = Classifier(trunk, classes).eval()
    torch.nn.init.normal_(model.head.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    return model


def test_views_of_a_video_are_clips_times_crops() -> None:
    recipe, task = nano_video_tuning(test_clips=2, test_crops=3), made_task(frames=16)
    views = views_of(task.test, 0, recipe, classifier(frames=4))
    assert views.shape == (6, 4, 32, 32, 3) and views.dtype == torch.uint8
    assert not torch.equal(views[0], views[3]), "the clips begin at different seconds"
    assert not torch.equal(views[0], views[1]), "the crops stand at different places"
    assert views_of(task.test, 0, nano_tuning(), classifier()).shape == (1, 32, 32, 3)


def test_probabilities_are_the_mean_of_the_views(monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(frames=4)
    views = views_of(made_task(frames=16).test, 1, nano_video_tuning(test_clips=3, test_crops=2), model)
    with torch.inference_mode():
        each = [model(model.trunk.normalise(view[None])).softmax(dim=1)[0] for view in views]
    together = torch.stack(each).mean(dim=0)
    torch.testing.assert_close(probabilities(model, views, "cpu"), together)
    monkeypatch.setattr("vicmae.training.finetune.multiview.VIEWS_AT_ONCE", 8)
    torch.testing.assert_close(probabilities(model, views, "cpu"), together)


def test_a_video_among_pictures_and_a_picture_among_videos() -> None:
    assert judge(classifier(), made_task(frames=8).test, nano_tuning(), "cpu").tested == 6
    assert judge(classifier(frames=4), made_task(frames=1).test, nano_video_tuning(), "cpu").tested == 6


def test_rank_counts_what_comes_before_and_equals() -> None:
    scores = torch.tensor([0.1, 0.5, 0.2, 0.2])
    assert [rank_of(scores, i) for i in range(4)] == [3, 0, 2, 2]
    assert rank_of(torch.full((4,), float("nan")), 0) == 3


def test_top_five_is_told_when_it_means_something() -> None:
    many = classifier(tuple("abcdefgh"))
    scores = judge(many, made_task().test, nano_tuning(), "cpu").to_dict()
    assert set(scores) == {"top-1", "top-5"} and scores["top-1"] <= scores["top-5"]
    assert set(judge(classifier(), made_task().test, nano_tuning(), "cpu").to_dict()) == {"top-1"}


class Broken:
    """Items of which the first few cannot be decoded."""

    def __init__(self, of: Any, broken: int) -> None:
        self.names, self.targets, self.of, self.broken = of.names, of.targets, of, broken

    def frames(self, item: int, wanted: Any) -> Any:
        if item < self.broken:
            raise CorruptMedia("It is broken.")
        return self.of.frames(item, wanted)


def test_broken_items_are_left_out_and_many_stop() -> None:
    items = made_task(items=60).test
    told: list[int] = []
    scores = judge(classifier(), Broken(items, 1), nano_tuning(), "cpu", told.append)
    assert scores.tested == 29 and scores.bad == [("60", "It is broken.")] and told[-1] == 30
    with pytest.raises(TrainingError, match="2 of 30 items cannot be decoded, more than 5%"):
        judge(classifier(), Broken(items, 2), nano_tuning(), "cpu")


def test_testing_leaves_training_as_it_was() -> None:
    model = classifier().train()
    judge(model, made_task().test, replace(nano_tuning(), dropout=0.5), "cpu")
    assert model.training and np.isfinite(model.head.weight.detach().numpy()).all()
