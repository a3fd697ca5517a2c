"""vicmae.training.plan: what is counted by formula equals what PyTorch counts."""

from pathlib import Path

import pytest
import torch
from made_runs import NANO, nano, nano_recipe
from torch.utils.flop_counter import FlopCounterMode

from vicmae.model.vicmae import Objective
from vicmae.training.plan import flops_per_pair, kept_bytes_per_pair, plan_run
from vicmae.training.pretrain import build_model

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")


@pytest.mark.parametrize("heads", ["shared", "predictor-target"])
@pytest.mark.parametrize("mask_ratio", [0.5, 0.75])
def test_the_flops_are_those_that_pytorch_counts(heads: str, mask_ratio: float) -> None:
    recipe = nano_recipe(heads=heads, objective=Objective(mask_ratio=mask_ratio))
    model = build_model(recipe)
    for block in (*model.blocks, *model.decoder_blocks):
        block.attn.fused_attn = False  # products that the counter sees on every device
    views, noise = torch.randn(2, 4, 3, 32, 32), torch.rand(2, 4, 16)
    with FlopCounterMode(display=False) as counter:
        losses = model.losses(views[0], views[1], recipe.objective, (noise[0], noise[1]))
        losses.total.backward()  # type: ignore[no-untyped-call]
    similarity = 3 * 2 * 8 * 8 * NANO.projector_dim
    assert counter.get_total_flops() == pytest.approx(4 * flops_per_pair(model, recipe) + similarity, rel=0.01)


def test_a_plan(tmp_path: Path) -> None:
    recipe = nano_recipe()
    plan = plan_run(recipe, "cpu")
    model = build_model(recipe)
    assert plan.parameters == sum(p.numel() for p in model.parameters())
    assert plan.memory_bytes == pytest.approx(16 * plan.parameters + 8 * kept_bytes_per_pair(model, recipe))
    assert plan.hours * 3600 * plan.pairs_per_second == pytest.approx(recipe.steps * recipe.batch)
    assert kept_bytes_per_pair(model, nano_recipe(precision="bf16")) < kept_bytes_per_pair(model, recipe)
