"""vicmae.model.conv_encoder: stages that make a vector, places that are left out, BatchNorm folded away."""

from copy import deepcopy

import pytest
import timm
import torch
from torch import nn

from vicmae.model.config import SIZES
from vicmae.model.conv_encoder import STAGES, ConvEncoder, with_folded_batchnorm

LITE = SIZES["lite"]


@pytest.fixture(scope="module")
def encoder() -> ConvEncoder:
    torch.manual_seed(0)
    return ConvEncoder(LITE, LITE.input_spec(64, fit="squash")).eval()


def pictures(count: int, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_folding_changes_no_output() -> None:
    torch.manual_seed(0)
    trunk = timm.create_model(LITE.trunk, pretrained=False, num_classes=0)
    for part in trunk.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.get_buffer("running_mean"), std=0.1)
    trunk.eval()
    expected = trunk.forward_features(pictures(2))
    folded = with_folded_batchnorm(deepcopy(trunk))
    torch.testing.assert_close(folded.forward_features(pictures(2)), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())


@torch.no_grad()
def test_shapes(encoder: ConvEncoder) -> None:
    places = encoder.places(pictures(2))
    assert [p.shape[2] for p in places] == [64 // stage.stride for stage in STAGES]
    assert encoder.pooled(pictures(2)).shape == (2, LITE.dim)
    assert encoder(pictures(2)).shape == (2, encoder.spec.tokens, LITE.dim)


@torch.no_grad()
def test_a_vector_does_not_depend_on_its_neighbours(encoder: ConvEncoder) -> None:
    encoder.train()  # not even while training
    alone = encoder.pooled(pictures(3)[:1])
    together = encoder.pooled(pictures(3))[:1]
    encoder.eval()
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_start_equals_the_trunk(encoder: ConvEncoder) -> None:
    features = torch.randn(2, encoder.widths[2], 2, 2)
    torch.testing.assert_close(encoder._transform(features), features, rtol=0, atol=1e-6)


@torch.no_grad()
def test_all_cells_visible_is_as_if_none_was_said(encoder: ConvEncoder) -> None:
    places = encoder.places(pictures(2))
    everything = encoder.pool(places, torch.ones(2, 2, 2))
    for one, other in zip(everything, encoder.pool(places), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_hidden_cells_do_not_count(encoder: ConvEncoder) -> None:
    """A picture of one visible cell has the vector that this cell alone would give."""
    places = encoder.places(pictures(2))
    visible = torch.zeros(2, 2, 2)
    visible[:, 1, 0] = 1
    one = encoder.project(encoder.pool(places, visible))
    torch.testing.assert_close(one, encoder.tokens(places)[:, 2], rtol=1e-3, atol=1e-3)


def test_a_spec_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="lite needs 32, 384"):
        ConvEncoder(LITE, SIZES["small"].input_spec(64))
    with pytest.raises(ValueError, match="names no trunk"):
        ConvEncoder(SIZES["small"], SIZES["small"].input_spec(64))
