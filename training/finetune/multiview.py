"""The test of a classifier: every item seen in several views, whose class probabilities are averaged (PAPER 3.3).

A view of a picture is the picture as the checkpoint fits it; views of a video are clips at several places, each in
several crops. Trains nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import MediaError, TrainingError
from ...model.classifier import Classifier
from ...model.ranks import rank, world_size
from ..distributed import mean_of_all
from ..sources import require_few_bad
from .data import Items
from .recipe import ImageTuning, VideoTuning
from .views import clips_of_test, crops_of_test, filled

VIEWS_AT_ONCE = 64  # pictures; of clips so many frames


@dataclass(frozen=True)
class Scores:
    """Shares of the tested items whose class comes first, and among the first five (None with fewer classes)."""

    top1: float
    top5: float | None
    tested: int
    views: int
    bad: list[tuple[str, str]]

    def to_dict(self) -> dict[str, float]:
        scores = {"top-1": self.top1} if self.top5 is None else {"top-1": self.top1, "top-5": self.top5}
        return {name: round(value, 4) for name, value in scores.items()}


def judge(
    model: Classifier, items: Items, recipe: ImageTuning, device: str, report: Callable[[int], None] | None = None
) -> Scores:
    """Tests all items; under several processes each tests its share, and all get the same scores.

    Items that cannot be decoded are left out and named (those of this process); more than 5 % stop the test.
    """
    was_training = model.training
    model.eval()
    hits = np.zeros(3)  # first, among the first five, tested
    bad: list[tuple[str, str]] = []
    mine = range(rank(), len(items.names), world_size())
    for done, item in enumerate(mine, start=1):
        try:
            pixels = views_of(items, item, recipe, model)
        except MediaError as error:
            bad.append((items.names[item], str(error)))
            require_few_bad(bad, max(len(mine), 1))
            continue
        place = rank_of(probabilities(model, pixels, device), int(items.targets[item]))
        hits += (place == 0, place < 5, 1)
        if report is not None:
            report(done)
    model.train(was_training)
    first, five, tested = (value * world_size() for value in mean_of_all(hits.tolist(), device))
    if not tested:
        raise TrainingError("Not one item of the test could be decoded.")
    views = recipe.test_clips * recipe.test_crops if isinstance(recipe, VideoTuning) else 1
    top5 = five / tested if len(model.classes) > 5 else None
    return Scores(first / tested, top5, round(tested), views, bad)


def views_of(items: Items, item: int, recipe: ImageTuning, model: Classifier) -> Tensor:
    """-> pixels (V, S, S, 3) uint8 of a picture's views, or (V, T, S, S, 3) of a video's."""
    spec = model.trunk.spec
    if not isinstance(recipe, VideoTuning):
        frames = items.frames(item, partial(_nth_clip, recipe, 0))
        return torch.from_numpy(crops_of_test(frames[:1], spec, recipe.test_share, 1)[:, 0])
    clips = []
    for number in range(recipe.test_clips):
        frames = items.frames(item, partial(_nth_clip, recipe, number))
        clips.append(crops_of_test(filled(frames, recipe.frames), spec, recipe.test_share, recipe.test_crops))
    return torch.from_numpy(np.concatenate(clips))


def _nth_clip(recipe: ImageTuning, number: int, duration: float) -> NDArray[np.float64]:
    return clips_of_test(recipe, duration)[number]


@torch.inference_mode()
def probabilities(model: Classifier, pixels: Tensor, device: str) -> Tensor:
    """pixels of V views, (V, S, S, 3) or (V, T, S, S, 3) uint8 -> (C,) the mean of their class probabilities."""
    frames = pixels.shape[1] if pixels.ndim == 5 else 1
    parts = torch.split(pixels, max(1, VIEWS_AT_ONCE // frames))
    views = [model(model.trunk.normalise(part.to(device))).float().softmax(dim=1) for part in parts]
    return torch.cat(views).mean(dim=0)


def rank_of(scores: Tensor, target: int) -> int:
    """How many classes come before the right one; of equals all, so that knowing nothing gains nothing."""
    return int((~(scores < scores[target])).sum()) - 1
