"""vicmae.model.losses: agreement where a view shows several items, and the spread of vectors."""

import pytest
import torch
from torch.nn import functional

from vicmae.model.losses import entropy_loss, multi_positive_loss


def unit(count: int, seed: int, dim: int = 8) -> torch.Tensor:
    return functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_one_item_a_view_is_infonce_both_ways() -> None:
    vectors, known = unit(4, 0), unit(4, 1)
    content, none = torch.eye(4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    similarity, wanted = vectors @ known.T / 0.1, torch.arange(4)
    expected = 0.5 * (functional.cross_entropy(similarity, wanted) + functional.cross_entropy(similarity.T, wanted))
    assert float(multi_positive_loss(vectors, known, content, none, 0.1)) == pytest.approx(float(expected), rel=1e-5)


def test_a_collage_wants_all_that_it_shows() -> None:
    known = torch.eye(4)
    content = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.bool)
    none = torch.zeros(4, 4, dtype=torch.bool)
    between = functional.normalize(torch.cat([known[:1] + known[1:2], known[1:]]), dim=1)
    one_alone = known.clone()
    of_both, of_one = (float(multi_positive_loss(v, known, content, none, 0.1)) for v in (between, one_alone))
    assert of_both < of_one


def test_what_is_masked_does_not_count() -> None:
    vectors, known = unit(3, 0), unit(8, 1)
    content, left_out = torch.eye(3, dtype=torch.bool), torch.zeros(3, 8, dtype=torch.bool)
    left_out[:, 3:] = True
    masked = multi_positive_loss(vectors, known, content, left_out, 0.1)
    without = multi_positive_loss(vectors, known[:3], content, torch.zeros(3, 3, dtype=torch.bool), 0.1)
    assert float(masked) == pytest.approx(float(without), rel=1e-5)


def test_masked_items_of_the_batch_do_not_push_each_other_away() -> None:
    """With every other item left out there is nothing to be told apart, in either direction."""
    content = torch.eye(3, dtype=torch.bool)
    assert float(multi_positive_loss(unit(3, 0), unit(3, 1), content, ~content, 0.1)) == pytest.approx(0, abs=1e-6)


def test_spread_vectors_have_the_lower_entropy_loss() -> None:
    near = functional.normalize(torch.ones(4, 8) + 0.1 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    assert float(entropy_loss(torch.eye(8)[:4])) < float(entropy_loss(near))
