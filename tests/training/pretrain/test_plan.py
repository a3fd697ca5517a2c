"""vicmae.training.pretrain.plan: what a run will cost."""

from pathlib import Path

import pytest
from made_runs import NANO, nano, nano_recipe

from vicmae.model.vicmae import Objective
from vicmae.training.pretrain import build_model
from vicmae.training.pretrain.plan import flops_per_pair, kept_bytes_per_pair, plan_run

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")


@pytest.mark.parametrize("mask_ratio", [0.5, 0.75])
def test_the_flops_are_those_of_the_matrix_products(mask_ratio: float) -> None:
    recipe = nano_recipe(objective=Objective(mask_ratio=mask_ratio))
    model = build_model(recipe)
    visible = int(model.spec.tokens * (1 - mask_ratio)) + 1
    least = (
        2 * 3 * 2 * visible * 12 * NANO.dim**2 * NANO.depth
    )  # two views, three products, the encoder's weights alone
    assert least < flops_per_pair(model, recipe) < 20 * least
    assert all(p.grad is None for p in model.parameters())


def test_a_plan(tmp_path: Path) -> None:
    recipe = nano_recipe()
    plan = plan_run(recipe, "cpu")
    model = build_model(recipe)
    assert plan.parameters == sum(p.numel() for p in model.parameters())
    assert plan.memory_bytes == pytest.approx(16 * plan.parameters + 8 * kept_bytes_per_pair(model, recipe))
    assert plan.hours * 3600 * plan.pairs_per_second == pytest.approx(recipe.steps * recipe.batch)
    assert kept_bytes_per_pair(model, nano_recipe(precision="bf16")) < kept_bytes_per_pair(model, recipe)
