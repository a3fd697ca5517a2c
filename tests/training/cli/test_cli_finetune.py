"""vicmae finetune image, video, and evaluate finetuned: what is printed and written, and which sentence ends what."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from made_media import write_text
from made_runs import nano, nano_encoder, runner
from made_tuning import write_tree
from typer.testing import Result

from vicmae.errors import CheckpointError, TrainingError
from vicmae.model.checkpoints import load_encoder, save_model
from vicmae.training import cli
from vicmae.training.cli import finetune as verb

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
Run = Callable[..., Result]
SMALL = ("--set", "batch=8", "--set", "epochs=2", "--set", "rand_augment=rand-m3-n1", "--set", "warmup_epochs=0.5")
FROM = ("--from", "nano.safetensors", "-o", "run")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verb, "keep_freed_memory", lambda: None)
    save_model(nano_encoder(), tmp_path / "nano.safetensors")
    return runner(cli.register)


def test_pictures_from_checkpoint_to_scores(run: Run, tmp_path: Path) -> None:
    write_tree(tmp_path / "data")
    told = run("finetune", "image", "small", "data", *FROM, *SMALL)
    assert "8 items to learn from, 2 to test on, 2 classes; 0 could not be decoded." in told.stderr
    assert told.stdout.startswith("run/step-00000002: top-1 ") and "(2 tested, 1 view of each)" in told.stdout
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["classes"] == ["blue", "red"] and facts["from"] == "nano.safetensors"
    assert facts["command"].startswith("vicmae finetune image small data --from nano.safetensors -o run --set batch=8")

    again = json.loads(run("evaluate", "finetuned", "data", "-m", "run", "--json").stdout)
    assert again == {"model": "run", **{k: v for k, v in scores.items() if k != "checkpoint"}}
    assert load_encoder(tmp_path / "run").config.name == "nano", "the encoder below the head can be exported"

    with pytest.raises(TrainingError, match="Add --resume"):
        run("finetune", "image", "small", "data", *FROM, *SMALL)
    longer = run("finetune", "image", "small", "data", *FROM, *SMALL, "--set", "epochs=3", "--resume", "--json")
    assert json.loads(longer.stdout)["checkpoint"] == "run/step-00000003"


def test_videos_decoded_again_and_again(run: Run, tmp_path: Path) -> None:
    write_tree(tmp_path / "data", each=2, video=True)
    few = ("--set", "frames=4", "--set", "stride_seconds=0.1", "--set", "decoding=each", "--set", "batch=4")
    told = json.loads(run("finetune", "video", "small", "data", *FROM, *SMALL, *few, "--json").stdout)
    assert told["views"] == 3 and told["tested"] == 2
    views = ("--set", "test_clips=2", "--set", "test_crops=3")
    assert json.loads(run("evaluate", "finetuned", "data", "-m", "run", *views, "--json").stdout)["views"] == 6
    with pytest.raises(CheckpointError, match="was fine-tuned on clips of 4 frames"):
        run("evaluate", "knn", "data", "-m", "run")


def test_what_cannot_be_done_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    data = write_tree(tmp_path / "data")
    for words, told in (
        (("image", "fast", "data", *FROM), "There is no preset 'fast'; choose one of imagenet, small"),
        (("image", "small", "nowhere", *FROM), "There is no folder nowhere. Name one with an index.csv"),
        (("image", "small", "data", *FROM, "--set", "speed=1"), "speed is not in a recipe; it knows accumulate"),
        (("image", "small", "data", *FROM, "--set", "speed"), "--set wants key=value, got 'speed'"),
        (("image", "small", "data", *FROM, "--set", "size=33"), "needs a positive multiple of its patches' 8 pixels"),
        (("image", "small", "data", *FROM, "--device", "gpu"), "The device 'gpu' cannot be used here"),
        (("image", "small", "data", "--from", "none", "-o", "run"), "for an untrained encoder say none:SIZE"),
        (("image", "small", "data", "--from", "no.pth", "-o", "run"), "There is no checkpoint no.pth"),
        (("video", "small", "data", *FROM, "--set", "frames=3"), "frames is 3, tube 2; tubes must be equal"),
        (("image", "small", "data", *FROM, "--subset", "other"), "There is no folder data/other"),
        (("image", "small", "data", "--from", "nano.safetensors", "-o", "data/train/red/0.png"), "is a file"),
    ):
        with pytest.raises((TrainingError, CheckpointError), match=told):
            run("finetune", *words)
    with pytest.raises(CheckpointError, match="holds no classifier"):
        run("evaluate", "finetuned", "data", "-m", "nano.safetensors")
    (data / "train" / "green").mkdir()
    with pytest.raises(TrainingError, match="The class data/train/green holds no picture or video"):
        run("finetune", "image", "small", "data", *FROM)
    write_text(data / "train" / "green" / "bad.jpg")
    with pytest.raises(TrainingError, match="1 of 11 items cannot be decoded, more than 5%"):
        run("finetune", "image", "small", "data", *FROM)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("step-*"))


def test_a_loss_that_is_no_number(run: Run, tmp_path: Path) -> None:
    write_tree(tmp_path / "data")
    with pytest.raises(TrainingError, match="Begin anew with --out NEW and a smaller base_rate"):
        run("finetune", "image", "small", "data", *FROM, *SMALL, "--set", "base_rate=1e30", "--set", "epochs=30")
