"""The batches of a run: which items and frames make the pairs of a step, and which of them this process reads.

All of it follows from (seed, step) alone, whatever the number of processes. Augmentation is not known here.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import TrainingError
from ..recipe import Recipe
from ..sources import Pictures
from ..views import pick_pair


@dataclass(frozen=True)
class Batch:
    """What one process holds of a step's N pairs.

    pixels   (2, M, K, K, 3) uint8: the two pictures of each of its pairs, passes one after the other
    rows     (M,) int64: their places in the batch
    is_clip  (N,) bool, of the whole batch
    items    (N,) int64, of the whole batch: their numbers
    """

    pixels: Tensor
    rows: Tensor
    is_clip: Tensor
    items: Tensor


def split_rows(batch: int, passes: int, rank: int = 0, ranks: int = 1) -> NDArray[np.int64]:
    """The rows (passes, batch / passes / ranks) of a batch that a process takes in each pass.

    A pass holds the same rows under any number of processes; images and clips spread over all.
    """
    if batch % (passes * ranks) or batch // (passes * ranks) < 2:
        raise TrainingError(
            f"A batch of {batch} cannot be split over {ranks} processes in {passes} passes: each needs the same number "
            f"of pairs, 2 at least. Set batch to a multiple of {passes * ranks}."
        )
    return np.stack([np.arange(batch)[i::passes][rank::ranks] for i in range(passes)])


def most_processes(batch: int, passes: int, cores: int) -> int:
    """The largest number of processes, `cores` at most, that a batch can be split over; see split_rows."""
    pairs = batch // passes
    return max(n for n in range(1, max(cores, 1) + 1) if pairs % n == 0 and (pairs // n >= 2 or n == 1))


def read_ahead(
    recipe: Recipe, pictures: Pictures, start: int, rows: NDArray[np.int64], pinned: bool
) -> Iterator[tuple[int, Batch, float]]:
    """(step, its batch, seconds waited for it) from `start` on, each read while the one before it is trained on.

    `pinned` puts the pixels where a GPU can fetch them by itself.
    """
    images, clips = np.flatnonzero(~pictures.is_clip), np.flatnonzero(pictures.is_clip)
    with ThreadPoolExecutor(1) as reader:

        def read(step: int) -> Batch:
            batch = read_batch(recipe, pictures, images, clips, step, rows)
            return replace(batch, pixels=batch.pixels.pin_memory()) if pinned else batch

        coming = reader.submit(read, start)
        for step in range(start, recipe.steps):
            began = time.monotonic()
            batch = coming.result()
            waited_seconds = time.monotonic() - began
            if step + 1 < recipe.steps:
                coming = reader.submit(read, step + 1)
            yield step, batch, waited_seconds


def read_batch(
    recipe: Recipe,
    pictures: Pictures,
    images: NDArray[np.int64],
    clips: NDArray[np.int64],
    step: int,
    rows: NDArray[np.int64] | None = None,
) -> Batch:
    """The pairs of one step, or those at `rows`: no item twice in a batch, so no pair is another's false negative."""
    items = items_of_step(recipe, pictures, images, clips, step)
    generator = np.random.default_rng([recipe.seed, step])
    pairs = [pick_pair(times_of(pictures, int(i)), generator, recipe.pair_window_seconds) for i in items]
    frames = pictures.first[items][:, None] + np.array(pairs, np.int64)
    mine = np.arange(recipe.batch) if rows is None else rows.ravel()
    pixels = np.asarray(pictures.data[frames[mine].T])
    is_clip = torch.from_numpy(pictures.is_clip[items])
    return Batch(torch.from_numpy(pixels), torch.from_numpy(mine), is_clip, torch.from_numpy(items))


def items_of_step(
    recipe: Recipe, pictures: Pictures, images: NDArray[np.int64], clips: NDArray[np.int64], step: int
) -> NDArray[np.int64]:
    """(batch,) the items of one step, of `images` and `clips` (item numbers), by weight or by share of clips."""
    if recipe.weights:
        return _weighted_items(recipe, pictures, step)
    clip_pairs = min(len(clips), round(recipe.batch * recipe.clip_share)) if len(images) else recipe.batch
    shares = ((images, recipe.batch - clip_pairs), (clips, clip_pairs))
    return np.concatenate([_turn(part, wanted, recipe.seed, step) for part, wanted in shares])


def _weighted_items(recipe: Recipe, pictures: Pictures, step: int) -> NDArray[np.int64]:
    """(batch,) the items whose turn it is in each source, as many of each as its weight says."""
    if pictures.source is None:
        raise TrainingError("The cache does not say which source an item is of. Remove it, or name another --cache.")
    if pictures.source.max() >= len(recipe.weights):
        raise TrainingError(f"weights are {recipe.weights}; expected one number for each source.")
    parts = []
    for number, wanted in enumerate(batch_shares(recipe.batch, recipe.weights)):
        items = np.flatnonzero(pictures.source == number)
        if not 1 <= wanted <= len(items):
            raise TrainingError(
                f"By its weight {recipe.weights[number]}, source {number + 1} gives {wanted} of the {recipe.batch} "
                f"items of a batch, and it holds {len(items)}. Set other weights or another batch."
            )
        parts.append(_turn(items, wanted, recipe.seed, step))
    return np.concatenate(parts)


def batch_shares(batch: int, weights: tuple[float, ...]) -> list[int]:
    """How many of `batch` items each weight gets: the whole parts, then one more for the largest remainders."""
    exact = np.array(weights) / sum(weights) * batch
    shares = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: batch - shares.sum()]] += 1
    return [int(share) for share in shares]


def times_of(pictures: Pictures, item: int) -> NDArray[np.float64]:
    """(T,) seconds of the frames of an item."""
    first = pictures.first[item]
    return pictures.seconds[first : first + pictures.count[item]]


def _turn(items: NDArray[np.int64], wanted: int, seed: int, step: int) -> NDArray[np.int64]:
    """The `wanted` items whose turn it is: epochs are shuffled anew, each item comes once in an epoch."""
    if wanted == 0:
        return items[:0]
    per_epoch = len(items) // wanted
    if per_epoch == 0:
        raise TrainingError(f"A batch needs {wanted} items, the sources hold {len(items)}. Set a smaller batch.")
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch, len(items)]).permutation(items)
    return order[place * wanted : (place + 1) * wanted]
