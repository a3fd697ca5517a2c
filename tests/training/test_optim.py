"""vicmae.training.optim: which weights are decayed, and the rate of every step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_runs import NANO, nano_encoder

from vicmae.model.classifier import Classifier
from vicmae.model.vicmae import ViCMAE
from vicmae.model.video import inflate
from vicmae.training.optim import learning_rate, make_layered_optimiser, make_optimiser


def test_vectors_and_biases_are_not_decayed() -> None:
    model = ViCMAE(NANO, NANO.input_spec(32))
    optimiser = make_optimiser(model, 0.05)
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        plain = name.endswith("bias") or ".norm" in name or name.startswith(("norm.", "decoder_norm."))
        if name.startswith("projector"):
            plain = parameter.ndim == 1
        assert decay[id(parameter)] == (0.0 if plain else 0.05), name
    assert all(group["betas"] == (0.9, 0.95) for group in optimiser.param_groups)


def test_frozen_weights_are_left_out() -> None:
    model = torch.nn.Linear(2, 2)
    model.weight.requires_grad = False
    assert [len(group["params"]) for group in make_optimiser(model, 0.1).param_groups] == [1]


@pytest.mark.parametrize(
    ("step", "share"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (35, 0.8535534), (60, 0.5), (110, 0.0)],
)
def test_the_rate_by_hand(step: int, share: float) -> None:
    assert learning_rate(step, 110, 10, 1.5e-4, 512) == pytest.approx(2 * 1.5e-4 * share, abs=1e-9)


def test_no_warm_up_begins_at_the_peak() -> None:
    assert learning_rate(0, 100, 0, 1e-3, 256) == 1e-3


@given(st.integers(1, 300), st.integers(0, 300), st.integers(2, 4096))
def test_the_rate_climbs_then_falls_and_stays_in_bounds(steps: int, warmup: int, batch: int) -> None:
    rates = [learning_rate(step, steps, warmup, 1e-3, batch) for step in range(steps)]
    peak = 1e-3 * batch / 256
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    climb, fall = rates[:warmup], rates[warmup:]
    assert climb == sorted(climb) and fall == sorted(fall, reverse=True)


def test_layers_learn_slower_the_further_they_are_from_the_head() -> None:
    for trunk in (nano_encoder(), inflate(nano_encoder(), 4)):
        model = Classifier(trunk, ("a", "b"))
        names = {id(p): name for name, p in model.named_parameters()}
        groups = make_layered_optimiser(model, 0.05, 0.5).param_groups
        rates = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
        assert rates.keys() == set(names.values())
        # Two blocks: embeddings are layer 0, blocks 1 and 2, everything else 3.
        assert rates["trunk.patch_embed.proj.weight"] == (0.125, 0.05)
        assert rates["trunk.cls_token"] == (0.125, 0.0), "neither it nor the table of times is decayed"
        assert rates.get("trunk.temporal_embed", (0.125, 0.0)) == (0.125, 0.0)
        assert rates["trunk.blocks.0.attn.qkv.weight"] == (0.25, 0.05)
        assert rates["trunk.blocks.1.mlp.fc1.bias"] == (0.5, 0.0)
        assert rates["head.weight"] == (1.0, 0.05)
        assert rates["trunk.norm.weight"] == rates["fc_norm.weight"] == rates["head.bias"] == (1.0, 0.0)


def test_the_rate_ends_at_the_least() -> None:
    rates = [learning_rate(step, 1000, 0, 1e-3, 256, 1e-6) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-3) and rates[-1] == pytest.approx(1e-6, rel=0.01)
    assert rates == sorted(rates, reverse=True)
