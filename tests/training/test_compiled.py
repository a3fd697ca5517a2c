"""compile = true: a compiled step is the eager step, also in a resumed run, and blocks of one shape share one code."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_runs import NANO, curve, made_pictures, nano_recipe
from torch import Tensor
from torch._dynamo.utils import counters

from vicmae.model.config import SIZES
from vicmae.training.pretrain import build_model, make_learning, pretrain, train_step
from vicmae.training.pretrain.batches import read_batch
from vicmae.training.recipe import Recipe

pytestmark = [
    pytest.mark.usefixtures("one_shape"),
    pytest.mark.skipif(
        shutil.which(os.environ.get("CXX", "g++")) is None, reason="compiling for a CPU needs a C++ compiler"
    ),
]
# Blocks of one shape: their code is what takes time, some fourteen small C++ files of about three seconds each.
ONE_SHAPE = replace(NANO, depth=3, decoder_depth=0)
PICTURES = made_pictures()


@pytest.fixture
def one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "nano", ONE_SHAPE)


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
    assert counters["stats"]["unique_graphs"] == 1, "one code for all three blocks"
