"""The batches of fine-tuning: which items a step sees, read and augmented in processes of their own.

All of it follows from (seed, step) alone, whatever the number of processes, so a run that is resumed sees what it
would have seen. An item that cannot be decoded is replaced by the next one, and told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...errors import MediaError, TrainingError
from ...media.spec import InputSpec
from .data import Items
from .recipe import ImageTuning, VideoTuning
from .views import augment, clip_seconds, filled, seed_of, training_transform

MOST_IN_A_ROW = 20  # items that cannot be decoded, one after the other
Key = tuple[int, int, int]  # step, row of the batch, item


@dataclass(frozen=True)
class Batch:
    """What a process holds of a step: pictures (M, 3, S, S) or clips (M, T, 3, S, S) float, normalised.

    targets (M,) int64; bad: (name, reason) of items that were replaced.
    """

    pictures: Tensor
    targets: Tensor
    bad: list[tuple[str, str]]

    def pin_memory(self) -> "Batch":
        """What a DataLoader calls, so that a GPU can fetch the tensors by itself."""
        return Batch(self.pictures.pin_memory(), self.targets.pin_memory(), self.bad)


def steps_per_epoch(items: int, recipe: ImageTuning) -> int:
    return -(-items * repeats_of(recipe) // recipe.batch)


def repeats_of(recipe: ImageTuning) -> int:
    return recipe.repeats if isinstance(recipe, VideoTuning) else 1


def items_of_step(items: int, recipe: ImageTuning, step: int) -> NDArray[np.int64]:
    """(batch,) items whose turn it is: one shuffled epoch after the other, each item `repeats` times in a row."""
    wanted = recipe.batch // repeats_of(recipe)
    places = np.arange(step * wanted, (step + 1) * wanted)
    orders = {e: np.random.default_rng([recipe.seed, e]).permutation(items) for e in np.unique(places // items)}
    chosen = np.array([orders[place // items][place % items] for place in places], np.int64)
    return chosen.repeat(repeats_of(recipe))


class Examples(Dataset[Any]):
    """Items by (step, row, item), each augmented as these three say."""

    def __init__(self, items: Items, recipe: ImageTuning, spec: InputSpec) -> None:
        self.items, self.recipe = items, recipe
        self.transform = training_transform(recipe, spec)

    def __getitem__(self, key: Key) -> tuple[Tensor, int, list[tuple[str, str]]]:
        step, row, item = key
        seed = seed_of(self.recipe.seed, step, row)
        generator = np.random.default_rng(seed)
        place, draws = generator.random(), generator.random(_frames(self.recipe))
        bad: list[tuple[str, str]] = []
        while len(bad) < MOST_IN_A_ROW:
            try:
                frames = self.items.frames(item, lambda d: clip_seconds(self.recipe, d, place, draws))
            except MediaError as error:
                bad.append((self.items.names[item], str(error)))
                item = (item + 1) % len(self.items.names)
                continue
            pictures = augment(filled(frames, _frames(self.recipe)), self.transform, seed)
            return (pictures if isinstance(self.recipe, VideoTuning) else pictures[0]), self.items.targets[item], bad
        raise TrainingError(f"{len(bad)} items in a row cannot be decoded. The first: {bad[0][0]}: {bad[0][1]}")


@dataclass(frozen=True)
class Keys:
    """The keys of each step from `start` to `steps`, of the rows that this process takes."""

    items: int
    recipe: ImageTuning
    rows: NDArray[np.int64]
    start: int
    steps: int

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.start, self.steps):
            chosen = items_of_step(self.items, self.recipe, step)
            yield [(step, int(row), int(chosen[row])) for row in self.rows]

    def __len__(self) -> int:
        return self.steps - self.start


def read_batches(
    items: Items, recipe: ImageTuning, spec: InputSpec, rows: NDArray[np.int64], start: int, steps: int, pinned: bool
) -> "DataLoader[Batch]":
    """The batches from `start` on. With `workers` 0 they are made when asked for, in the process that trains."""
    return DataLoader(
        Examples(items, recipe, spec),
        batch_sampler=Keys(len(items.names), recipe, rows.ravel(), start, steps),
        num_workers=recipe.workers,
        collate_fn=_together,
        pin_memory=pinned,
        multiprocessing_context="fork" if recipe.workers else None,  # the mapped cache is shared, not copied
    )


def _together(examples: list[tuple[Tensor, int, list[tuple[str, str]]]]) -> Batch:
    pictures, targets, bad = zip(*examples, strict=True)
    return Batch(torch.stack(pictures), torch.tensor(np.array(targets)), [b for some in bad for b in some])


def _frames(recipe: ImageTuning) -> int:
    return recipe.frames if isinstance(recipe, VideoTuning) else 1
