"""Two views of each item, made in batches on the device: crop, flip, colour, blur (PAPER 1.2, 1.3).

Geometry is one affine sampling per picture, colour one 3x4 matrix per picture, so a batch costs a few tensor
operations. Which rows of a clip become a pair is decided here too; decoding and files are not known here.
"""

from dataclasses import dataclass, replace

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
    order. By time, so any frame rate is right; the whole clip if it is shorter than the window. Of two frames or more
    the rows differ, but a window of 0 seconds gives one frame twice."""
    if len(seconds) == 1:
        return 0, 0
    length = min(window_seconds, seconds[-1] - seconds[0])
    start = seconds[0] + generator.random() * (seconds[-1] - seconds[0] - length)
    wanted = start + (np.array([0.0, 0.5]) + 0.5 * generator.random(2)) * length
    away = np.abs(seconds[None, :] - wanted[:, None])  # (2, T)
    rows = away.argmin(axis=1)
    if (
        rows[0] == rows[1] and window_seconds > 0
    ):  # few frames: one side takes the neighbour, the side that loses less by it
        row, padded = rows[0], np.pad(away, ((0, 0), (1, 1)), constant_values=np.inf)
        if padded[0, row] < padded[1, row + 2]:
            rows[0] -= 1
        else:
            rows[1] += 1
    first, second = (int(r) for r in generator.permutation(rows))
    return first, second


@dataclass(frozen=True)
class Draws:
    """Random numbers, one a picture. Of a batch split over processes and passes, each draws for the `whole` and keeps
    the rows of its `part`, so that a picture looks the same however the batch is split."""

    generator: torch.Generator
    part: Tensor | None = None
    whole: int = 0

    def uniform(self, n: int, low: float, high: float) -> Tensor:
        """(n,) float, for the n pictures at hand."""
        values = self._all(n) * (high - low) + low
        return values if self.part is None else values[self.part]

    def chance(self, n: int, probability: float) -> Tensor:
        """(n,) float, 1 with the given probability, else 0."""
        values = (self._all(n) < probability).float()
        return values if self.part is None else values[self.part]

    def one(self, low: float, high: float) -> float:
        """One number for all pictures of the batch."""
        return float(torch.rand(1, generator=self.generator, device=self.generator.device) * (high - low) + low)

    def _all(self, n: int) -> Tensor:
        wanted = n if self.part is None else self.whole
        return torch.rand(wanted, generator=self.generator, device=self.generator.device)


def augment(pixels: Tensor, size: int, augmentation: Augmentation, draws: Draws) -> Tensor:
    """pixels (N, K, K, 3) uint8 -> pictures (N, 3, size, size) float in 0..1, each augmented on its own."""
    pictures = crop_and_flip(pixels.permute(0, 3, 1, 2).float() / 255.0, size, augmentation, draws)
    pictures = jitter_colour(pictures, augmentation, draws)
    pictures = blur(pictures, augmentation.blur, draws)
    if augmentation.solarise > 0:
        mirrored = draws.chance(len(pictures), augmentation.solarise).view(-1, 1, 1, 1)
        pictures = torch.where((pictures > 0.5) & (mirrored > 0), 1 - pictures, pictures)
    return pictures


def crop_and_flip(pictures: Tensor, size: int, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Random resized crop and mirror: pictures (N, 3, K, K) -> (N, 3, size, size), one bilinear sampling."""
    n = len(pictures)
    area = draws.uniform(n, *augmentation.scale)
    ratio = draws.uniform(n, float(np.log(augmentation.ratio[0])), float(np.log(augmentation.ratio[1]))).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    shift_x = draws.uniform(n, -1, 1) * (1 - width)
    shift_y = draws.uniform(n, -1, 1) * (1 - height)
    mirror = 1 - 2 * draws.chance(n, augmentation.flip)
    theta = torch.zeros(n, 2, 3, device=pictures.device)
    theta[:, 0, 0], theta[:, 0, 2] = width * mirror, shift_x
    theta[:, 1, 1], theta[:, 1, 2] = height, shift_y
    grid = functional.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter_colour(pictures: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Brightness, contrast, saturation, hue and grey as one affine map of the colours of each picture."""
    n, device = len(pictures), pictures.device
    on = draws.chance(n, augmentation.colour)

    def factor(strength: float) -> Tensor:
        return 1 + on * draws.uniform(n, -strength, strength)

    brightness, contrast, saturation = (
        factor(s) for s in (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    )
    angle = on * draws.uniform(n, -augmentation.hue, augmentation.hue) * 2 * torch.pi
    saturation = saturation * (1 - draws.chance(n, augmentation.grey))
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


def blur(pictures: Tensor, probability: float, draws: Draws) -> Tensor:
    """Gaussian blur of a share of the pictures, one sigma (0.1 to 1.2 pixels) for all of them; 5 taps a direction."""
    chosen = draws.chance(len(pictures), probability).bool()
    sigma = draws.one(0.1, 1.2)
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
    rows: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """pixels (2, N, K, K, 3) uint8 (for images both halves hold the same picture), is_clip (N,) bool
    -> two views (N, 3, size, size) float in 0..1, in the order of the items.

    With `rows` (M,) the pixels are those of items `rows` of a batch, and is_clip is of the whole batch; the views are
    those that the whole batch would give at these rows.
    """
    views = []
    rows = torch.arange(len(is_clip), device=is_clip.device) if rows is None else rows
    here = is_clip[rows]
    for half in (0, 1):
        out = torch.empty(pixels.shape[1], 3, size, size, device=pixels.device)
        for of_kind, augmentations in ((~is_clip, for_images), (is_clip, for_frames)):
            if not of_kind.any():
                continue
            kind = here if of_kind is is_clip else ~here
            part = (of_kind.cumsum(0) - 1)[rows[kind]]
            draws = Draws(generator, part, int(of_kind.sum()))
            if kind.any():
                out[kind] = augment(pixels[half][kind], size, augmentations[half], draws)
            else:  # only for the draws, so that the kind that comes next gets its own
                augment(pixels[half][:1], size, augmentations[half], replace(draws, part=torch.zeros_like(rows[:1])))
        views.append(out)
    return views[0], views[1]
