"""Several processes, one run: joining what `torchrun` started, and a network whose gradients are shared.

DistributedDataParallel keeps the whole network in each process; with `shard` (FSDP2) each keeps a part of every weight.
Checkpoints are whole in both cases and may be resumed under another number of processes.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from ..model.conv_vicmae import ConvViCMAE, CopiesObjective
from ..model.ranks import rank, world_size
from ..model.vicmae import Objective, ViCMAE

SHOWN = 8
PATIENCE = timedelta(hours=24)  # the others wait while the first process decodes; torchrun ends all when one dies


def own_cores() -> int:
    """How many cores this process may keep busy: its share where torchrun started several on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Joins the processes that torchrun started, if it did -> this process's own device.

    On CPUs each process takes its share of the cores: torchrun says OMP_NUM_THREADS=1 where nobody said anything.
    """
    if "LOCAL_RANK" not in os.environ or world_size() > 1:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    elif device == "cpu" and os.environ.get("OMP_NUM_THREADS", "1") == "1":
        torch.set_num_threads(own_cores())
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def wait_for_all() -> None:
    if world_size() > 1:
        dist.barrier()


@contextmanager
def first_alone() -> Iterator[bool]:
    """The first process runs the block alone, then the others, which read what it decoded -> whether this is it."""
    first = rank() == 0
    if not first:
        wait_for_all()
    yield first
    if first:
        wait_for_all()


def mean_of_all(values: list[float], device: str) -> list[float]:
    """Each value's mean over the processes, the same in all of them."""
    if world_size() == 1:
        return values
    shared = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(shared)
    return [float(v) for v in shared / world_size()]


class Learner(nn.Module):
    """The network with its losses as one call, so that wrappers see everything that is trained."""

    def __init__(self, model: ViCMAE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, first: Tensor, second: Tensor, objective: Objective, noise: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """-> total, reconstruction, contrast, and of a few first views, for people to look at: pictures (SHOWN, 3, S,
        S), predicted (SHOWN, L, P), mask (SHOWN, L)."""
        losses = self.model.losses(first, second, objective, noise)
        with torch.no_grad():
            predicted = self.model.predict(losses.first.decoded[:SHOWN])
        mask = losses.first.mask[:SHOWN]
        return losses.total, losses.reconstruction, losses.contrast, first[:SHOWN], predicted, mask


class CopiesLearner(nn.Module):
    """The same for a network with a convolutional stem."""

    def __init__(self, model: ConvViCMAE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, clean: Tensor, edited: Tensor, content: Tensor, items: Tensor, visible: Tensor, objective: CopiesObjective
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """-> as Learner; shown are edited views."""
        losses = self.model.losses(clean, edited, content, items, visible, objective)
        predicted, hidden = losses.predicted[:SHOWN].detach(), losses.hidden[:SHOWN]
        return losses.total, losses.reconstruction, losses.contrast, edited[:SHOWN], predicted, hidden


def shared_learner(model: ViCMAE | ConvViCMAE, shard: bool) -> nn.Module:
    """The learner of this process; its gradients become the mean over all processes."""
    learner = CopiesLearner(model) if isinstance(model, ConvViCMAE) else Learner(model)
    if world_size() == 1:
        return learner
    if shard and isinstance(model, ViCMAE):
        mesh = dist.device_mesh.init_device_mesh(next(model.parameters()).device.type, (world_size(),))
        for block in (*model.blocks, *model.decoder_blocks):
            fully_shard(block, mesh=mesh)
        fully_shard(learner, mesh=mesh)
        return learner
    return DistributedDataParallel(learner)


def sharing_gradients(learner: nn.Module, share: bool) -> AbstractContextManager[None]:
    """For one pass: only the last pass of a step shares its gradients."""
    if isinstance(learner, FSDPModule):
        learner.set_requires_gradient_sync(share)
    if isinstance(learner, DistributedDataParallel) and not share:
        unshared: AbstractContextManager[None] = learner.no_sync()
        return unshared
    return nullcontext()


def whole(value: Any) -> Any:
    """A state dict with every split tensor put together; all processes must call it."""
    if isinstance(value, DTensor):
        return value.full_tensor()
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    return value


def split_like_weights(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A whole optimiser state, its moments split as the weights are."""
    weights = [p for group in optimiser.param_groups for p in group["params"]]
    if not any(isinstance(p, DTensor) for p in weights):
        return state

    def split(moment: Tensor, weight: Tensor) -> Tensor:
        if not isinstance(weight, DTensor) or moment.ndim == 0:
            return moment
        return distribute_tensor(moment.to(weight.device), weight.device_mesh, weight.placements)

    moments = {
        index: {name: split(moment, weights[index]) for name, moment in moments.items()}
        for index, moments in state["state"].items()
    }
    return {**state, "state": moments}
