"""vicmae.model.ranks, and the loss over it: two processes compute what one computes, value and gradient."""

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from made_runs import NANO
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from vicmae.model.losses import contrastive_loss
from vicmae.model.ranks import BatchNorm, gather, rank, total, world_size
from vicmae.model.vicmae import Heads, Objective, ViCMAE

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "golden_vicmae_tiny.npz")
TOLERANCE = 1e-6
PAIRS = 4


def projections() -> tuple[Tensor, Tensor]:
    return torch.from_numpy(GOLDEN["eval/proj1"]), torch.from_numpy(GOLDEN["eval/proj2"])


def own(rows: Tensor) -> Tensor:
    return rows.chunk(world_size())[rank()]


def loss_and_gradients() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean loss of all processes, and the gradients of that mean at this process's rows; with a target head too."""
    views = [own(view).clone().requires_grad_() for view in projections()]
    loss = contrastive_loss(views[0], views[1], 0.1)
    apart = contrastive_loss(views[0], views[1], 0.1, (views[1] * 0.5 + 0.1, views[0] + 0.2))
    ((loss + apart) / world_size()).backward()  # type: ignore[no-untyped-call]
    first, second = (view.grad for view in views)
    assert first is not None and second is not None
    return total(loss.detach()) / world_size(), total(apart.detach()) / world_size(), first, second


def network_gradients(heads: Heads) -> dict[str, Tensor]:
    """What one step computes: averaged loss, averaged gradients, batch-norm statistics, all by name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ViCMAE(NANO, NANO.input_spec(32), heads).double().train()
        pictures, noise = torch.randn(2, PAIRS, 3, 32, 32).double(), torch.rand(2, PAIRS, 16).double()
    for part in model.modules():
        if isinstance(part, BatchNorm):
            part.synced = True
    losses = model.losses(
        own(pictures[0]), own(pictures[1]), Objective(contrast_weight=0.5), (own(noise[0]), own(noise[1]))
    )
    losses.total.backward()  # type: ignore[no-untyped-call]
    found = {name: total(p.grad) / world_size() for name, p in model.named_parameters() if p.grad is not None}
    found.update({name: b.double() for name, b in model.named_buffers() if "running" in name or "tracked" in name})
    return {**found, "loss": total(losses.total.detach()) / world_size()}


def one_of_two(index: int, meeting: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=index, world_size=2)
    networks = {heads: network_gradients(heads) for heads in ("shared", "predictor-target")}
    torch.save({"loss": loss_and_gradients(), **networks}, f"{out}/{index}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    spawn(one_of_two, (str(tmp_path / "meeting"), str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    both = [torch.load(tmp_path / f"{index}.pt", weights_only=True) for index in (0, 1)]

    alone = loss_and_gradients()
    for got in both:
        assert abs(float(got["loss"][0]) - float(GOLDEN["nce2rank/single_process"])) < TOLERANCE
        torch.testing.assert_close(got["loss"][:2], alone[:2], rtol=0, atol=TOLERANCE)
    for of_view in (2, 3):
        gradient = torch.cat([got["loss"][of_view] for got in both])
        torch.testing.assert_close(gradient, alone[of_view], rtol=0, atol=TOLERANCE)

    for heads in ("shared", "predictor-target"):
        expected = network_gradients(heads)
        assert len([name for name in expected if name.startswith("projector_target")]) == (
            0 if heads == "shared" else 16
        )
        for got in both:
            assert got[heads].keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(got[heads][name], value, rtol=0, atol=1e-12, msg=name)


def test_alone_nothing_is_exchanged() -> None:
    rows = torch.randn(3, 2)
    assert world_size() == 1 and rank() == 0
    assert gather(rows) is rows and total(rows) is rows


def test_a_second_head_alone_is_the_loss_by_hand() -> None:
    first, second = projections()
    targets = (second * 0.5 + 0.1, first + 0.2)
    anchors = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    compared = torch.nn.functional.normalize(torch.cat(targets), dim=1)
    expected = []
    for i in range(2 * PAIRS):
        scores = torch.stack([anchors[i] @ compared[k] / 0.1 for k in range(2 * PAIRS) if k != i])
        expected.append(scores.logsumexp(0) - anchors[i] @ compared[(i + PAIRS) % (2 * PAIRS)] / 0.1)
    got = contrastive_loss(first, second, 0.1, targets)
    torch.testing.assert_close(got, torch.stack(expected).mean())
