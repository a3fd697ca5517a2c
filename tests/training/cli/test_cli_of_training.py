"""vicmae pretrain, evaluate: what is printed and written, and with which exit code."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_media import write_image, write_text, write_video
from made_runs import nano, nano_encoder, runner, write_bundle, write_pictures
from typer.testing import Result

from vicmae.errors import BundleError, StorageError, TrainingError
from vicmae.export.bundle import read_manifest
from vicmae.model.checkpoints import load_encoder, save_model
from vicmae.training import cli
from vicmae.training.cli import pretrain as verb

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
Run = Callable[..., Result]
SMALL = ("--set", "model=nano", "--set", "size=32", "--set", "batch=4", "--set", "steps=3", "--set", "warmup_steps=1")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verb, "keep_freed_memory", lambda: None)
    return runner(cli.register)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes; the test pictures are the train pictures."""
    for split in ("train", "test"):
        write_pictures(tmp_path / "data" / split / "x", 2)
        (tmp_path / "data" / split / "y").mkdir()
        write_image(tmp_path / "data" / split / "y" / "0.png", 77)
    return tmp_path / "data"


def test_pretrain_then_resume(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 6)
    result = run("pretrain", "retrieval", "media", "-o", "run", *SMALL)
    assert result.stdout == "run/step-00000003\n"
    assert "6 images and 0 clips to learn from; 0 could not be decoded." in result.stderr
    assert load_encoder(tmp_path / "run").spec.size == 32
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["command"].startswith("vicmae pretrain retrieval media -o run --set model=nano --set size=32")
    assert facts["data"] == "media" and facts["pairs"] == 12

    with pytest.raises(TrainingError, match="Add --resume"):
        run("pretrain", "retrieval", "media", "-o", "run", *SMALL)
    result = run("pretrain", "retrieval", "media", "-o", "run", *SMALL, "--set", "steps=5", "--resume", "--json")
    assert json.loads(result.stdout) == {"checkpoint": "run/step-00000005", "steps": 5, "pairs": 20}


def test_on_a_cpu_with_cores_the_faster_command_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "my media", 6)
    words = ("pretrain", "retrieval", "my media", "-o", "run", "--cache", "kept", *SMALL)
    monkeypatch.setattr("vicmae.training.distributed.own_cores", lambda: 2)
    told = run(*words).stderr
    changes = shlex.join(SMALL)
    assert (
        "on a CPU one process a core may be faster; try: torchrun --nproc-per-node 2 --no-python "
        f"vicmae pretrain retrieval 'my media' -o run --cache kept {changes}\n"
    ) in told
    monkeypatch.setattr("vicmae.training.distributed.own_cores", lambda: 1)
    assert "torchrun" not in run(*words, "--resume").stderr


def test_the_cache_is_kept_as_the_recipe_says(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 6)
    write_video(tmp_path / "media" / "clip.mp4", 1, seconds=2.0, fps=25, size=(64, 48))
    changes = ("--set", "stored=jpeg", "--set", "clip_frames_per_second=2")
    run("pretrain", "retrieval", "media", "-o", "run", *SMALL, *changes)
    (offsets,) = (tmp_path / "run" / "cache").glob("*/offsets.npy")
    assert len(np.load(offsets)) == 6 + 4 + 1 and (offsets.parent / "pictures.jpeg").is_file()
    told = run("pretrain", "retrieval", "media", "-o", "run", *SMALL, "--set", "steps=4", "--resume").stderr
    assert "changed recipe: stored jpeg -> raw\n" in told


def test_resuming_tells_what_changed_and_needs_a_run(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 6)
    words = ("pretrain", "retrieval", "media", "-o", "run", *SMALL)
    with pytest.raises(TrainingError, match="run holds no run to go on with. Leave out --resume"):
        run(*words, "--resume")
    assert not (tmp_path / "run").exists()
    run(*words)
    result = run(*words, "--set", "steps=4", "--set", "seed=3", "--resume")
    assert "changed recipe: steps 3 -> 4\n" in result.stderr and "changed recipe: seed 0 -> 3\n" in result.stderr
    assert result.stderr.count("changed recipe") == 2
    with pytest.raises(TrainingError, match="was begun with size 32, not 48"):
        run(*words, "--set", "size=48", "--resume")
    (tmp_path / "run" / "run.json").write_text("damaged")
    assert "changed recipe" not in run(*words, "--set", "steps=5", "--resume").stderr


def test_a_run_killed_before_its_first_checkpoint_is_resumed(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 6)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    assert run("pretrain", "retrieval", "media", "-o", "run", *SMALL, "--resume").stdout == "run/step-00000003\n"


def test_folders_that_give_nothing_are_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    write_text(tmp_path / "texts" / "notes.txt")
    (write_pictures(tmp_path / "set" / "train" / "cat", 2).parent / "dog").mkdir()
    write_text(write_pictures(tmp_path / "corrupt", 3) / "bad.jpg")
    for source, told in (
        ("nowhere", "There is no file or folder nowhere. Name folders"),
        ("empty", "No picture, video or tar shard below empty"),
        ("texts", "No picture, video or tar shard below texts"),
        ("classes:set", "The class set/train/dog holds no picture or video. Fetch its files or remove the folder"),
        ("corrupt", "1 of 4 items cannot be decoded, more than 5%. Repair them, .* The first: bad.jpg: "),
    ):
        with pytest.raises(TrainingError, match=told):
            run("pretrain", "retrieval", source, "-o", "run", *SMALL)


def test_a_cache_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    write_pictures(tmp_path / "media", 4)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file cannot be written: .* Name a folder that can be written"):
        run("pretrain", "retrieval", "media", "-o", "run", "--cache", "file", *SMALL)


def test_skipped_items_are_named(run: Run, tmp_path: Path) -> None:
    write_text(write_pictures(tmp_path / "media", 25) / "bad[1].jpg")
    result = run("pretrain", "retrieval", "media", "-o", "run", *SMALL)
    assert "25 images and 0 clips to learn from; 1 could not be decoded." in result.stderr
    assert "  skipped bad[1].jpg: " in result.stderr


def test_what_cannot_be_done_is_refused_before_decoding(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "media", 4)
    monkeypatch.setattr("vicmae.training.sources.load_pictures", lambda *_, **__: pytest.fail("decoded"))
    for words, told in (
        (("--device", "gpu"), "The device 'gpu' cannot be used"),
        (("--set", "speed=1"), "speed is not in a recipe"),
        (("--set", "weights=[2, 1]"), "There are 2 weights for 1 sources"),
    ):
        with pytest.raises(TrainingError, match=told):
            run("pretrain", "retrieval", "media", "-o", "run", *SMALL, *words)
    with monkeypatch.context() as four_processes:
        four_processes.setattr("vicmae.model.ranks.world_size", lambda: 4)
        four_processes.setattr("vicmae.model.ranks.rank", lambda: 0)
        with pytest.raises(TrainingError, match="A batch of 6 cannot be split over 4 processes .* multiple of 4"):
            run("pretrain", "retrieval", "media", "-o", "run", *SMALL, "--set", "batch=6")
    with pytest.raises(TrainingError, match="There is no preset 'fast'"):
        run("pretrain", "fast", "media", "-o", "run")
    (tmp_path / "run" / "step-00000001").mkdir(parents=True)
    with pytest.raises(TrainingError, match="Add --resume"):
        run("pretrain", "retrieval", "media", "-o", "run", *SMALL)


def test_a_dry_run_tells_the_cost_and_touches_nothing(run: Run, tmp_path: Path) -> None:
    result = run("pretrain", "retrieval", "nowhere", "--dry-run", *SMALL, "--set", "batch=8", "--set", "accumulate=2")
    for word in ("parameters", "TFLOP", "over 4 pairs, 2 a step", "GiB", "pairs/s", "hours for 3 steps"):
        assert word in result.stdout
    told = json.loads(run("pretrain", "retrieval", "nowhere", "--dry-run", *SMALL, "--json").stdout)
    assert told["parameters"] > told["encoder_parameters"] > 0 and told["pairs_per_second"] > 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrainingError, match="needs --out FOLDER"):
        run("pretrain", "retrieval", "nowhere", *SMALL)


def test_knn_of_a_checkpoint_and_of_its_bundle_agree(run: Run, tmp_path: Path, data: Path) -> None:
    save_model(nano_encoder(), tmp_path / "nano.safetensors")
    told = json.loads(run("evaluate", "knn", data, "-k", 1, "-m", "nano.safetensors", "--json").stdout)
    assert told.pop("model") == "nano.safetensors"
    of_bundle = json.loads(
        run("evaluate", "knn", data, "-k", 1, "--bundle", write_bundle(tmp_path / "b"), "--json").stdout
    )
    assert of_bundle.pop("model") == "nano"
    assert told == of_bundle
    assert told == {
        "task": "knn data",
        "fingerprint": read_manifest(tmp_path / "b").fingerprint,
        "1-NN": 1.0,
        "known": 3,
        "queries": 3,
        "unreadable": 0,
    }


def test_a_dataset_and_a_folder_are_mixed_by_weight(run: Run, tmp_path: Path, data: Path) -> None:
    write_pictures(tmp_path / "media", 6)
    run("pretrain", "retrieval", f"classes:{data}", "media", "-o", "run", *SMALL, "--set", "weights=[1, 3]")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["images"] == 9 and facts["data"] == "classes:data, media"
    assert facts["command"].startswith("vicmae pretrain retrieval classes:data media -o run")


def test_linear_of_a_dataset(run: Run, tmp_path: Path, data: Path) -> None:
    save_model(nano_encoder(), tmp_path / "nano.safetensors")
    words = (f"classes:{data}", "-m", "nano.safetensors", "--epochs", 30, "--json")
    told = json.loads(run("evaluate", "linear", *words).stdout)
    assert told["task"] == "linear data" and told["top-1"] == 1.0 and (told["known"], told["queries"]) == (3, 3)


def test_retrieval_is_recorded_in_the_bundle(run: Run, tmp_path: Path, data: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    result = run("evaluate", "retrieval", data, "--bundle", bundle, "--record")
    assert result.stdout == "retrieval data: R@1 1.000, R@5 1.000, R@10 1.000, mAP 1.000 (3 queries, 3 known)\n"
    assert read_manifest(bundle).quality["retrieval data"]["R@1"] == 1.0
    assert "| retrieval data | R@1 1.0" in (bundle / "card.md").read_text()


def test_evaluation_that_makes_no_sense_is_refused(run: Run, tmp_path: Path, data: Path) -> None:
    save_model(nano_encoder(), tmp_path / "nano.safetensors")
    with pytest.raises(TrainingError, match="--record writes into a bundle"):
        run("evaluate", "knn", data, "-m", "nano.safetensors", "--record")
    with pytest.raises(TrainingError, match="There is no folder"):
        run("evaluate", "knn", "nowhere", "-m", "nano.safetensors")
    with pytest.raises(BundleError, match="nowhere is not a bundle"):
        run("evaluate", "knn", data, "--bundle", "nowhere")


def test_unreadable_samples_are_told(run: Run, tmp_path: Path, data: Path) -> None:
    write_text(data / "train" / "x" / "bad.jpg")
    result = run("evaluate", "knn", data, "--bundle", write_bundle(tmp_path / "b"), "--json")
    assert json.loads(result.stdout)["unreadable"] == 1 and "skipped train/x/bad.jpg: " in result.stderr


def heed_interrupts() -> None:
    """A process started in the background inherits that Ctrl-C is ignored; one at a terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_stopping_a_run_is_no_traceback(tmp_path: Path) -> None:
    """Ctrl-C, as a terminal sends it, in a real process."""
    write_pictures(tmp_path / "media", 8)
    changes = ("size=32", "batch=4", "steps=100000", "checkpoint_steps=3")
    words = ["retrieval", "media", "-o", "run", *(word for change in changes for word in ("--set", change))]
    with subprocess.Popen(
        [sys.executable, "-m", "vicmae", "pretrain", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        while process.poll() is None and not list(tmp_path.glob("run/step-*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, told
    assert "Traceback" not in told
