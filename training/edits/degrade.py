"""What copying does to a view's colours and detail: filters, grey, low light, blur, noise, moire, JPEG."""

import torch
from torch import Tensor
from torch.nn import functional

from ..views import LUMA
from .batch_random import BatchRandom
from .settings import Edits

JPEG_BLOCK = 8


def recolour(views: Tensor, edits: Edits, random: BatchRandom) -> Tensor:
    """Brightness, contrast, saturation, cast and gamma; grey; a dark and noisy picture; at times a negative."""
    n = len(views)
    on = random.chance(edits.colour).float().view(n, 1, 1, 1)

    def factor(strength: float) -> Tensor:
        return 1 + on * random.uniform(-strength, strength).view(n, 1, 1, 1)

    brightness, contrast, gamma = factor(0.4), factor(0.45), factor(0.4)
    saturation = 1 + on * random.uniform(-0.8, 0.8).view(n, 1, 1, 1)
    cast = 1 + on * random.uniform(-0.25, 0.25, 3).view(n, 3, 1, 1)
    grey = random.chance(edits.grey).view(n, 1, 1, 1)
    dark = random.chance(edits.low_light).view(n, 1, 1, 1)
    luma = (views * torch.tensor(LUMA, device=views.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    saturation = torch.where(grey, torch.zeros_like(saturation), saturation)
    views = (luma + (views - luma) * saturation) * torch.where(grey, torch.ones_like(cast), cast)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    views = ((views - mean) * contrast + mean) * brightness
    views = views.clamp(1e-4, 1) ** gamma
    faint = random.uniform(0.12, 0.4).view(n, 1, 1, 1)
    noise = torch.randn(views.shape, generator=random.generator, device=views.device) * 0.04
    return torch.where(dark, views * faint + noise, views)


def degrade(views: Tensor, edits: Edits, random: BatchRandom) -> Tensor:
    """Lower resolution, blur, noise, the stripes of a photographed screen, JPEG."""
    size = views.shape[-1]
    kind = random.uniform(0, 1)
    factor = torch.randint(2, 9, (1,), generator=random.generator, device=random.device).item()
    low = (kind < edits.blur / 2).nonzero()[:, 0]
    if len(low):
        small = functional.interpolate(views[low], (int(size / factor),) * 2, mode="area")
        views[low] = functional.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    soft = ((kind >= edits.blur / 2) & (kind < edits.blur)).nonzero()[:, 0]
    sigma = float(torch.rand(1, generator=random.generator, device=random.device)) * size / 40 + 0.4
    if len(soft):
        views[soft] = gaussian_blur(views[soft], sigma)
    noisy = random.chance(edits.noise).nonzero()[:, 0]
    if len(noisy):
        noise = torch.randn(views[noisy].shape, generator=random.generator, device=views.device)
        views[noisy] = views[noisy] + noise * random.uniform(0.01, 0.1)[noisy].view(-1, 1, 1, 1)
    views = _moire(views, edits.moire, random)
    coded = random.chance(edits.jpeg).nonzero()[:, 0]
    if len(coded):
        views[coded] = jpeg(views[coded].clamp(0, 1), random.uniform(0.02, 0.25)[coded])
    return views


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """(N, 3, S, S), sigma in pixels."""
    reach = max(1, int(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=pictures.device, dtype=torch.float32)
    taps = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)
    n, channels, height, width = pictures.shape
    flat = pictures.reshape(n * channels, 1, height, width)
    flat = functional.conv2d(functional.pad(flat, (reach, reach, 0, 0), mode="replicate"), taps.view(1, 1, 1, -1))
    flat = functional.conv2d(functional.pad(flat, (0, 0, reach, reach), mode="replicate"), taps.view(1, 1, -1, 1))
    return flat.reshape(n, channels, height, width)


def _moire(views: Tensor, probability: float, random: BatchRandom) -> Tensor:
    """Fine stripes, a patch of glare and less contrast."""
    chosen = random.chance(probability).nonzero()[:, 0]
    draws = random.uniform(0, 1, 7)[chosen]
    if not len(chosen):
        return views
    size = views.shape[-1]
    axis = torch.arange(size, device=views.device, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle, period, strength, at_x, at_y, width, glare = draws.T[:, :, None, None]
    wave = torch.sin((x * (angle * 6.3).cos() + y * (angle * 6.3).sin()) * 6.3 / (2.2 + 6 * period))
    away = ((x / size - at_x) ** 2 + (y / size - at_y) ** 2) / (0.02 + 0.15 * width)
    bright = (0.5 * glare * torch.exp(-away))[:, None]
    dull = 0.08 + 0.84 * views[chosen]
    views[chosen] = dull * (1 + (0.12 * strength * wave)[:, None]) * (1 - bright) + bright
    return views


def jpeg(pictures: Tensor, step: Tensor) -> Tensor:
    """(N, 3, S, S) in 0..1 through the losses of JPEG: 8 x 8 cosine transform, each number rounded to a multiple of
    step (N,) times one plus its frequency. S is a multiple of 8."""
    n, channels, height, width = pictures.shape
    k = torch.arange(JPEG_BLOCK, device=pictures.device, dtype=torch.float32)
    cosine = torch.cos((2 * k[None, :] + 1) * k[:, None] * torch.pi / (2 * JPEG_BLOCK)) * (2 / JPEG_BLOCK) ** 0.5
    cosine[0] *= 0.5**0.5
    blocks = pictures.reshape(n, channels, height // JPEG_BLOCK, JPEG_BLOCK, width // JPEG_BLOCK, JPEG_BLOCK)
    blocks = blocks.permute(0, 1, 2, 4, 3, 5)
    coefficients = cosine @ blocks @ cosine.T
    steps = step.view(n, 1, 1, 1, 1, 1) * (1 + (k[:, None] + k[None, :]) / 2)
    rounded = (coefficients / steps).round() * steps
    back = (cosine.T @ rounded @ cosine).permute(0, 1, 2, 4, 3, 5)
    whole: Tensor = back.reshape(n, channels, height, width)
    return whole
