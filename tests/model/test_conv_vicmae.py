"""vicmae.model.conv_vicmae: what is minimised, what is hidden, what the queue and the teacher keep."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vicmae.model.config import SIZES
from vicmae.model.conv_vicmae import ConvViCMAE, CopiesObjective, blocks_of_cells

LITE = SIZES["lite"]
N, SIDE, GRID = 4, 64, 2


def network(queue: int = 6) -> ConvViCMAE:
    torch.manual_seed(0)
    model = ConvViCMAE(LITE, LITE.input_spec(SIDE, fit="squash"), queue)
    model.keep_start()
    return model.train()


def inputs(first_item: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(first_item)
    clean = torch.rand(N, 3, SIDE, SIDE, generator=generator) * 2 - 1
    visible = torch.ones(N, GRID, GRID)
    visible[0, 0, 0] = 0
    return clean, clean.flip(3), torch.eye(N, dtype=torch.bool), torch.arange(N) + first_item, visible


def test_every_part_of_the_objective_reaches_the_weights_and_the_teacher_stays() -> None:
    model = network()
    losses = model.losses(*inputs(), CopiesObjective())
    losses.total.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in model.teacher.parameters())
    for name in (
        "projection.weight",
        "whitening.0.weight",
        "decoder.pred.weight",
        "mask_token",
        "trunk.conv_head.weight",
    ):
        gradient = model.get_parameter(name).grad
        assert gradient is not None and gradient.abs().sum() > 0, name


def test_the_start_is_its_own_teacher() -> None:
    """With nothing but the teacher's term, and clean views on both sides, there is nothing to learn at the start."""
    model = network()
    clean, _, content, items, _ = inputs()
    objective = CopiesObjective(recon_weight=0, entropy_weight=0, teacher_weight=1)
    losses = model.losses(clean, clean, content, items, torch.ones(N, GRID, GRID), objective)
    assert float((losses.total - losses.contrast).detach()) == pytest.approx(0, abs=1e-5)
    assert float(losses.reconstruction) == 0


def test_the_queue_holds_the_latest_vectors_with_their_items() -> None:
    model = network(queue=6)
    model.losses(*inputs(0), CopiesObjective())
    assert model.queue_items.tolist() == [0, 1, 2, 3, -1, -1]
    model.losses(*inputs(4), CopiesObjective())
    assert model.queue_items.tolist() == [4, 5, 6, 7, 0, 1]
    assert torch.allclose(model.queue_vectors.norm(dim=1), torch.ones(6), atol=1e-5)


def test_older_vectors_of_what_a_view_shows_are_no_negatives() -> None:
    model = network(queue=N)
    clean, edited, _, items, visible = inputs()
    everything = torch.ones(N, N, dtype=torch.bool)
    first, again = (  # the second time the queue is full of these very items
        model.losses(clean, edited, everything, items, visible, CopiesObjective()).contrast.detach() for _ in range(2)
    )
    assert float(again) == pytest.approx(float(first), rel=1e-4)


def test_pictures_that_the_start_finds_alike_are_no_negatives() -> None:
    """Two pictures of one place push each other away only where alike_cosine says that they are told apart."""
    clean, edited, content, items, visible = inputs()
    clean[1], edited[1] = clean[0], edited[0]
    told_apart, not_told_apart = (
        network().losses(clean, edited, content, items, visible, CopiesObjective(alike_cosine=cosine)).contrast.detach()
        for cosine in (1.01, 0.999)
    )
    assert float(not_told_apart) < float(told_apart)


def test_hidden_pixels_are_not_seen() -> None:
    model = network().eval()
    clean, edited, content, items, visible = inputs()
    other = edited.clone()
    other[0, :, :32, :32] = 0.7  # the hidden cell
    objective = replace(CopiesObjective(), recon_weight=0)
    one, two = (model.losses(clean, e, content, items, visible, objective).total.detach() for e in (edited, other))
    assert float(one) == pytest.approx(float(two), rel=1e-5)


@pytest.mark.parametrize(("share", "ratio"), [(1.0, 0.4), (0.0, 0.4), (0.5, 0.75)])
def test_blocks_hide_their_share(share: float, ratio: float) -> None:
    visible = blocks_of_cells(400, 5, share, ratio, torch.Generator().manual_seed(0))
    hidden = 25 - visible.sum(dim=(1, 2))
    assert set(hidden.tolist()) <= {0.0, float(int(25 * ratio))}
    assert float((hidden > 0).float().mean()) == pytest.approx(share, abs=0.1)
