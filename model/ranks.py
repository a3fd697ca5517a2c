"""What the processes of one training run share: vectors gathered and sums taken with their gradients, batch norm over
all of them. Alone, each function gives back what it got.

It does not start processes and does not know the network.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if world_size() > 1 else 0


def gather(rows: Tensor) -> Tensor:
    """rows (N, ...), as many in each process -> (world * N, ...) in the order of the ranks.

    The gradient of every process's loss flows back to the process that a row came from, as a sum.
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes; the gradient is summed likewise."""
    if world_size() == 1:
        return values
    summed: Tensor = _Total.apply(values)
    return summed


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of (N, C) whose statistics come from all processes once `synced` is set.

    On any device, where PyTorch's own SyncBatchNorm wants a GPU.
    """

    synced = False

    def forward(self, rows: Tensor) -> Tensor:
        if not (self.synced and self.training and world_size() > 1):
            return super().forward(rows)
        full = rows if rows.dtype == torch.float64 else rows.float()
        count = len(rows) * world_size()
        mean = total(full.sum(dim=0)) / count
        centred = full - mean
        variance = total(centred.square().sum(dim=0)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                momentum = self.momentum or 0.0
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean.detach(), momentum)
                self.running_var.lerp_(variance.detach() * count / (count - 1), momentum)
        normal = centred * (variance + self.eps).rsqrt() * self.weight + self.bias
        return normal.to(rows.dtype)
