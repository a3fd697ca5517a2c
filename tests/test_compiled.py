"""compile = true: a compiled run is the eager run, also resumed and under two processes; blocks share one code."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_runs import NANO, made_pictures, nano, nano_recipe
from safetensors.torch import load_file
from test_distributed import SYNCED, curve, free_port
from torch._dynamo.utils import counters
from torch.multiprocessing.spawn import spawn

from vicmae.model.config import SIZES
from vicmae.training.distributed import joined
from vicmae.training.pretrain import pretrain

__all__ = ["nano"]
pytestmark = [
    pytest.mark.usefixtures("nano"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="compiling for a CPU needs a C++ compiler"
    ),
]


def assert_same_run(got: Path, expected: Path) -> None:
    torch.testing.assert_close(curve(got.parent), curve(expected.parent), rtol=1e-4, atol=1e-4)
    weights = [load_file(folder / "model.safetensors") for folder in (got, expected)]
    assert weights[0].keys() == weights[1].keys(), "compiling leaves the names of weights as they are"
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-3, atol=1e-4, msg=name)


def one_of_two(index: int, port: int, out: str) -> None:
    SIZES["nano"] = NANO
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update({**meeting, "RANK": str(index), "LOCAL_RANK": str(index)})
    with joined("cpu") as device:
        pretrain(nano_recipe(batch=16, steps=2, compile=True, **SYNCED), made_pictures(), Path(out), device=device)


def test_a_compiled_run_is_the_eager_run(tmp_path: Path) -> None:
    torch._dynamo.reset()
    counters.clear()
    recipe = nano_recipe(steps=4, base_rate=0.01)
    eager = pretrain(recipe, made_pictures(), tmp_path / "eager")
    compiled = replace(recipe, compile=True)
    last = pretrain(compiled, made_pictures(), tmp_path / "compiled")
    assert counters["stats"]["unique_graphs"] == 2, "one code for all blocks of the encoder, one for the decoder's"
    assert_same_run(last, eager)
    shutil.rmtree(last)
    assert_same_run(pretrain(compiled, made_pictures(), tmp_path / "compiled", resume=True), eager)


def test_two_compiled_processes_follow_one_that_is_not(tmp_path: Path) -> None:
    """Their passes are of the size compiled before, so they find its code in the compiler's cache."""
    alone = pretrain(nano_recipe(batch=16, steps=2, **SYNCED), made_pictures(), tmp_path / "alone")
    spawn(one_of_two, (free_port(), str(tmp_path / "two")), nprocs=2)  # type: ignore[no-untyped-call]
    assert_same_run(tmp_path / "two" / alone.name, alone)
