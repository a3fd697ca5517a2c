"""How fast is the training loop against the plain one of the public code, in one run?

    python benchmarks/training.py [--model tiny] [--size 96] [--batch 128] [--seconds 30] [--device cpu]
                                  [--precision bf16] [--compile]

The plain loop: float32, the two views one after the other through the network, every picture augmented on its own on
the CPU with torchvision's transforms in a DataLoader. Ours: both views in one pass, augmented in batches on the device,
read ahead, with the precision and compilation asked for. Both train the same network on the same made pictures, each
in a process of its own. Prints pairs/s (2 samples each), the ratio, and the share of time the device waits for data;
writes benchmarks/results/training.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vicmae.model.losses import contrastive_loss, reconstruction_loss
from vicmae.model.vicmae import Objective, ViCMAE
from vicmae.training.batches import Batch, read_ahead, split_rows
from vicmae.training.cli_common import keep_freed_memory
from vicmae.training.optim import make_optimiser
from vicmae.training.pretrain import build_model, make_learning, train_step
from vicmae.training.recipe import Recipe, load_recipe
from vicmae.training.sources import Pictures

RESULTS = Path(__file__).parent / "results"
MEASURES = {"plain": "plain fp32", "ours": "ours"}
WARM_UP_STEPS = 2
LONGEST = 1_000_000


def made_pictures(side: int, count: int) -> NDArray[np.uint8]:
    """(count, side, side, 3) uint8: coarse noise, the same in both loops."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
    return np.asarray(coarse.repeat(8, axis=1).repeat(8, axis=2))


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """Each picture augmented twice on its own, as the released script does (PAPER 1.3, its first view)."""

    def __init__(self, pixels: NDArray[np.uint8], size: int) -> None:
        from torchvision import transforms

        self.pixels = pixels
        self.augment = transforms.Compose(
            [
                transforms.RandomResizedCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
                transforms.RandomGrayscale(p=0.2),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                transforms.GaussianBlur(5, (0.1, 2.0)),
            ]
        )

    def __len__(self) -> int:
        return LONGEST

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = Image.fromarray(self.pixels[index % len(self.pixels)])
        return self.augment(picture), self.augment(picture)


def one_view(model: ViCMAE, pictures: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    noise = torch.rand(len(pictures), model.spec.tokens, device=pictures.device)
    latent, mask, restore = model.encode_masked(pictures, objective.mask_ratio, noise)
    loss = reconstruction_loss(model.decode(latent, restore), pictures, mask, model.config.patch, True)
    return loss, model.projector(latent[:, 1:].mean(dim=1))


def plain_steps(recipe: Recipe, pixels: NDArray[np.uint8], device: str, workers: int) -> Iterator[float]:
    """Trains; after each step yields the seconds it waited for data."""
    model = build_model(recipe).to(device).train()
    optimiser = make_optimiser(model, recipe.weight_decay)
    optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = 1e-5
    loader = iter(DataLoader(TwoViews(pixels, recipe.size), recipe.batch, num_workers=workers))
    while True:
        began = perf_counter()
        first, second = (view.to(device) for view in next(loader))
        waited_seconds = perf_counter() - began
        (loss1, projected1), (loss2, projected2) = (one_view(model, v, recipe.objective) for v in (first, second))
        contrast = contrastive_loss(projected1, projected2, recipe.objective.temperature)
        loss = recipe.objective.recon_weight * 0.5 * (loss1 + loss2) + recipe.objective.contrast_weight * contrast
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        float(loss.detach())
        yield waited_seconds


def our_steps(recipe: Recipe, pixels: NDArray[np.uint8], device: str) -> Iterator[float]:
    """Trains; after each step yields the seconds it waited for data."""
    keep_freed_memory()
    places = np.arange(len(pixels))
    pictures = Pictures(pixels, np.zeros(len(pixels)), places, np.ones_like(places), [])
    trainer = make_learning(build_model(recipe).to(device).train(), recipe, device)
    rows = split_rows(recipe.batch, recipe.accumulate)
    coming: Iterator[tuple[int, Batch, float]] = read_ahead(recipe, pictures, 0, rows, device.startswith("cuda"))
    for step, batch, waited_seconds in coming:
        train_step(trainer, recipe, batch, step)
        yield waited_seconds


def measure(steps: Iterator[float], pairs: int, seconds: float) -> dict[str, float]:
    for _ in range(WARM_UP_STEPS):
        next(steps)
    began, done, waited = perf_counter(), 0, 0.0
    while (passed := perf_counter() - began) < seconds or not done:
        waited += next(steps)
        done += 1
    passed = perf_counter() - began
    return {"pairs_per_second": done * pairs / passed, "waiting": waited / passed, "steps": done}


def in_own_process(which: str, words: list[str]) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("r") as answer:
        command = [sys.executable, __file__, *words, "--only", which, "--answer", answer.name]
        subprocess.run(command, check=True)
        told: dict[str, float] = json.loads(answer.read())
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring, for each loop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", help="of our loop: fp32, bf16, fp16")
    parser.add_argument("--compile", action="store_true", help="compile our loop")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of the plain loop's DataLoader")
    parser.add_argument("--only", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only is None:
        compare(arguments)
        return
    recipe = replace(
        load_recipe("code", []),
        model=arguments.model,
        size=arguments.size,
        batch=arguments.batch,
        steps=LONGEST,
        precision=arguments.precision,
        compile=arguments.compile,
    )
    pixels = made_pictures(arguments.size * 4 // 3 // 8 * 8, max(1024, arguments.batch))
    if arguments.only == "plain":
        steps = plain_steps(recipe, pixels, arguments.device, arguments.workers)
    else:
        steps = our_steps(recipe, pixels, arguments.device)
    arguments.answer.write_text(json.dumps(measure(steps, arguments.batch, arguments.seconds)))


def compare(arguments: argparse.Namespace) -> None:
    results = {which: in_own_process(which, sys.argv[1:]) for which in MEASURES}
    ratio = results["ours"]["pairs_per_second"] / results["plain"]["pairs_per_second"]
    title = f"{arguments.model} at {arguments.size}, batch {arguments.batch}, {arguments.device}"
    table = Table("loop", "samples/s", "waiting for data", "ratio", title=title)
    for which, name in MEASURES.items():
        told = results[which]
        of_it = f"{ratio:.2f}" if which == "ours" else "1"
        table.add_row(name, f"{2 * told['pairs_per_second']:.0f}", f"{told['waiting']:.1%}", of_it)
    Console().print(table)
    settings = {k: v for k, v in vars(arguments).items() if k not in ("only", "answer")}
    report: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        **settings,
        **results,
        "ratio": ratio,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
