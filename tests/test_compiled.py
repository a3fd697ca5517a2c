"""compile = true: a compiled step is the eager step, also resumed and under two processes; blocks share one code."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import NANO, made_pictures, nano, nano_recipe
from test_distributed import SYNCED, curve, free_port
from torch import Tensor
from torch._dynamo.utils import counters
from torch.multiprocessing.spawn import spawn

from vicmae.model.config import SIZES
from vicmae.training.batches import read_batch
from vicmae.training.distributed import joined
from vicmae.training.pretrain import build_model, make_learning, pretrain, train_step
from vicmae.training.recipe import Recipe

__all__ = ["nano"]
pytestmark = [
    pytest.mark.usefixtures("nano", "plain_loops"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="compiling for a CPU needs a C++ compiler"
    ),
]
PLAIN_LOOPS: dict[str, Any] = {"cpp.simdlen": 1}  # no vector instructions: the same graphs, compiled in less time
PICTURES = made_pictures()


@pytest.fixture
def plain_loops() -> Iterator[None]:
    with torch._inductor.config.patch(PLAIN_LOOPS):
        yield


def step_of(recipe: Recipe) -> tuple[tuple[float, ...], dict[str, Tensor]]:
    """The losses of a first step, and its gradients."""
    trainer = make_learning(build_model(recipe).train(), recipe, "cpu")
    images, clips = np.flatnonzero(~PICTURES.is_clip), np.flatnonzero(PICTURES.is_clip)
    losses = train_step(trainer, recipe, read_batch(recipe, PICTURES, images, clips, 0), 0).losses
    return losses, {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}


def test_a_compiled_step_is_the_eager_step_and_resumes(tmp_path: Path) -> None:
    torch._dynamo.reset()
    counters.clear()
    recipe = nano_recipe(steps=4)
    compiled = replace(recipe, compile=True)
    (losses, gradients), (of_compiled, of_it) = step_of(recipe), step_of(compiled)
    assert of_compiled == pytest.approx(losses, rel=1e-5)
    assert of_it.keys() == gradients.keys(), "compiling leaves the names of weights as they are"
    for name, gradient in gradients.items():
        torch.testing.assert_close(of_it[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
    pretrain(recipe, PICTURES, tmp_path / "eager")
    pretrain(compiled, PICTURES, tmp_path / "compiled")
    shutil.rmtree(tmp_path / "compiled" / "step-00000004")
    pretrain(compiled, PICTURES, tmp_path / "compiled", resume=True)
    torch.testing.assert_close(curve(tmp_path / "compiled"), curve(tmp_path / "eager"), rtol=2e-3, atol=2e-3)
    assert counters["stats"]["unique_graphs"] == 2, "one code for all blocks of the encoder, one for the decoder's"


def one_of_two(index: int, port: int, out: str) -> None:
    SIZES["nano"] = NANO
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update({**meeting, "RANK": str(index), "LOCAL_RANK": str(index)})
    with torch._inductor.config.patch(PLAIN_LOOPS), joined("cpu") as device:
        pretrain(nano_recipe(batch=16, steps=2, compile=True, **SYNCED), PICTURES, Path(out), device=device)


def test_two_compiled_processes_follow_one_that_is_not(tmp_path: Path) -> None:
    """Their passes are of the size compiled above, so they find its code in the compiler's cache."""
    pretrain(nano_recipe(batch=16, steps=2, **SYNCED), PICTURES, tmp_path / "alone")
    spawn(one_of_two, (free_port(), str(tmp_path / "two")), nprocs=2)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(curve(tmp_path / "two"), curve(tmp_path / "alone"), rtol=1e-4, atol=1e-4)
