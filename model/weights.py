"""What every reader of a foreign layout gives back: tensors under official names (PAPER 4.2), and what they need to be
a network. It opens no file and knows no layout.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..media.spec import IMAGENET_MEAN, IMAGENET_STD

PATCHES = "patch_embed.proj.weight"


@dataclass(frozen=True)
class Weights:
    """Tensors under official names, how their pictures were normalised (mean and std on the 0..1 scale), and the two
    switches of ModelConfig that no shape tells."""

    layout: str
    state: dict[str, Tensor]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    class_token: bool = True
    norm_of_mean: bool = False


def with_norm_of_mean(weights: Weights) -> Weights:
    """Weights whose last LayerNorm is called fc_norm were fine-tuned with global pooling: it normalises the mean of the
    tokens. Others come back as they are."""
    names = ("fc_norm.weight", "fc_norm.bias")
    if "norm.weight" in weights.state or names[0] not in weights.state:
        return weights
    state = {name.removeprefix("fc_") if name in names else name: value for name, value in weights.state.items()}
    return replace(weights, state=state, norm_of_mean=True)


def stacked(rows: list[Tensor | None], name: str, where: str) -> Tensor:
    """The rows of query, key and value as one matrix or vector; CheckpointError when one of them is missing."""
    whole = [row for row in rows if row is not None]
    if len(whole) < len(rows):
        raise CheckpointError(f"{where} has {name} but not its key and value beside it. Fetch it again.")
    return torch.cat(whole)


def some(names: Iterable[str]) -> str:
    """A few of the names, for a sentence."""
    return ", ".join(sorted(names)[:4]) or "no tensors"
