"""vicmae.training.distributed: two processes follow the curve of one, also sharded, also after kill -9."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from made_runs import NANO, curve, free_port, made_pictures, nano, nano_recipe
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessExitedException, spawn

from vicmae.errors import TrainingError
from vicmae.model.config import SIZES
from vicmae.model.ranks import world_size
from vicmae.training.distributed import joined, own_cores, whole
from vicmae.training.pretrain import Progress, most_processes, pretrain, split_rows

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
SYNCED: dict[str, Any] = {"sync_batchnorm": True, "base_rate": 0.01}
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 2, "heads": "predictor-target"},
    "sharded": {"shard": True},
}


def one_of_two(index: int, port: int, out: str, runs: list[str], killed_at: int) -> None:
    """What torchrun starts: the same call in each process, told apart by the environment."""
    SIZES["nano"] = NANO
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ.update({**meeting, "RANK": str(index), "LOCAL_RANK": str(index)})

    def kill(now: Progress) -> None:
        if now.step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with joined("cpu") as device:
        assert torch.get_num_threads() == own_cores()
        for name in runs:
            recipe = nano_recipe(**SYNCED, **RUNS[name])
            pretrain(recipe, made_pictures(), Path(out) / name, device=device, resume=True, report=kill)


def in_two_processes(out: Path, runs: list[str], killed_at: int = 0) -> None:
    spawn(one_of_two, (free_port(), str(out), runs, killed_at), nprocs=2)  # type: ignore[no-untyped-call]


def assert_same_run(got: Path, expected: Path) -> None:
    torch.testing.assert_close(curve(got), curve(expected), rtol=1e-4, atol=1e-4)
    weights = [load_file(run / "step-00000006" / "model.safetensors") for run in (got, expected)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=0, atol=2e-3, msg=name)
    states = [torch.load(run / "step-00000006" / "trainer.pt", weights_only=True) for run in (got, expected)]
    assert states[0]["optimiser"]["state"].keys() == states[1]["optimiser"]["state"].keys()
    for index, moments in states[1]["optimiser"]["state"].items():
        for name, value in moments.items():
            torch.testing.assert_close(states[0]["optimiser"]["state"][index][name], value, rtol=0.05, atol=1e-3)


def test_two_processes_follow_the_curve_of_one_also_when_killed(tmp_path: Path) -> None:
    for name, changes in RUNS.items():
        pretrain(nano_recipe(**SYNCED, **changes), made_pictures(), tmp_path / "alone" / name)
    with pytest.raises(ProcessExitedException, match="SIGKILL"):
        in_two_processes(tmp_path, ["plain"], killed_at=5)
    assert not (tmp_path / "plain" / "step-00000006").exists()
    in_two_processes(tmp_path, list(RUNS))
    for name in RUNS:
        assert_same_run(tmp_path / name, tmp_path / "alone" / name)
    line = json.loads((tmp_path / "accumulated" / "log.jsonl").read_text().splitlines()[-1])
    assert line["pairs_per_contrast"] == 4, "accumulation adds no negatives"

    killed_sharded = nano_recipe(**SYNCED, steps=7)
    last = pretrain(killed_sharded, made_pictures(), tmp_path / "sharded", resume=True)
    assert last.name == "step-00000007", "a sharded run goes on in one process"


def test_alone_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with joined("cpu") as device:
        assert device == "cpu" and world_size() == 1
    assert whole({"a": [1], "b": {"c": 2}}) == {"a": [1], "b": {"c": 2}}


def test_the_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert own_cores() == 12
    for processes, cores in (("3", 4), ("5", 2), ("20", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert own_cores() == cores


@pytest.mark.parametrize(
    ("batch", "passes", "cores", "processes"),
    [(8, 1, 1, 1), (8, 1, 2, 2), (8, 1, 64, 4), (6, 1, 4, 3), (8, 2, 4, 2), (2, 1, 8, 1), (7, 1, 7, 1)],
)
def test_as_many_processes_as_a_batch_can_be_split_over(batch: int, passes: int, cores: int, processes: int) -> None:
    assert most_processes(batch, passes, cores) == processes
    split_rows(batch, passes, 0, processes)


@pytest.mark.parametrize(("batch", "passes", "ranks"), [(8, 1, 1), (8, 2, 2), (24, 3, 4), (24, 1, 2)])
def test_a_split_batch_is_the_batch_and_a_pass_is_the_same_for_any_ranks(batch: int, passes: int, ranks: int) -> None:
    parts = [split_rows(batch, passes, rank, ranks) for rank in range(ranks)]
    assert sorted(row for part in parts for row in part.ravel().tolist()) == list(range(batch))
    for number, alone in enumerate(split_rows(batch, passes)):
        assert sorted(row for part in parts for row in part[number].tolist()) == alone.tolist()


def test_a_batch_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(TrainingError, match="A batch of 10 cannot be split over 4 processes in 1 passes"):
        split_rows(10, 1, 0, 4)
    with pytest.raises(TrainingError, match="2 at least"):
        split_rows(4, 2, 0, 2)
