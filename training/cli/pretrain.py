"""The verb `vicmae pretrain`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import TrainingError
from ...terminal import JsonOption, print_json, progress, say, stdout
from ..memory import keep_freed_memory
from .common import need_training_extra

if TYPE_CHECKING:
    from ..recipe import Recipe


def pretrain(
    preset: Annotated[str, typer.Argument(help="copies, retrieval, paper, code, or a .toml file.")],
    sources: Annotated[
        list[Path],
        typer.Argument(help="Folders, media files, tar shards, or datasets as LAYOUT:FOLDER, to learn from."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run: checkpoints and log.jsonl.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value: key=value or table.key=value.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell parameters, FLOPs, memory and hours; read no source.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    init: Annotated[
        Path | None,
        typer.Option(
            help="A bundle or a checkpoint whose weights a new run begins with \\[default: random ones; ImageNet's and "
            "a PCA of the pictures for a model with a convolutional stem]."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    cache: Annotated[Path | None, typer.Option(help="Where decoded pictures are kept \\[default: OUT/cache].")] = None,
    json_output: JsonOption = False,
) -> None:
    """Pretrain ViC-MAE on pictures and clips, without labels."""
    need_training_extra()
    keep_freed_memory()
    from ...model.ranks import rank, world_size
    from ..distributed import joined, own_cores
    from ..pretrain import most_processes, require_device, split_rows
    from ..recipe import load_recipe
    from ..rundir import require_run, require_unused, storing

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
        with storing(out):
            require_unused(out, resume)
        if resume:
            with storing(out):
                changes_of_run = require_run(out, recipe)
            for change in changes_of_run if rank() == 0 else ():
                say(f"going on with a changed recipe: {change}")
        processes = most_processes(recipe.batch, recipe.accumulate, own_cores())
        if own_device == "cpu" and processes > 1 and world_size() == 1:
            words = [preset, *map(str, sources), "-o", str(out)]
            options = ["--cache", str(cache)] if cache else []
            options += ["--resume"] if resume else []
            options += ["--init", str(init)] if init else []
            options += ["--json"] if json_output else []
            say(_faster_on_cpu(processes, [*words, *options, *_sets(changes or [])]))
        facts = {
            "command": _command(preset, sources, out, init, changes or []),
            "data": ", ".join(_short(s) for s in sources),
        }
        _pretrain_here(recipe, sources, out, cache or out / "cache", init, own_device, resume, facts, json_output)


def _tell_plan(recipe: "Recipe", device: str, json_output: bool) -> None:
    from ...model.ranks import rank
    from ..pretrain import plan_run

    plan = plan_run(recipe, device)
    if rank() > 0:
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


def _pretrain_here(
    recipe: "Recipe",
    sources: list[Path],
    out: Path,
    cache: Path,
    init: Path | None,
    device: str,
    resume: bool,
    facts: dict[str, Any],
    json_output: bool,
) -> None:
    """Decodes in the first process, which then tells; trains in all."""
    from ...model.ranks import rank
    from ..distributed import own_cores, wait_for_all
    from ..pretrain import Progress, begin
    from ..pretrain import pretrain as run_pretraining
    from ..rundir import storing
    from ..sources import load_pictures

    first = rank() == 0
    if not first:
        wait_for_all()
    with progress("items") as bar, storing(cache):
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
        wait_for_all()
        clips = int(pictures.is_clip.sum())
        say(
            f"{len(pictures) - clips} images and {clips} clips to learn from; {len(pictures.bad)} could not be decoded."
        )
        for name, reason in pictures.bad:
            say(f"  skipped {name}: {reason}")
        for name, reason in pictures.missing:
            say(f"  {name}: {reason}")
    with progress("steps") as bar:
        task = bar.add_task("pretraining", total=recipe.steps, rate="", visible=first)

        def report(now: Progress) -> None:
            figures = f"loss {now.loss:.3f} (pixels {now.reconstruction:.3f}, contrast {now.contrast:.3f})"
            bar.update(task, completed=now.step, rate=f"{now.pairs_per_second:.0f} pairs/s, {figures}")
            if bar.disable and now.step % 50 == 0:
                left_seconds = (recipe.steps - now.step) * recipe.batch / now.pairs_per_second
                say(
                    f"step {now.step}/{recipe.steps}, {now.pairs_per_second:.0f} pairs/s, {figures}, "
                    f"{left_seconds / 60:.0f} min left"
                )

        last = run_pretraining(
            recipe,
            pictures,
            out,
            device=device,
            resume=resume,
            facts=facts,
            report=report,
            begin=lambda model: begin(model, pictures, recipe, init),
        )
    if not first:
        return
    result: dict[str, Any] = {
        "checkpoint": str(last),
        "steps": recipe.steps,
        "pairs": recipe.steps * recipe.batch,
    }
    if json_output:
        print_json(result)
    else:
        stdout.print(f"{last}", soft_wrap=True)


def _short(source: Path) -> str:
    """The name of a source without the folders above it; a dataset keeps its layout."""
    from ..layouts import split_source

    layout, path = split_source(source)
    return path.name if layout is None else f"{layout}:{path.name}"


def _command(preset: str, sources: list[Path], out: Path, init: Path | None, changes: list[str]) -> str:
    """The command to repeat the run; of folders only the names, since a bundle travels."""
    words = ["vicmae", "pretrain", Path(preset).name, *map(_short, sources), "-o", out.name]
    words += ["--init", init.name] if init else []
    return shlex.join([*words, *_sets(changes)])


def _sets(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def _faster_on_cpu(processes: int, words: list[str]) -> str:
    """Processes of one thread wait less for each other than the threads of one process (262 against 173 to 222 pairs/s
    on two cores, measured)."""
    command = f"torchrun --nproc-per-node {processes} --no-python vicmae pretrain {shlex.join(words)}"
    return f"on a CPU one process a core may be faster; try: {command}"
