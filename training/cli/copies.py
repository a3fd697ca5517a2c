"""The verb `vicmae evaluate copies`: edited pictures, and frames of clips, asked of what they were made of."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from ...terminal import BundleOption, JsonOption, print_json, progress, say, stdout
from .common import ModelOption, RecordOption, SizeOption, open_model

if TYPE_CHECKING:
    from ...export.engine import Engine
    from ...media.edits import Half
    from ..copy_detection import ClipScores, CopyScores, PictureFiles, Prepared, PreparedClips

STRANGERS = 50


def copies(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder of pictures and clips, or with an index.csv, or LAYOUT:FOLDER; labels are not used."
        ),
    ],
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="Which set of index.csv to use; may be given again.")
    ] = None,
    queries: Annotated[
        int, typer.Option("--queries", min=1, help="How many photos, and how many frames, are asked.")
    ] = 100,
    strangers: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures that are not in the set: the grounds of insets and collages, and questions that "
            f"have no answer \\[default: {STRANGERS} pictures are taken out of the set]."
        ),
    ] = None,
    half: Annotated[
        Literal["a", "b"] | None,
        typer.Option(help="Ask this half of the photos only: choose a model on a, report b \\[default: all]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the photos drawn, and of their edits.")] = 0,
    model: ModelOption = None,
    bundle: BundleOption = None,
    engine_name: Annotated[
        str | None, typer.Option("--engine", help="Engine of the bundle by its name, such as onnxruntime-int8-static.")
    ] = None,
    size: SizeOption = None,
    record: RecordOption = False,
    json_output: JsonOption = False,
) -> None:
    """Copy detection: edited pictures, and frames of clips, find their originals by vectors alone.

    The R@1 and R@10 of 30 edits, and micro-AP: average precision with one threshold for all edits, strangers asked too.
    """
    from ...export.bundle import record_quality

    pictures, clips = _prepare(data, sets or [], strangers, queries, half, seed)
    chosen, engine = open_model(model, bundle, size, record, engine_name)
    with engine:
        results = _judge(engine, pictures, clips)
    about = {"model": engine.name, "engine": f"{engine.runtime}-{engine.precision}", "fingerprint": engine.fingerprint}
    for kind, result in results.items():
        if record:
            record_quality(chosen, f"copies of {kind} {' '.join(sets or [data.name])}", _recorded(result))
        if not json_output:
            stdout.print(f"copies of {kind}, {about['model']}, {about['engine']}")
            _print(result)
    if json_output:
        print_json({"task": "copies", **about, "half": half, "seed": seed, **results})


def _prepare(
    data: Path, sets: list[str], strangers: Path | None, queries: int, half: "Half | None", seed: int
) -> "tuple[Prepared | None, PreparedClips | None]":
    """The pictures of the set, its clips, or both; too few of the one are left out if there are others."""
    from ..copy_detection import FEWEST_CLIPS, FEWEST_PICTURES, prepare, prepare_clips, read_set

    pictures, clips, bad = read_set(data, sets)
    grounds: PictureFiles | int = min(STRANGERS, len(pictures) // 3)
    if strangers is not None:
        grounds, _, more = read_set(strangers)
        bad += more
    for name, reason in bad:
        say(f"skipped {name}: {reason}")
    asked: Prepared | None = None
    asked_clips: PreparedClips | None = None
    if len(pictures) >= FEWEST_PICTURES or not clips:
        asked = prepare(pictures, strangers=grounds, queries=queries, half=half, seed=seed, keep=False)
    elif pictures:
        say(f"{len(pictures)} pictures are too few to be asked; give {FEWEST_PICTURES}")
    if len(clips) >= FEWEST_CLIPS or not pictures:
        asked_clips = prepare_clips(clips, queries=queries, half=half, seed=seed)
    elif clips:
        say(f"{len(clips)} clips are too few to be asked; give {FEWEST_CLIPS}")
    return asked, asked_clips


def _judge(engine: "Engine", pictures: "Prepared | None", clips: "PreparedClips | None") -> dict[str, dict[str, Any]]:
    from ..copy_detection import embed_with, judge, judge_clips

    embed = embed_with(engine)
    results = {}
    with progress("pictures") as bar:
        if pictures is not None:
            task = bar.add_task("edited pictures", total=len(pictures), rate="")
            scores = judge(embed, pictures, lambda done: bar.update(task, completed=done))
            results["pictures"] = _picture_result(scores, pictures)
        if clips is not None:
            clip_task = bar.add_task("frames of clips", total=None, rate="")
            clip_scores = judge_clips(embed, clips, lambda done: bar.update(clip_task, completed=done))
            results["frames"] = _clip_result(clip_scores, clips)
    return results


def _picture_result(scores: "CopyScores", prepared: "Prepared") -> dict[str, Any]:
    from ...media.edits import SIXTEEN

    return {
        **scores.to_dict(),
        "R@1 of 16": scores.mean(1, SIXTEEN).to_dict(),
        "R@10 of 16": scores.mean(10, SIXTEEN).to_dict(),
        "queries": len(prepared.photos),
        "strangers": len(prepared.strangers),
        "known": len(prepared.library),
    }


def _clip_result(scores: "ClipScores", prepared: "PreparedClips") -> dict[str, Any]:
    return {**scores.to_dict(), "queries": len(prepared.names), "known": len(prepared.library)}


def _print(result: dict[str, Any]) -> None:
    """The table of edits, then the figures over all of them."""
    columns = list(next(iter(result["edits"].values())))
    table = Table("edit", *columns, box=None)
    for edit, figures in result["edits"].items():
        table.add_row(edit, *(_told(figures[column]) for column in columns))
    stdout.print(table)
    figures = (f"{name} {_told(figure)}" for name, figure in _overall(result).items())
    counts = ", ".join(f"{result[name]} {name}" for name in ("queries", "strangers", "known") if name in result)
    stdout.print(f"{', '.join(figures)} ({counts})\n", soft_wrap=True)


def _overall(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {name: value for name, value in result.items() if isinstance(value, dict) and "value" in value}


def _told(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ± {figure['error']:.3f}"


def _recorded(result: dict[str, Any]) -> dict[str, Any]:
    """What the manifest and the card keep: the figures over all edits, and the counts."""
    return {name: figure["value"] for name, figure in _overall(result).items()} | {
        name: result[name] for name in ("queries", "known")
    }
