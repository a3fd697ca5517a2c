"""The verb `vicmae pretrain`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import TrainingError
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
    from ..recipe import Recipe
    from ..sources import Pictures

PresetArgument = Annotated[str, typer.Argument(help="copies, retrieval, paper, code, or a .toml file.")]
SourcesArgument = Annotated[
    list[Path], typer.Argument(help="Folders, media files, tar shards, or datasets as LAYOUT:FOLDER, to learn from.")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run: checkpoints and log.jsonl.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Change a value: key=value or table.key=value.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only tell parameters, FLOPs, memory and hours; read no source.")
]
InitOption = Annotated[
    Path | None,
    typer.Option(
        help="A bundle or a checkpoint whose weights a new run begins with \\[default: random ones; ImageNet's and "
        "a PCA of the pictures for a model with a convolutional stem]."
    ),
]
CacheOption = Annotated[Path | None, typer.Option(help="Where decoded pictures are kept \\[default: OUT/cache].")]


def pretrain(
    preset: PresetArgument,
    sources: SourcesArgument,
    out: OutOption = None,
    changes: SetOption = None,
    dry_run: DryRunOption = False,
    resume: ResumeOption = False,
    init: InitOption = None,
    device: TrainingDeviceOption = "cpu",
    cache: CacheOption = None,
    json_output: JsonOption = False,
) -> None:
    """Pretrain ViC-MAE on pictures and clips, without labels."""
    need_training_extra()
    keep_freed_memory()
    from ...model.ranks import rank, world_size
    from ..distributed import joined
    from ..pretrain import require_device, split_rows
    from ..recipe import load_recipe
    from ..rundir import NETWORK_VALUES

    recipe = load_recipe(preset, changes or [])
    if recipe.weights and len(recipe.weights) != len(sources):
        raise TrainingError(f"There are {len(recipe.weights)} weights for {len(sources)} sources; give one for each.")
    with joined(device) as own_device:
        require_device(own_device)
        if dry_run:
            _tell_plan(recipe, own_device, json_output)
            return
        if out is None:
            raise TrainingError("pretrain needs --out FOLDER for the run, or --dry-run to see what it would cost.")
        split_rows(recipe.batch, recipe.accumulate, rank(), world_size())  # refused now, not after decoding
        require_folder(out, recipe, resume, NETWORK_VALUES)
        if own_device == "cpu" and world_size() == 1:
            _advise_processes(recipe, preset, sources, out, changes or [], resume, init, cache, json_output)
        pictures = _read(recipe, sources, cache or out / "cache")
        facts = {
            "command": _command(preset, sources, out, init, changes or []),
            "data": ", ".join(_short(source) for source in sources),
        }
        last = _train(recipe, pictures, out, init, own_device, resume, facts)
        if not is_first():
            return
        if json_output:
            print_json({"checkpoint": str(last), "steps": recipe.steps, "pairs": recipe.steps * recipe.batch})
        else:
            stdout.print(f"{last}", soft_wrap=True)


def _tell_plan(recipe: "Recipe", device: str, json_output: bool) -> None:
    from ..pretrain import plan_run

    plan = plan_run(recipe, device)
    if not is_first():
        return
    if json_output:
        print_json(vars(plan))
        return
    for line in (
        f"parameters     {plan.parameters / 1e6:.1f} M, of them encoder {plan.encoder_parameters / 1e6:.1f} M",
        f"compute        {plan.flops_per_step / 1e12:.2f} TFLOP a step of {recipe.batch} pairs",
        f"contrast       over {recipe.pairs_per_contrast} pairs, {recipe.accumulate} a step",
        f"memory         about {plan.memory_bytes / 2**30:.1f} GiB for a process",
        f"speed          {plan.pairs_per_second:.1f} pairs/s, measured on passes of {plan.measured_pairs} made pairs",
        f"whole run      {plan.hours:.1f} hours for {recipe.steps} steps, if the data keep up",
    ):
        stdout.print(line, soft_wrap=True)


def _read(recipe: "Recipe", sources: list[Path], cache: Path) -> "Pictures":
    """The pictures to learn from, decoded by the first process, which then tells."""
    from ..distributed import first_alone, own_cores
    from ..rundir import storing
    from ..sources import load_pictures

    with first_alone() as first, progress("items") as bar, storing(cache):
        task = bar.add_task("decoding", total=None, rate="", visible=first)
        pictures = load_pictures(
            sources,
            cache,
            size=recipe.stored_side,
            report=lambda n: bar.update(task, completed=n),
            stored=recipe.stored,
            clip_frames_per_second=recipe.clip_frames_per_second,
            threads=own_cores(),
        )
    if first:
        clips = int(pictures.is_clip.sum())
        say(
            f"{len(pictures) - clips} images and {clips} clips to learn from; {len(pictures.bad)} could not be decoded."
        )
        for name, reason in pictures.bad:
            say(f"  skipped {name}: {reason}")
        for name, reason in pictures.missing:
            say(f"  {name}: {reason}")
    return pictures


def _train(
    recipe: "Recipe",
    pictures: "Pictures",
    out: Path,
    init: Path | None,
    device: str,
    resume: bool,
    facts: dict[str, str],
) -> Path:
    """The whole run, with a bar -> the folder of its last checkpoint."""
    from ..pretrain import Progress, begin, pretrain

    with progress("steps") as bar:
        task = bar.add_task("pretraining", total=recipe.steps, rate="", visible=is_first())

        def report(now: Progress) -> None:
            figures = f"loss {now.loss:.3f} (pixels {now.reconstruction:.3f}, contrast {now.contrast:.3f})"
            figures = f"{now.pairs_per_second:.0f} pairs/s, {figures}"
            left_seconds = (recipe.steps - now.step) * recipe.batch / now.pairs_per_second
            tell_step(bar, task, now.step, recipe.steps, left_seconds, figures)

        return pretrain(
            recipe,
            pictures,
            out,
            device=device,
            resume=resume,
            facts=facts,
            report=report,
            begin=lambda model: begin(model, pictures, recipe, init),
        )


def _short(source: Path) -> str:
    """The name of a source without the folders above it; a dataset keeps its layout."""
    from ..layouts import split_source

    layout, path = split_source(source)
    return path.name if layout is None else f"{layout}:{path.name}"


def _command(preset: str, sources: list[Path], out: Path, init: Path | None, changes: list[str]) -> str:
    """The command to repeat the run; of folders only the names, since a bundle travels."""
    words = ["vicmae", "pretrain", Path(preset).name, *map(_short, sources), "-o", out.name]
    words += ["--init", init.name] if init else []
    return shlex.join([*words, *set_words(changes)])


def _advise_processes(
    recipe: "Recipe",
    preset: str,
    sources: list[Path],
    out: Path,
    changes: list[str],
    resume: bool,
    init: Path | None,
    cache: Path | None,
    json_output: bool,
) -> None:
    """Processes of one thread wait less for each other than the threads of one process (262 against 173 to 222 pairs/s
    on two cores, measured)."""
    from ..distributed import own_cores
    from ..pretrain import most_processes

    processes = most_processes(recipe.batch, recipe.accumulate, own_cores())
    if processes == 1:
        return
    words = ["vicmae", "pretrain", preset, *map(str, sources), "-o", str(out)]
    words += ["--cache", str(cache)] if cache else []
    words += ["--resume"] if resume else []
    words += ["--init", str(init)] if init else []
    words += ["--json"] if json_output else []
    command = shlex.join([*words, *set_words(changes)])
    say(f"on a CPU one process a core may be faster; try: torchrun --nproc-per-node {processes} --no-python {command}")
