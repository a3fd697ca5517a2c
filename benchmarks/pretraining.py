"""What does each part of ViC-MAE bring? Rivals and ablations from one start, on the same steps and pictures.

    python benchmarks/pretraining.py SOURCES… --eval FOLDER [--steps 400] [--batch 64] [--size 64] [--seeds 3]
                                     [--only vicmae mae …]

Each run begins with the same weights (of its seed), sees the same items in the same order, for the same steps, and is
then judged frozen, by the sets of FOLDER/index.csv: sets of train and test files by 10 nearest neighbours and by a
linear probe, sets of gallery and query files by R@1 and mean average precision. Prints mean and spread over the seeds;
writes benchmarks/results/pretraining.json and .png. A run that is finished is not done again (`--out`), so the
benchmark may be stopped at any time. Nothing of it is tuned for one method: the rate, the steps and the batch are those
of the preset `retrieval`, shortened.
"""

import argparse
import csv
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from helpers import omnimae
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from vicmae.errors import MediaError
from vicmae.export.torch_engine import TorchEngine
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import read_frames
from vicmae.media.spec import InputSpec
from vicmae.model.checkpoints import load_encoder
from vicmae.model.encoder import Encoder
from vicmae.model.vicmae import Pooling, pool
from vicmae.training.evaluate import CLIP_FRAMES_PER_SECOND, QUERY_SPLITS, Vectors, knn_accuracy, retrieval_scores
from vicmae.training.labelled import read_labelled
from vicmae.training.linear import linear_accuracy
from vicmae.training.memory import keep_freed_memory
from vicmae.training.pretrain import build_model, pretrain
from vicmae.training.recipe import Recipe, load_recipe
from vicmae.training.sources import Pictures, load_pictures
from vicmae.training.views import Augmentation

RESULTS = Path(__file__).parent / "results"
FEWEST_QUERIES = 20  # a set of fewer says too little
SPATIAL = {"colour": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0}
COLOUR = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
VIEWS = ("image_view1", "image_view2", "frame_view1", "frame_view2")
SHORT_GAP_SECONDS = 4 / 30  # the paper's gap of 4 frames (PAPER 2.3)


def weighing(recipe: Recipe, recon: float, contrast: float, **others: Any) -> Recipe:
    objective = replace(recipe.objective, recon_weight=recon, contrast_weight=contrast, **others)
    return replace(recipe, objective=objective)


def augmenting(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    views: dict[str, Augmentation] = {name: replace(getattr(recipe, name), **changes) for name in VIEWS}
    return replace(recipe, **views)  # type: ignore[arg-type]


def pooling(recipe: Recipe, kind: Pooling) -> Recipe:
    return replace(recipe, objective=replace(recipe.objective, pooling=kind))


@dataclass(frozen=True)
class Method:
    """A row of the table: what it is called, and what it changes in the common recipe."""

    title: str
    change: Callable[[Recipe], Recipe]


METHODS = {
    "vicmae": Method("ViC-MAE, weights of `retrieval` (0.5, 0.5)", lambda r: r),
    "vicmae-code": Method("ViC-MAE, weights of `code` (0.97, 0.03)", lambda r: weighing(r, 0.97, 0.03)),
    "mae": Method("MAE only (λ = 0)", lambda r: weighing(r, 1.0, 0.0)),
    "mae-own": Method(
        "MAE only, as MAE is trained (mask 0.75, no colour)",
        lambda r: augmenting(weighing(r, 1.0, 0.0, mask_ratio=0.75), SPATIAL),
    ),
    "contrastive": Method("contrastive only", lambda r: weighing(r, 0.0, 1.0)),
    "omnimae": Method("repeated-frame MAE (OmniMAE's manner)", lambda r: weighing(r, 1.0, 0.0)),
    "untrained": Method("untrained (the common start)", lambda r: r),
}
ABLATIONS = {
    "pool-max": Method("pooling: maximum", lambda r: pooling(r, "max")),
    "pool-gem": Method("pooling: generalised mean", lambda r: pooling(r, "gem")),
    "gap-0": Method("frame gap: none, one frame twice", lambda r: replace(r, pair_window_seconds=0.0)),
    "gap-short": Method("frame gap: 0.13 s", lambda r: replace(r, pair_window_seconds=2 * SHORT_GAP_SECONDS)),
    "colour-only": Method("augmentation: colour only", lambda r: augmenting(r, COLOUR)),
    "spatial-only": Method("augmentation: space only", lambda r: augmenting(r, SPATIAL)),
}


class PooledEngine(TorchEngine):
    """An encoder judged by the vector that its training pooled."""

    def __init__(self, encoder: Encoder, kind: Pooling) -> None:
        super().__init__(encoder, kind)
        self.kind: Pooling = kind

    @torch.inference_mode()
    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        tokens = self.encoder(self.encoder.normalise(torch.from_numpy(pixels)))[:, 1:]
        return functional.normalize(pool(tokens, self.kind), dim=1).numpy()


@dataclass(frozen=True)
class JudgingSet:
    """A set of labelled files, decoded: pixels (R, S, S, 3) uint8 of all frames, the rows of each sample, its label."""

    name: str
    retrieval: bool
    pixels: NDArray[np.uint8]
    starts: NDArray[np.int64]
    labels: NDArray[np.str_]
    asked: NDArray[np.bool_]


def read_sets(folder: Path, spec: InputSpec) -> list[JudgingSet]:
    with (folder / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sets = []
    for name in sorted({row["set"] for row in rows}):
        splits = [row["split"] for row in rows if row["set"] == name]
        if sum(split in QUERY_SPLITS for split in splits) >= FEWEST_QUERIES:
            sets.append(read_set(folder, name, "gallery" in splits, spec))
    return sets


def read_set(folder: Path, name: str, retrieval: bool, spec: InputSpec) -> JudgingSet:
    pixels, labels, asked = [], [], []
    for sample in read_labelled(folder, name, "group" if retrieval else "label"):
        try:
            frames = read_frames(sample.content, CLIP_FRAMES_PER_SECOND)
            pixels.append(np.concatenate([to_pixels(f, spec) for f in frames]))
        except MediaError as error:
            print(f"skipped {sample.name}: {error}")
            continue
        labels.append(sample.label)
        asked.append(sample.split in QUERY_SPLITS)
    starts = np.cumsum([0, *map(len, pixels)])[:-1]
    return JudgingSet(name, retrieval, np.concatenate(pixels), starts, np.array(labels), np.array(asked))


def judge(engine: TorchEngine, sets: list[JudgingSet]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for each in sets:
        sums = np.add.reduceat(engine.embed(each.pixels), each.starts, axis=0)
        vectors = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        known = Vectors(vectors[~each.asked], each.labels[~each.asked])
        queries = Vectors(vectors[each.asked], each.labels[each.asked])
        if each.retrieval:
            found = retrieval_scores(known, queries)
            scores |= {f"{each.name} R@1": found["R@1"], f"{each.name} mAP": found["mAP"]}
        else:
            linear = linear_accuracy(known, queries, epochs=90, rate=1e-2)
            scores |= {f"{each.name} 10-NN": knn_accuracy(known, queries, 10), f"{each.name} linear": linear["top-1"]}
    return scores


def one_run(name: str, recipe: Recipe, pictures: Pictures, sets: list[JudgingSet], folder: Path) -> dict[str, Any]:
    """Trains, judges, leaves no checkpoint."""
    began = monotonic()
    losses: list[float] = []
    if name == "untrained":
        encoder: Encoder = build_model(recipe)
    elif name == "omnimae":
        model = build_model(recipe)
        losses = list(omnimae.train(model, recipe, pictures))
        encoder = model
    else:
        shutil.rmtree(folder, ignore_errors=True)
        last = pretrain(recipe, pictures, folder, report=lambda now: losses.append(now.loss))
        encoder = load_encoder(last / "model.safetensors")
        shutil.rmtree(folder)
    seconds = monotonic() - began
    scores = judge(PooledEngine(encoder, recipe.objective.pooling), sets)
    return {"scores": scores, "train_seconds": seconds, "last_loss": float(np.mean(losses[-10:])) if losses else None}


def all_runs(
    arguments: argparse.Namespace, base: Recipe, pictures: Pictures, sets: list[JudgingSet]
) -> dict[str, list[dict[str, Any]]]:
    """{method: a result a seed}. Rivals of all seeds first, then the ablations."""
    key = hashlib.sha256(json.dumps([base.to_dict(), len(pictures), [s.name for s in sets]]).encode()).hexdigest()[:8]
    results: dict[str, list[dict[str, Any]]] = {}
    for group in (METHODS, ABLATIONS):
        for seed in range(arguments.seeds):
            for name, method in group.items():
                if arguments.only and name not in arguments.only:
                    continue
                done = arguments.out / f"{key}-{name}-{seed}.json"
                if not done.exists():
                    recipe = method.change(replace(base, seed=seed))
                    result = one_run(name, recipe, pictures, sets, arguments.out / f"{key}-{name}-{seed}")
                    aside = done.with_suffix(".partial")
                    aside.write_text(json.dumps(result, indent=1))
                    aside.rename(done)
                result = json.loads(done.read_text())
                results.setdefault(name, []).append(result)
                figures = ", ".join(f"{k} {v:.3f}" for k, v in result["scores"].items())
                print(f"{name}, seed {seed}, {result['train_seconds']:.0f} s: {figures}", flush=True)
    return results


def mean_and_spread(results: list[dict[str, Any]], score: str) -> tuple[float, float]:
    """Over the seeds: mean and (unbiased) standard deviation, 0 of one run."""
    values = np.array([result["scores"][score] for result in results])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def tell(results: dict[str, list[dict[str, Any]]], base: Recipe) -> None:
    """The table on the screen, and as Markdown for docs/benchmarks.md."""
    scores = list(next(iter(results.values()))[0]["scores"])
    title = f"{base.model} at {base.size}, {base.steps} steps of {base.batch} pairs"
    table = Table("method", "seeds", *scores, title=title)
    lines = [f"| method | seeds | {' | '.join(scores)} |", f"| --- | --- |{' --- |' * len(scores)}"]
    for name, of_method in results.items():
        figures = ["{:.3f} ± {:.3f}".format(*mean_and_spread(of_method, score)) for score in scores]
        row = [(METHODS | ABLATIONS)[name].title, str(len(of_method)), *figures]
        table.add_row(*row)
        lines.append(f"| {' | '.join(row)} |")
    Console().print(table)
    (RESULTS / "pretraining.md").write_text("\n".join(lines) + "\n")


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """One panel a score: a point a method with its spread; the dashed line is ViC-MAE."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scores = list(next(iter(results.values()))[0]["scores"])
    names = list(results)[::-1]
    figure, panels = pyplot.subplots(
        1, len(scores), figsize=(2 + 2.2 * len(scores), 1 + 0.35 * len(names)), sharey=True
    )
    for panel, score in zip(np.atleast_1d(panels), scores, strict=True):
        points = [mean_and_spread(results[name], score) for name in names]
        means, spreads = zip(*points, strict=True)
        panel.errorbar(means, range(len(names)), xerr=spreads, fmt="o", capsize=3, color="#1f5fa8")
        if "vicmae" in results:
            panel.axvline(mean_and_spread(results["vicmae"], score)[0], linestyle="--", linewidth=0.8, color="#999999")
        panel.set_title(score, fontsize=9)
        panel.grid(axis="x", alpha=0.3)
    np.atleast_1d(panels)[0].set_yticks(range(len(names)), [(METHODS | ABLATIONS)[name].title for name in names])
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="as for vicmae pretrain")
    parser.add_argument("--eval", type=Path, required=True, help="folder with an index.csv of labelled sets")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[*METHODS, *ABLATIONS])
    parser.add_argument("--out", type=Path, default=RESULTS / "pretraining", help="finished runs, decoded pictures")
    arguments = parser.parse_args()
    keep_freed_memory()
    base = replace(
        load_recipe("retrieval", []),
        model=arguments.model,
        size=arguments.size,
        batch=arguments.batch,
        steps=arguments.steps,
        warmup_steps=arguments.steps // 10,
        checkpoint_steps=arguments.steps,
        keep_checkpoints=1,
        picture_steps=0,
    )
    for folder in (RESULTS, arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(arguments.sources, arguments.out / "cache", base.size * 4 // 3)
    sets = read_sets(arguments.eval, build_model(base).spec)
    print(f"{len(pictures)} items; judged by {', '.join(s.name for s in sets)}", flush=True)
    results = all_runs(arguments, base, pictures, sets)
    tell(results, base)
    report = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "recipe": base.to_dict(),
        "items": len(pictures),
        "results": results,
    }
    (RESULTS / "pretraining.json").write_text(json.dumps(report, indent=2) + "\n")
    draw(results, RESULTS / "pretraining.png")


if __name__ == "__main__":
    main()
