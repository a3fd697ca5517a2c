"""The verbs `vicmae evaluate knn`, `linear` and `retrieval`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...terminal import BundleOption, JsonOption, print_json, progress, say, stdout
from .common import ModelOption, RecordOption, SizeOption, need_training_extra, open_model

if TYPE_CHECKING:
    from ..evaluate import Vectors


DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder with an index.csv, a tree SPLIT/LABEL/FILE (train, test or gallery, query), or LAYOUT:FOLDER."
    ),
]
SetOption = Annotated[str | None, typer.Option("--set", help="Which set of index.csv, or sub-folder, to use.")]


def knn(
    data: DataArgument,
    set_name: SetOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many neighbours vote.")] = 10,
    column: Annotated[str, typer.Option(help="Column of index.csv that holds the class.")] = "label",
    model: ModelOption = None,
    bundle: BundleOption = None,
    size: SizeOption = None,
    record: RecordOption = False,
    json_output: JsonOption = False,
) -> None:
    """Nearest-neighbour accuracy: train files vote on the class of each test file."""
    from ..evaluate import knn_accuracy

    _judge(
        f"knn {set_name or data.name}",
        data, set_name, column, model, bundle, size, record, json_output,
        lambda known, queries: {f"{k}-NN": knn_accuracy(known, queries, k)},
    )  # fmt: skip


def linear(
    data: DataArgument,
    set_name: SetOption = None,
    column: Annotated[str, typer.Option(help="Column of index.csv that holds the class.")] = "label",
    epochs: Annotated[int, typer.Option(min=1, help="Times the probe sees the train files.")] = 90,
    rate: Annotated[float, typer.Option(min=1e-8, max=10.0, help="Learning rate at the start.")] = 1e-2,
    model: ModelOption = None,
    bundle: BundleOption = None,
    size: SizeOption = None,
    record: RecordOption = False,
    json_output: JsonOption = False,
) -> None:
    """Linear probe: a linear layer on the frozen vectors of the train files classifies the test files."""
    need_training_extra()
    from ..linear import linear_accuracy

    _judge(
        f"linear {set_name or data.name}",
        data, set_name, column, model, bundle, size, record, json_output,
        lambda known, queries: linear_accuracy(known, queries, epochs=epochs, rate=rate),
    )  # fmt: skip


def retrieval(
    data: DataArgument,
    set_name: SetOption = None,
    column: Annotated[str, typer.Option(help="Column of index.csv that says what belongs together.")] = "group",
    model: ModelOption = None,
    bundle: BundleOption = None,
    size: SizeOption = None,
    record: RecordOption = False,
    json_output: JsonOption = False,
) -> None:
    """Retrieval: for each query, where do the gallery files of its group come in the list."""
    from ..evaluate import retrieval_scores

    _judge(
        f"retrieval {set_name or data.name}",
        data, set_name, column, model, bundle, size, record, json_output,
        retrieval_scores,
    )  # fmt: skip


def _judge(
    task: str,
    data: Path,
    set_name: str | None,
    column: str,
    model: Path | None,
    bundle: Path | None,
    size: int | None,
    record: bool,
    json_output: bool,
    scores_of: "Callable[[Vectors, Vectors], dict[str, float]]",
) -> None:
    from ...export.bundle import record_quality
    from ..evaluate import embed_samples
    from ..labelled import read_labelled

    chosen, engine = open_model(model, bundle, size, record)
    with progress("files") as bar, engine:
        task_id = bar.add_task("embedding", total=None, rate="")  # how many there are shows at the end
        samples = bar.track(read_labelled(data, set_name, column), task_id=task_id, description="embedding")
        known, queries, bad = embed_samples(engine, samples)
        bar.update(task_id, total=len(known.labels) + len(queries.labels) + len(bad))
    for name, reason in bad:
        say(f"skipped {name}: {reason}")
    scores = {name: round(value, 4) for name, value in scores_of(known, queries).items()}
    result = {**scores, "known": len(known.labels), "queries": len(queries.labels), "unreadable": len(bad)}
    if record:
        record_quality(chosen, task, result)
    if json_output:
        print_json({"task": task, "model": engine.name, "fingerprint": engine.fingerprint, **result})
    else:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        stdout.print(f"{task}: {figures} ({len(queries.labels)} queries, {len(known.labels)} known)", soft_wrap=True)
