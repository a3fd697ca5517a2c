"""Two views of each item, made in batches on the device: crop, flip, colour, blur (PAPER 1.2, 1.3).

Geometry is one affine sampling per picture, colour one 3x4 matrix per picture, so a batch costs a few tensor
operations. Which rows of a clip become a pair is decided here too; decoding and files are not known here.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

PAIR_WINDOW_SECONDS = 2.133  # 16 frames at stride 4 and 30 fps; one frame from each half (PAPER 5)

LUMA = (0.299, 0.587, 0.114)
RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@dataclass(frozen=True)
class Augmentation:
    """How far a view may differ. Scales are shares of the picture's area; probabilities are per view."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    colour: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grey: float = 0.2
    blur: float = 0.5
    solarise: float = 0.1


def pick_pair(
    seconds: NDArray[np.float64], generator: np.random.Generator, window_seconds: float = PAIR_WINDOW_SECONDS
) -> tuple[int, int]:
    """Times of a clip (T,) ascending -> two row numbers: one from each half of a window at a random place, in random
    order. By time, so any frame rate is right; the whole clip if it is shorter than the window."""
    if len(seconds) == 1:
        return 0, 0
    length = min(window_seconds, seconds[-1] - seconds[0])
    start = seconds[0] + generator.random() * (seconds[-1] - seconds[0] - length)
    wanted = start + (np.array([0.0, 0.5]) + 0.5 * generator.random(2)) * length
    rows = np.abs(seconds[None, :] - wanted[:, None]).argmin(axis=1)
    first, second = (int(r) for r in generator.permutation(rows))
    return first, second


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def chance(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """(n,) float, 1 with the given probability, else 0."""
    return (torch.rand(n, generator=generator, device=generator.device) < probability).float()


def augment(pixels: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """pixels (N, K, K, 3) uint8 -> pictures (N, 3, size, size) float in 0..1, each augmented on its own."""
    pictures = crop_and_flip(pixels.permute(0, 3, 1, 2).float() / 255.0, size, augmentation, generator)
    pictures = jitter_colour(pictures, augmentation, generator)
    pictures = blur(pictures, augmentation.blur, generator)
    if augmentation.solarise > 0:
        mirrored = chance(len(pictures), augmentation.solarise, generator).view(-1, 1, 1, 1)
        pictures = torch.where((pictures > 0.5) & (mirrored > 0), 1 - pictures, pictures)
    return pictures


def crop_and_flip(pictures: Tensor, size: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Random resized crop and mirror: pictures (N, 3, K, K) -> (N, 3, size, size), one bilinear sampling."""
    n = len(pictures)
    area = uniform((n,), *augmentation.scale, generator)
    ratio = uniform((n,), float(np.log(augmentation.ratio[0])), float(np.log(augmentation.ratio[1])), generator).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    shift_x = uniform((n,), -1, 1, generator) * (1 - width)
    shift_y = uniform((n,), -1, 1, generator) * (1 - height)
    mirror = 1 - 2 * chance(n, augmentation.flip, generator)
    theta = torch.zeros(n, 2, 3, device=pictures.device)
    theta[:, 0, 0], theta[:, 0, 2] = width * mirror, shift_x
    theta[:, 1, 1], theta[:, 1, 2] = height, shift_y
    grid = functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter_colour(pictures: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation, hue and grey as one affine map of the colours of each picture."""
    n, device = len(pictures), pictures.device
    on = chance(n, augmentation.colour, generator)

    def factor(strength: float) -> Tensor:
        return 1 + on * uniform((n,), -strength, strength, generator)

    brightness, contrast, saturation = (
        factor(s) for s in (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    )
    angle = on * uniform((n,), -augmentation.hue, augmentation.hue, generator) * 2 * torch.pi
    saturation = saturation * (1 - chance(n, augmentation.grey, generator))
    # In YIQ, hue turns the plane (I, Q) and saturation scales it.
    turn = torch.zeros(n, 3, 3, device=device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * angle.sin(), saturation * angle.sin()
    to_yiq = RGB_TO_YIQ.to(device)
    colour = torch.linalg.inv(to_yiq) @ turn @ to_yiq  # (n, 3, 3)
    grey_mean = (pictures.mean(dim=(2, 3)) * torch.tensor(LUMA, device=device)).sum(dim=1)
    offset = ((1 - contrast) * grey_mean * brightness).view(n, 1, 1)
    mixed = torch.baddbmm(offset, colour * (brightness * contrast).view(n, 1, 1), pictures.flatten(2))
    return mixed.clamp(0, 1).view_as(pictures)


def blur(pictures: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur of a share of the pictures, one sigma (0.1 to 1.2 pixels) for all of them; 5 taps a direction."""
    chosen = chance(len(pictures), probability, generator).bool()
    sigma = float(uniform((1,), 0.1, 1.2, generator))
    if not chosen.any():
        return pictures
    offsets = torch.arange(-2, 3, device=pictures.device, dtype=torch.float32)
    taps = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)
    some = functional.pad(pictures[chosen], (2, 2, 2, 2), mode="reflect")
    height, width = pictures.shape[2:]
    rows = torch.stack([some[:, :, i : i + height] * taps[i] for i in range(5)]).sum(dim=0)
    blurred = torch.stack([rows[:, :, :, i : i + width] * taps[i] for i in range(5)]).sum(dim=0)
    out = pictures.clone()
    out[chosen] = blurred
    return out


def two_views(
    pixels: Tensor,
    is_clip: Tensor,
    size: int,
    for_images: tuple[Augmentation, Augmentation],
    for_frames: tuple[Augmentation, Augmentation],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """pixels (2, N, K, K, 3) uint8 (for images both halves hold the same picture), is_clip (N,) bool
    -> two views (N, 3, size, size) float in 0..1, in the order of the items."""
    views = []
    for half in (0, 1):
        out = torch.empty(pixels.shape[1], 3, size, size, device=pixels.device)
        for rows, augmentations in ((~is_clip, for_images), (is_clip, for_frames)):
            if rows.any():
                out[rows] = augment(pixels[half][rows], size, augmentations[half], generator)
        views.append(out)
    return views[0], views[1]
