"""What people do to pictures, made in batches on the device: crops, turns, insets, collages, text, blur, bad copies.

Files, steps and losses are not known here. The edits of `vicmae evaluate copies` are written apart from these.
"""

import torch
from torch import Tensor

from .batch_random import BatchRandom
from .degrade import degrade, recolour
from .layout import lay_out, sample
from .settings import Edits


def edit(
    pixels: Tensor, size: int, edits: Edits, overlays: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """pixels (N, K, K, 3) uint8, overlays (B, size, size, 4) uint8 -> views (N, 3, size, size) float in 0..1, and
    content (N, N) bool: content[i, j] where picture j is to be seen in view i (i itself always is)."""
    pictures = pixels.permute(0, 3, 1, 2).float() / 255.0
    random = BatchRandom(len(pictures), generator)
    views, content = lay_out(pictures, size, edits, random)
    views = _overlay(views, edits, overlays, random)
    views = recolour(views, edits, random)
    return degrade(views, edits, random).clamp(0, 1), content


def mild(pixels: Tensor, size: int, share: float, generator: torch.Generator) -> Tensor:
    """pixels (N, K, K, 3) uint8 -> (N, 3, size, size): as they are, but a `share` of them cropped and mirrored a
    little: the side of a pair that stands for what is in the library."""
    pictures = pixels.permute(0, 3, 1, 2).float() / 255.0
    random = BatchRandom(len(pictures), generator)
    chosen = random.chance(share).float()
    half = 1 - chosen * random.uniform(0, 0.25)
    shift = random.uniform(-1, 1, 2) * (1 - half)[:, None]
    mirrored = torch.where(random.chance(0.5 * share), -1.0, 1.0)
    matrix = torch.zeros(len(pictures), 3, 3, device=pictures.device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = half * mirrored, half, 1
    matrix[:, :2, 2] = shift
    return sample(pictures, matrix, size)[0]


def _overlay(views: Tensor, edits: Edits, overlays: Tensor, random: BatchRandom) -> Tensor:
    chosen = random.chance(edits.overlay).nonzero()[:, 0]
    which = torch.randint(0, len(overlays), (len(views),), generator=random.generator, device=random.device)[chosen]
    if len(chosen):
        laid = overlays[which].permute(0, 3, 1, 2).float() / 255.0
        views[chosen] = torch.lerp(views[chosen], laid[:, :3], laid[:, 3:])
    return views
