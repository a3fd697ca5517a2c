"""Random numbers for the pictures of a batch, from one generator."""

import torch
from torch import Tensor


class BatchRandom:
    """Random numbers for the n pictures of a batch."""

    def __init__(self, n: int, generator: torch.Generator) -> None:
        self.n, self.generator, self.device = n, generator, generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand(self.n, *shape, generator=self.generator, device=self.device)
        return values * (high - low) + low

    def chance(self, probability: float) -> Tensor:
        """(n,) bool."""
        return torch.rand(self.n, generator=self.generator, device=self.device) < probability

    def sign(self) -> Tensor:
        return self.chance(0.5).float() * 2 - 1
