"""The verbs `vicmae finetune` and `vicmae evaluate finetuned`."""

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...terminal import JsonOption, print_json, progress, say, stdout
from ..memory import keep_freed_memory
from .common import (
    ResumeOption,
    TrainingDeviceOption,
    is_first,
    need_training_extra,
    require_folder,
    set_words,
    tell_step,
)

if TYPE_CHECKING:
    from ...model.classifier import Classifier
    from ..finetune import ImageTuning, Scores, Task

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder with an index.csv, a tree SPLIT/LABEL/FILE (train, and test or val), or LAYOUT:FOLDER."
    ),
]
FromOption = Annotated[
    str,
    typer.Option("--from", help="Checkpoint file or run folder to start from, or none:SIZE for untrained weights."),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, log.jsonl, scores.json.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change a value of the preset: key=value.")]
SubsetOption = Annotated[str | None, typer.Option("--subset", help="Which set of index.csv, or sub-folder, to use.")]
ColumnOption = Annotated[str, typer.Option(help="Column of index.csv that holds the class.")]
CacheOption = Annotated[
    Path | None, typer.Option(help="Where decoded items are kept, with decoding=once; OUT/cache if not given.")
]


def finetune(
    kind: Annotated[Literal["image", "video"], typer.Argument(help="What is learnt from: pictures or clips.")],
    preset: Annotated[
        str,
        typer.Argument(
            help="small (a CPU, minutes) or imagenet for pictures; small, kinetics or something-something for clips; "
            "or a .toml file."
        ),
    ],
    data: DataArgument,
    start: FromOption,
    out: OutOption,
    changes: SetOption = None,
    subset: SubsetOption = None,
    column: ColumnOption = "label",
    resume: ResumeOption = False,
    device: TrainingDeviceOption = "cpu",
    cache: CacheOption = None,
    json_output: JsonOption = False,
) -> None:
    """Train an encoder and a classifier on labelled pictures or clips, then test it.

    image: layer decay, mixup, cutmix, RandAugment and drop path, as the preset says.

    video: patches inflated to tubes, clips sampled by time, and a test of many views.
    """
    need_training_extra()
    from ..finetune import load_image_tuning, load_video_tuning

    recipe = (load_image_tuning if kind == "image" else load_video_tuning)(preset, changes or [])
    command = _command(kind, preset, data, start, out, changes or [], subset)
    _finetune(recipe, data, start, out, subset, column, resume, device, cache, command, json_output)


def finetuned(
    data: DataArgument,
    model: Annotated[Path, typer.Option("--model", "-m", help="Run or checkpoint of `vicmae finetune`.")],
    changes: SetOption = None,
    subset: SubsetOption = None,
    column: ColumnOption = "label",
    device: TrainingDeviceOption = "cpu",
    cache: Annotated[
        Path | None, typer.Option(help="Where decoded items are kept, with decoding=once; nowhere if not given.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Test a fine-tuned checkpoint as its recipe says; other views with, say, --set test_clips=7 --set test_crops=3."""
    need_training_extra()
    from ...model.classifier import load_classifier
    from ..distributed import joined
    from ..finetune import ImageTuning, VideoTuning, load_task, side_of
    from ..pretrain import require_device
    from ..recipe import changed

    classifier, notes = load_classifier(model)
    kind = VideoTuning if notes.get("kind") == "video" else ImageTuning
    recipe = changed(kind.from_dict(notes["recipe"]), changes or [])
    with joined(device) as own_device, TemporaryDirectory() as unkept:
        require_device(own_device)
        place = (cache or Path(unkept)) if recipe.decoding == "once" else None
        task = load_task(data, subset, column, place, side_of(classifier), classes=classifier.classes)
        scores = _test(classifier.to(own_device), task, recipe, own_device)
        _tell({"model": str(model), **_told(scores)}, scores, json_output)


def _finetune(
    recipe: "ImageTuning",
    data: Path,
    start: str,
    out: Path,
    subset: str | None,
    column: str,
    resume: bool,
    device: str,
    cache: Path | None,
    command: str,
    json_output: bool,
) -> None:
    keep_freed_memory()
    from ..distributed import joined
    from ..finetune import Progress, build_classifier, finetune, network_values, require_rows, side_of
    from ..pretrain import require_device
    from ..rundir import write_json

    with joined(device) as own_device:
        require_device(own_device)
        require_folder(out, recipe, resume, network_values(recipe))
        require_rows(recipe)
        # Built with two classes first: a wrong checkpoint is told before anything is decoded.
        side = side_of(build_classifier(recipe, start, ("", "")))
        task = _load(data, subset, column, (cache or out / "cache") if recipe.decoding == "once" else None, side)
        model = build_classifier(recipe, start, task.classes)
        first = is_first()
        with progress("steps") as bar:
            bar_task = bar.add_task("fine-tuning", total=None, rate="", visible=first)

            def report(now: Progress) -> None:
                steps = round(now.step / now.epoch * recipe.epochs)
                figures = f"{now.items_per_second:.1f} items/s, loss {now.loss:.3f}"
                left_seconds = (steps - now.step) * recipe.batch / now.items_per_second
                tell_step(bar, bar_task, now.step, steps, left_seconds, figures)

            facts = {"command": command, "data": data.name, "from": Path(start).name}
            last = finetune(recipe, task, model, out, device=own_device, resume=resume, facts=facts, report=report)
        scores = _test(model, task, recipe, own_device)
        if first:
            result = {"checkpoint": str(last), **_told(scores)}
            write_json(out / "scores.json", result)
            _tell(result, scores, json_output)


def _load(data: Path, subset: str | None, column: str, cache: Path | None, side: int) -> "Task":
    """Decodes in the first process, which then tells; the others read the cache after it."""
    from ..distributed import first_alone
    from ..finetune import load_task
    from ..rundir import storing

    with first_alone() as first, progress("items") as bar, storing(cache or data):
        bar_task = bar.add_task("decoding", total=None, rate="", visible=first and cache is not None)
        task = load_task(data, subset, column, cache, side, report=lambda done: bar.update(bar_task, completed=done))
    if first:
        say(
            f"{len(task.train.names)} items to learn from, {len(task.test.names)} to test on, {len(task.classes)} "
            f"classes; {len(task.bad)} could not be decoded."
        )
        for name, reason in task.bad:
            say(f"  skipped {name}: {reason}")
    return task


def _test(model: "Classifier", task: "Task", recipe: "ImageTuning", device: str) -> "Scores":
    from ..finetune import judge

    with progress("items") as bar:
        bar_task = bar.add_task("testing", total=None, rate="", visible=is_first())
        scores = judge(model, task.test, recipe, device, lambda done: bar.update(bar_task, completed=done))
    for name, reason in scores.bad:
        say(f"  skipped {name}: {reason}")
    return scores


def _told(scores: "Scores") -> dict[str, Any]:
    return {**scores.to_dict(), "tested": scores.tested, "views": scores.views, "unreadable": len(scores.bad)}


def _tell(result: dict[str, Any], scores: "Scores", json_output: bool) -> None:
    if not is_first():
        return
    if json_output:
        print_json(result)
        return
    figures = ", ".join(f"{name} {value:.3f}" for name, value in scores.to_dict().items())
    views = "1 view" if scores.views == 1 else f"{scores.views} views"
    where = result.get("checkpoint") or result["model"]
    stdout.print(f"{where}: {figures} ({scores.tested} tested, {views} of each)", soft_wrap=True)


def _command(kind: str, preset: str, data: Path, start: str, out: Path, changes: list[str], subset: str | None) -> str:
    """The command to repeat the run; of folders only the names."""
    words = ["vicmae", "finetune", kind, Path(preset).name, data.name, "--from", Path(start).name, "-o", out.name]
    words += ["--subset", subset] if subset else []
    return shlex.join(words + set_words(changes))
