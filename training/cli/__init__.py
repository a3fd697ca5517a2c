"""The verbs that train and judge, one file a verb. They import the extra "train" only when they run."""

import typer

from . import copies, evaluate, finetune, pretrain

evaluate_app = typer.Typer(help="Judge a checkpoint or a bundle by what its vectors find.", no_args_is_help=True)
for verb in (copies.copies, finetune.finetuned, evaluate.knn, evaluate.linear, evaluate.retrieval):
    evaluate_app.command()(verb)


def register(app: typer.Typer) -> None:
    """Adds these verbs."""
    app.command("pretrain")(pretrain.pretrain)
    app.command("finetune")(finetune.finetune)
    app.add_typer(evaluate_app, name="evaluate")
