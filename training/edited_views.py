"""What people do to pictures, made in batches on the device: crops, turns, insets, collages, text, blur, bad copies.

One perspective sampling a picture lays it into its frame; what stands around or under it is a plain ground, its own
blurred copy, or other pictures of the same batch. Those are in the view too, so they are named as its content: an
encoder that learnt to pass over them could not find collages (SSCD, arXiv 2202.10261, counts both pictures of a blend).

Files, steps and losses are not known here. The edits of `vicmae evaluate copies` are written apart from these.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .views import LUMA

JPEG_BLOCK = 8


@dataclass(frozen=True)
class Edits:
    """How often each edit happens and how far it goes. Chances are per view, layouts exclude each other."""

    crop: float = 0.6  # a part is cut out
    least_area: float = 0.12
    mirror: float = 0.3
    quarter_turn: float = 0.2
    tilt: float = 0.3
    most_tilt_degrees: float = 25.0
    perspective: float = 0.25
    inset: float = 0.16  # laid on another picture
    framed: float = 0.16  # laid on a plain ground or on its own blurred copy
    collage: float = 0.14
    blend: float = 0.06
    overlay: float = 0.4
    colour: float = 0.5
    grey: float = 0.15
    low_light: float = 0.06
    blur: float = 0.25
    noise: float = 0.15
    moire: float = 0.1
    jpeg: float = 0.3


class Dice:
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


def edit(
    pixels: Tensor, size: int, edits: Edits, overlays: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """pixels (N, K, K, 3) uint8, overlays (B, size, size, 4) uint8 -> views (N, 3, size, size) float in 0..1, and
    content (N, N) bool: content[i, j] where picture j is to be seen in view i (i itself always is)."""
    pictures = pixels.permute(0, 3, 1, 2).float() / 255.0
    dice = Dice(len(pictures), generator)
    views, content = _lay_out(pictures, size, edits, dice)
    views = _overlay(views, edits, overlays, dice)
    views = _recolour(views, edits, dice)
    return _degrade(views, edits, dice).clamp(0, 1), content


def mild(pixels: Tensor, size: int, share: float, generator: torch.Generator) -> Tensor:
    """pixels (N, K, K, 3) uint8 -> (N, 3, size, size): as they are, but a `share` of them cropped and mirrored a
    little: the side of a pair that stands for what is in the library."""
    pictures = pixels.permute(0, 3, 1, 2).float() / 255.0
    dice = Dice(len(pictures), generator)
    chosen = dice.chance(share).float()
    half = 1 - chosen * dice.uniform(0, 0.25)
    shift = dice.uniform(-1, 1, 2) * (1 - half)[:, None]
    mirrored = torch.where(dice.chance(0.5 * share), -1.0, 1.0)
    matrix = torch.zeros(len(pictures), 3, 3, device=pictures.device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = half * mirrored, half, 1
    matrix[:, :2, 2] = shift
    return _sample(pictures, matrix, size)[0]


def _lay_out(pictures: Tensor, size: int, edits: Edits, dice: Dice) -> tuple[Tensor, Tensor]:
    """Cropped, turned, tilted pictures in their frames, with what stands around them."""
    n, device = len(pictures), pictures.device
    kind = dice.uniform(0, 1)
    inset = kind < edits.inset
    framed = (kind >= edits.inset) & (kind < edits.inset + edits.framed)
    collage = (kind >= edits.inset + edits.framed) & (kind < edits.inset + edits.framed + edits.collage)
    placed = inset | framed
    scale = torch.where(placed[:, None], _placed_size(inset, dice), torch.ones(n, 2, device=device))
    shift = dice.uniform(-1, 1, 2) * (1 - scale)
    gentle = placed | collage  # what is small already is not cropped to a tenth as well
    matrix = _geometry(edits, gentle, dice) @ _inverse_placement(scale, shift)
    views, inside = _sample(pictures, matrix, size, (scale, shift))
    partner = _other_rows(n, dice)
    content = torch.eye(n, dtype=torch.bool, device=device)
    ground = _ground(pictures, size, inset, partner, dice)
    views = torch.where(inside, views, ground)
    content[inset.nonzero()[:, 0], partner[inset]] = True
    views, content = _collages(views, pictures, collage, content, dice)
    return _blend(views, pictures, edits, inset | collage, content, partner, dice)


def _placed_size(inset: Tensor, dice: Dice) -> Tensor:
    """(N, 2) half width and half height of the rectangle a picture is laid into, as shares of the frame."""
    side = torch.where(inset, dice.uniform(0.3, 0.8), dice.uniform(0.4, 0.97))
    stretch = dice.uniform(-0.35, 0.35).exp()
    full_width = dice.chance(0.4) & ~inset  # between bars above and below, or left and right
    wide = dice.chance(0.5)
    both = torch.stack([side * stretch, side / stretch], dim=1)
    one = torch.ones_like(side)
    bars = torch.where(wide[:, None], torch.stack([one, side], dim=1), torch.stack([side, one], dim=1))
    return torch.where(full_width[:, None], bars, both).clamp(max=1.0)


def _geometry(edits: Edits, gentle: Tensor, dice: Dice) -> Tensor:
    """(N, 3, 3): from a view's own square (-1..1) to the place in the picture (-1..1)."""
    n, device = dice.n, dice.device
    cropped = dice.chance(edits.crop)
    least = torch.where(gentle, torch.tensor(0.6, device=device), torch.tensor(edits.least_area, device=device))
    area = torch.where(cropped, least + (1 - least) * dice.uniform(0, 1), torch.ones(n, device=device))
    stretch = torch.where(cropped, dice.uniform(-0.4, 0.4), torch.zeros(n, device=device)).exp()
    half = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch], dim=1).clamp(max=1)
    shift = dice.uniform(-1, 1, 2) * (1 - half)
    crop = torch.zeros(n, 3, 3, device=device)
    crop[:, 0, 0], crop[:, 1, 1], crop[:, 2, 2] = half[:, 0], half[:, 1], 1
    crop[:, :2, 2] = shift
    tilted = torch.where(dice.chance(edits.tilt), dice.uniform(-1, 1), torch.zeros(n, device=device))
    quarters = torch.randint(1, 4, (n,), generator=dice.generator, device=device) * dice.chance(edits.quarter_turn)
    angle = tilted * torch.pi * edits.most_tilt_degrees / 180 + quarters * torch.pi / 2
    mirror = torch.where(dice.chance(edits.mirror), -1.0, 1.0)
    turn = torch.zeros(n, 3, 3, device=device)
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos() * mirror, -angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = angle.sin() * mirror, angle.cos()
    turn[:, 2, 2] = 1
    leaning = dice.chance(edits.perspective).float()[:, None] * dice.uniform(-0.22, 0.22, 2)
    turn[:, 2, :2] = leaning
    return crop @ turn


def _inverse_placement(scale: Tensor, shift: Tensor) -> Tensor:
    matrix = torch.zeros(len(scale), 3, 3, device=scale.device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = 1 / scale[:, 0], 1 / scale[:, 1], 1
    matrix[:, :2, 2] = -shift / scale
    return matrix


def _sample(
    pictures: Tensor, matrix: Tensor, size: int, placement: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """pictures (N, 3, K, K) through matrix (N, 3, 3) from frame to picture -> views (N, 3, size, size), and inside
    (N, 1, size, size) bool: where the frame shows the picture. A shrinking view samples a smaller picture."""
    axis = (torch.arange(size, device=pictures.device) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(1, -1, 3) @ matrix.transpose(1, 2)
    grid = (points[..., :2] / points[..., 2:].clamp(min=0.2)).reshape(-1, size, size, 2)
    views = functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    shrink = matrix[:, :2, :2].norm(dim=1).amax(dim=1) * pictures.shape[-1] / size
    for factor in (2, 4):  # bilinear sampling alone would alias
        small = (shrink >= factor * 0.75) & (shrink < factor * 1.5 if factor == 2 else shrink >= 0)
        if small.any():
            pooled = functional.avg_pool2d(pictures[small], factor)
            views[small] = functional.grid_sample(
                pooled, grid[small], mode="bilinear", padding_mode="border", align_corners=False
            )
    inside = (grid.abs() <= 1.0).all(dim=-1)
    if placement is not None:
        scale, shift = (t[:, None, None, :] for t in placement)
        frame = torch.stack([x, y], dim=-1)[None]
        inside &= ((frame - shift).abs() <= scale).all(dim=-1)
    return views, inside[:, None]


def _other_rows(n: int, dice: Dice) -> Tensor:
    """(N,) for each picture another one of the batch."""
    if n == 1:
        return torch.zeros(1, dtype=torch.long, device=dice.device)
    step = torch.randint(1, n, (n,), generator=dice.generator, device=dice.device)
    return (torch.arange(n, device=dice.device) + step) % n


def _ground(pictures: Tensor, size: int, inset: Tensor, partner: Tensor, dice: Dice) -> Tensor:
    """(N, 3, size, size): another picture under an inset; else a plain colour (mostly black, white or grey), a slope
    between two colours, or the picture itself, blurred."""
    n = len(pictures)
    whole = functional.interpolate(pictures, (size, size), mode="bilinear", antialias=pictures.shape[-1] > size)
    level = dice.uniform(0, 1)
    plain = torch.where(dice.chance(0.6), (level > 0.5).float() * 0.9 + 0.05 * level, level)[:, None].expand(n, 3)
    plain = torch.where(dice.chance(0.35)[:, None], dice.uniform(0, 1, 3), plain)
    slope = torch.linspace(-0.3, 0.3, size, device=pictures.device) * torch.where(dice.chance(0.25), 1.0, 0.0)[:, None]
    ground = plain[:, :, None, None] + slope[:, None, :, None]
    ground = ground.expand(n, 3, size, size)
    blurred = functional.interpolate(functional.interpolate(whole, (6, 6), mode="area"), (size, size), mode="bilinear")
    ground = torch.where(dice.chance(0.25)[:, None, None, None], blurred, ground)
    return torch.where(inset[:, None, None, None], whole[partner], ground)


def _collages(views: Tensor, pictures: Tensor, chosen: Tensor, content: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    """Puts chosen views into a cell of a grid (2 x 2, 1 x 2, 2 x 1, 3 x 3) whose other cells show other pictures."""
    n, size = len(views), views.shape[-1]
    content = content.clone()
    kinds = torch.randint(0, 5, (n,), generator=dice.generator, device=dice.device).tolist()
    places = dice.uniform(0, 1).tolist()
    firsts = torch.randint(1, max(2, n), (n,), generator=dice.generator, device=dice.device).tolist()
    gap = max(1, size // 60)
    for i in chosen.nonzero()[:, 0].tolist():
        rows, columns = ((2, 2), (2, 2), (1, 2), (2, 1), (3, 3))[kinds[i]]
        cells = rows * columns
        if n <= cells:
            continue
        own = int(places[i] * cells)
        height, width = size // rows, size // columns
        picture = torch.full_like(views[i], 1.0 if places[i] > 0.5 else 0.0)
        for cell in range(cells):
            other = (i + firsts[i] + cell) % n
            other = other if other != i else (i + firsts[i] + cells) % n
            shown = views[i] if cell == own else pictures[other]
            if cell != own:
                content[i, other] = True
            top, left = cell // columns * height, cell % columns * width
            part = functional.interpolate(
                shown[None], (height - gap, width - gap), mode="bilinear", antialias=True, align_corners=False
            )
            picture[:, top : top + height - gap, left : left + width - gap] = part[0]
        views[i] = picture
    return views, content


def _blend(
    views: Tensor, pictures: Tensor, edits: Edits, not_these: Tensor, content: Tensor, partner: Tensor, dice: Dice
) -> tuple[Tensor, Tensor]:
    """A second picture shines through."""
    chosen = (dice.chance(edits.blend) & ~not_these).nonzero()[:, 0]
    strength = dice.uniform(0.25, 0.5)[chosen].view(-1, 1, 1, 1)
    if len(chosen):
        size = views.shape[-1]
        through = functional.interpolate(pictures[partner[chosen]], (size, size), mode="bilinear", antialias=True)
        views[chosen] = views[chosen] * (1 - strength) + through * strength
        content[chosen, partner[chosen]] = True
    return views, content


def _overlay(views: Tensor, edits: Edits, overlays: Tensor, dice: Dice) -> Tensor:
    chosen = dice.chance(edits.overlay).nonzero()[:, 0]
    which = torch.randint(0, len(overlays), (len(views),), generator=dice.generator, device=dice.device)[chosen]
    if len(chosen):
        laid = overlays[which].permute(0, 3, 1, 2).float() / 255.0
        views[chosen] = torch.lerp(views[chosen], laid[:, :3], laid[:, 3:])
    return views


def _recolour(views: Tensor, edits: Edits, dice: Dice) -> Tensor:
    """Brightness, contrast, saturation, cast and gamma; grey; a dark and noisy picture; at times a negative."""
    n = len(views)
    on = dice.chance(edits.colour).float().view(n, 1, 1, 1)

    def factor(strength: float) -> Tensor:
        return 1 + on * dice.uniform(-strength, strength).view(n, 1, 1, 1)

    brightness, contrast, gamma = factor(0.4), factor(0.45), factor(0.4)
    saturation = 1 + on * dice.uniform(-0.8, 0.8).view(n, 1, 1, 1)
    cast = 1 + on * dice.uniform(-0.25, 0.25, 3).view(n, 3, 1, 1)
    grey = dice.chance(edits.grey).view(n, 1, 1, 1)
    dark = dice.chance(edits.low_light).view(n, 1, 1, 1)
    luma = (views * torch.tensor(LUMA, device=views.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    saturation = torch.where(grey, torch.zeros_like(saturation), saturation)
    views = (luma + (views - luma) * saturation) * torch.where(grey, torch.ones_like(cast), cast)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    views = ((views - mean) * contrast + mean) * brightness
    views = views.clamp(1e-4, 1) ** gamma
    faint = dice.uniform(0.12, 0.4).view(n, 1, 1, 1)
    noise = torch.randn(views.shape, generator=dice.generator, device=views.device) * 0.04
    return torch.where(dark, views * faint + noise, views)


def _degrade(views: Tensor, edits: Edits, dice: Dice) -> Tensor:
    """Lower resolution, blur, noise, the stripes of a photographed screen, JPEG."""
    size = views.shape[-1]
    kind = dice.uniform(0, 1)
    factor = torch.randint(2, 9, (1,), generator=dice.generator, device=dice.device).item()
    low = (kind < edits.blur / 2).nonzero()[:, 0]
    if len(low):
        small = functional.interpolate(views[low], (int(size / factor),) * 2, mode="area")
        views[low] = functional.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    soft = ((kind >= edits.blur / 2) & (kind < edits.blur)).nonzero()[:, 0]
    sigma = float(torch.rand(1, generator=dice.generator, device=dice.device)) * size / 40 + 0.4
    if len(soft):
        views[soft] = gaussian_blur(views[soft], sigma)
    noisy = dice.chance(edits.noise).nonzero()[:, 0]
    if len(noisy):
        noise = torch.randn(views[noisy].shape, generator=dice.generator, device=views.device)
        views[noisy] = views[noisy] + noise * dice.uniform(0.01, 0.1)[noisy].view(-1, 1, 1, 1)
    views = _moire(views, edits.moire, dice)
    coded = dice.chance(edits.jpeg).nonzero()[:, 0]
    if len(coded):
        views[coded] = jpeg(views[coded].clamp(0, 1), dice.uniform(0.02, 0.25)[coded])
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


def _moire(views: Tensor, probability: float, dice: Dice) -> Tensor:
    """Fine stripes, a patch of glare and less contrast."""
    chosen = dice.chance(probability).nonzero()[:, 0]
    draws = dice.uniform(0, 1, 7)[chosen]
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
