"""The verbs that train and judge, one file a verb. They import the extra "train" only when they run."""

import typer

from ...terminal import evaluate_group
from . import copies, evaluate, finetune, pretrain


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command("pretrain")(pretrain.pretrain)
    app.command("finetune")(finetune.finetune)
    group = evaluate_group(app)
    for verb in (copies.copies, finetune.finetuned, evaluate.knn, evaluate.linear, evaluate.retrieval):
        group.command()(verb)
