"""How fast is the training loop against the plain one of the public code, in one run?

    python benchmarks/training.py [--model tiny] [--size 96] [--batch 128] [--seconds 20] [--rounds 3] [--device cpu]
                                  [--precision bf16] [--compile] [--processes 2]

The plain loop, as the public code trains: float32, the two views one after the other through the network, every
picture a JPEG that is decoded and augmented on its own in the workers of a DataLoader, once for each view. Its second
form reads decoded pictures, to tell apart what decoding costs. Ours: pictures decoded once, before the run, read ahead,
augmented in batches on the device; both views in one pass; with the precision and compilation asked for, in one
process and, on a CPU, in as many as there are cores (as `torchrun` starts them). All train the same network on the same
made pictures, each in a process of its own, in turns; a figure is the median of the turns.

Prints samples/s (two of a pair), the ratio, the share of the measured matrix peak (a large product in the same
precision) that the network's matrix products make, and the share of time the device waits for data; writes
benchmarks/results/training.json.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from vicmae.model.losses import contrastive_loss, patchify
from vicmae.model.ranks import rank, world_size
from vicmae.model.vicmae import Objective, ViCMAE
from vicmae.training.distributed import joined
from vicmae.training.memory import keep_freed_memory
from vicmae.training.optim import make_optimiser
from vicmae.training.pretrain import (
    DTYPES,
    Batch,
    build_model,
    flops_per_pair,
    make_learning,
    read_ahead,
    split_rows,
    train_step,
)
from vicmae.training.recipe import Recipe, load_recipe
from vicmae.training.sources import Pictures

RESULTS = Path(__file__).parent / "results"
MEASURES = {
    "plain": "plain fp32, JPEG files",
    "plain-decoded": "plain fp32, decoded pictures",
    "ours": "ours",
    "ours-processes": "ours, {} processes",
}
WARM_UP_STEPS = 3
LONGEST = 1_000_000
PHOTO = (426, 320)  # short side 320, quality 90: how the authors keep their videos' frames (PAPER 6)
PEAK_SIDE = 4096


def made_pictures(side: tuple[int, int], count: int) -> NDArray[np.uint8]:
    """(count, height, width, 3) uint8: smooth fields with some noise, the same in all loops."""
    dice = np.random.default_rng(0)
    coarse = dice.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(c).resize(side, Image.Resampling.BICUBIC), np.int16) for c in coarse]
    noise = dice.integers(-8, 9, (side[1], side[0], 3), dtype=np.int16)
    return np.stack([np.clip(s + noise, 0, 255).astype(np.uint8) for s in smooth])


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=90)
    return out.getvalue()


class TwoViews(Dataset[tuple[Tensor, Tensor]]):
    """Each picture augmented twice on its own, as the released script does (PAPER 1.3, its first view)."""

    def __init__(self, pictures: list[Image.Image] | list[bytes], size: int) -> None:
        from torchvision import transforms

        self.pictures = pictures
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
        first, second = (self._read(self.pictures[index % len(self.pictures)]) for _ in range(2))
        return self.augment(first), self.augment(second)

    def _read(self, picture: Image.Image | bytes) -> Image.Image:
        return Image.open(BytesIO(picture)).convert("RGB") if isinstance(picture, bytes) else picture


def one_view(model: ViCMAE, pictures: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    """The public code's pass over one view: every patch embedded, every patch predicted, then masked."""
    noise = torch.rand(len(pictures), model.spec.tokens, device=pictures.device)
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    kept = int(model.spec.tokens * (1 - objective.mask_ratio))
    tokens = model.patch_embed(pictures) + model.pos_embed[:, 1:]
    visible = tokens.gather(1, order[:, :kept, None].expand(-1, -1, tokens.shape[2]))
    latent = model._transform(visible)
    predicted = model.predict(model.decode(latent, restore))
    target = patchify(pictures, model.config.patch)
    target = (target - target.mean(dim=-1, keepdim=True)) / (target.var(dim=-1, keepdim=True) + 1e-6).sqrt()
    mask = (restore >= kept).float()
    loss = (functional.mse_loss(predicted, target, reduction="none").mean(dim=-1) * mask).sum() / mask.sum()
    projected: Tensor = model.projector(latent[:, 1:].mean(dim=1))
    return loss, projected


def plain_steps(
    recipe: Recipe, pictures: list[Image.Image] | list[bytes], device: str, workers: int
) -> Iterator[float]:
    """Trains; after each step yields the seconds it waited for data."""
    model = build_model(recipe).to(device).train()
    optimiser = make_optimiser(model, recipe.weight_decay)
    optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = 1e-5
    loader = iter(DataLoader(TwoViews(pictures, recipe.size), recipe.batch, num_workers=workers))
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
    rows = split_rows(recipe.batch, recipe.accumulate, rank(), world_size())
    coming: Iterator[tuple[int, Batch, float]] = read_ahead(recipe, pictures, 0, rows, device.startswith("cuda"))
    for step, batch, waited_seconds in coming:
        train_step(trainer, recipe, batch, step)
        yield waited_seconds


def measure(steps: Iterator[float], pairs: int, seconds: float) -> dict[str, float]:
    """Of as many steps as fill the seconds after the warm-up; several processes take the same number of steps."""
    for _ in range(WARM_UP_STEPS - 1):
        next(steps)
    began = perf_counter()
    next(steps)
    wanted = torch.tensor(max(1, round(seconds / (perf_counter() - began))))
    if world_size() > 1:
        dist.broadcast(wanted, 0)
    began = perf_counter()
    waited = sum(next(steps) for _ in range(int(wanted)))
    passed = perf_counter() - began
    return {"pairs_per_second": int(wanted) * pairs / passed, "waiting": waited / passed, "steps": int(wanted)}


def matrix_peak(device: str, precision: str) -> float:
    """FLOP/s of the best of some large matrix products."""
    a = torch.randn(PEAK_SIDE, PEAK_SIDE, device=device, dtype=DTYPES[precision])
    best = 0.0
    for _ in range(5):
        began = perf_counter()
        (a @ a)[0, 0].item()
        best = max(best, 2 * PEAK_SIDE**3 / (perf_counter() - began))
    return best


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    return replace(
        load_recipe("code", []),
        model=arguments.model,
        size=arguments.size,
        batch=arguments.batch,
        steps=LONGEST,
        precision=arguments.precision,
        compile=arguments.compile,
    )


def measure_one(which: str, arguments: argparse.Namespace) -> dict[str, float]:
    recipe, count = recipe_of(arguments), max(256, arguments.batch)
    kept_side = (arguments.size * 4 // 3, arguments.size * 4 // 3)
    if which == "plain":
        files = [as_jpeg(picture) for picture in made_pictures(PHOTO, count)]
        steps = plain_steps(recipe, files, arguments.device, arguments.workers)
    elif which == "plain-decoded":
        decoded = [Image.fromarray(picture) for picture in made_pictures(kept_side, count)]
        steps = plain_steps(recipe, decoded, arguments.device, arguments.workers)
    else:
        steps = our_steps(recipe, made_pictures(kept_side, count), arguments.device)
    return measure(steps, arguments.batch, arguments.seconds)


def one_of_several(index: int, arguments: argparse.Namespace, port: int) -> None:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(arguments.processes)}
    meeting["LOCAL_WORLD_SIZE"] = meeting["WORLD_SIZE"]  # by which each process takes its share of the cores
    os.environ.update({**meeting, "RANK": str(index), "LOCAL_RANK": str(index)})
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // arguments.processes))
    with joined(arguments.device):
        told = measure_one("ours", arguments)
    if index == 0:
        arguments.answer.write_text(json.dumps(told))


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
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, for each loop and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", help="of our loop: fp32, bf16, fp16")
    parser.add_argument("--compile", action="store_true", help="compile our loop")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of the plain loop's DataLoader")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="processes of our loop on a CPU")
    parser.add_argument("--only", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only is None:
        compare(arguments)
    elif arguments.only == "ours-processes":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        spawn(one_of_several, (arguments, port), nprocs=arguments.processes)  # type: ignore[no-untyped-call]
    else:
        arguments.answer.write_text(json.dumps(measure_one(arguments.only, arguments)))


def compare(arguments: argparse.Namespace) -> None:
    names = [which for which in MEASURES if which != "ours-processes" or runs_in_several(arguments)]
    told: dict[str, list[dict[str, float]]] = {which: [] for which in names}
    for _ in range(arguments.rounds):
        for which in names:
            told[which].append(in_own_process(which, sys.argv[1:]))
    results = {
        which: {figure: statistics.median(turn[figure] for turn in turns) for figure in turns[0]}
        for which, turns in told.items()
    }
    peak = matrix_peak(arguments.device, arguments.precision)
    recipe = recipe_of(arguments)
    flops = flops_per_pair(build_model(recipe), recipe)
    title = f"{arguments.model} at {arguments.size}, batch {arguments.batch}, {arguments.device} {arguments.precision}"
    table = Table("loop", "samples/s", "ratio", "of the matrix peak", "waiting for data", title=title)
    for which, result in results.items():
        rate = result["pairs_per_second"]
        result["ratio"] = rate / results["plain"]["pairs_per_second"]
        result["of_peak"] = rate * flops / peak
        row = [f"{2 * rate:.0f}", f"{result['ratio']:.2f}", f"{result['of_peak']:.0%}", f"{result['waiting']:.1%}"]
        table.add_row(MEASURES[which].format(arguments.processes), *row)
    Console().print(table)
    print(f"matrix peak {peak / 1e9:.0f} GFLOP/s; {flops / 1e9:.2f} GFLOP a pair")
    settings = {k: v for k, v in vars(arguments).items() if k not in ("only", "answer")}
    report: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        **settings,
        "matrix_peak_flops": peak,
        "results": results,
        "turns": told,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training.json").write_text(json.dumps(report, indent=2) + "\n")


def runs_in_several(arguments: argparse.Namespace) -> bool:
    return bool(arguments.device == "cpu" and arguments.processes > 1)


if __name__ == "__main__":
    main()
