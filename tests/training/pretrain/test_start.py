"""vicmae.training.pretrain.start: what a run begins with."""

from pathlib import Path

import pytest
import torch
from made_runs import NANO, nano, nano_recipe
from torch import nn

from vicmae.errors import CheckpointError, TrainingError
from vicmae.model.checkpoints import save_model
from vicmae.model.config import SIZES
from vicmae.model.conv_encoder import ConvEncoder
from vicmae.training.pretrain.loop import build_network
from vicmae.training.pretrain.start import Fitted, fit_pca, fit_start, load_init, load_trunk, within_whitening

__all__ = ["nano"]
LITE = SIZES["lite"]


def encoder() -> ConvEncoder:
    torch.manual_seed(0)
    return ConvEncoder(LITE, LITE.input_spec(32, fit="squash")).eval()


def batches(count: int, at_once: int = 100) -> list[Fitted]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count // at_once):
        clean = torch.rand(at_once, 3, 32, 32, generator=generator) * 2 - 1
        made.append((clean, (clean * 0.8).clamp(-1, 1), torch.ones(at_once, dtype=torch.bool)))
    return made


def test_a_pca_whitens() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(500, 6, generator=generator) @ torch.randn(6, 6, generator=generator) + 3
    linear = nn.Linear(6, 4)
    with torch.no_grad():
        fit_pca(linear, features, power=1.0)
        whitened = linear(features)
    torch.testing.assert_close(whitened.mean(dim=0), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(whitened.T @ whitened / 500, torch.eye(4), rtol=0, atol=1e-3)


def test_directions_in_which_edits_move_a_picture_shrink_most() -> None:
    differences = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 1.0, 0.1])
    shrink = within_whitening(differences)
    torch.testing.assert_close(shrink, shrink.T)
    along = [float((shrink @ axis).norm()) for axis in torch.eye(3)]
    assert along[0] < along[1] < along[2]


@torch.no_grad()
def test_the_start_brings_an_edit_near_its_picture() -> None:
    model = encoder()
    load_trunk(model)
    fit_start(model, batches(500))
    clean, edited, _ = batches(100)[0]
    one, other = (nn.functional.normalize(model.pooled(side), dim=1) for side in (clean, edited))
    similarity = one @ other.T
    assert (similarity.argmax(dim=1) == torch.arange(100)).float().mean() > 0.95


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(TrainingError, match="fitted to 100 pictures; it needs more than 384"):
        fit_start(encoder(), batches(100))


@pytest.mark.usefixtures("nano")
def test_a_checkpoint_begins_a_run(tmp_path: Path) -> None:
    before, after = build_network(nano_recipe(seed=1)), build_network(nano_recipe(seed=2))
    save_model(before, tmp_path / "model.safetensors")
    load_init(after, tmp_path / "model.safetensors")
    for name, weight in before.state_dict().items():
        assert torch.equal(weight, after.state_dict()[name]), name


@pytest.mark.usefixtures("nano")
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    save_model(encoder(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds 'lite', the recipe wants 'nano'"):
        load_init(build_network(nano_recipe()), tmp_path / "model.safetensors")
    assert NANO.name == "nano"
