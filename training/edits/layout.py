"""Where a picture lies in its view: cropped, turned, tilted, laid into a frame, and what stands around it.

One perspective sampling a picture. What is around or under it is a plain ground, its own blurred copy, or other
pictures of the batch; those are named as the view's content (SSCD, arXiv 2202.10261, counts both pictures of a blend).
"""

import torch
from torch import Tensor
from torch.nn import functional

from .batch_random import BatchRandom
from .settings import Edits


def lay_out(pictures: Tensor, size: int, edits: Edits, random: BatchRandom) -> tuple[Tensor, Tensor]:
    """Cropped, turned, tilted pictures in their frames, with what stands around them."""
    n, device = len(pictures), pictures.device
    kind = random.uniform(0, 1)
    inset = kind < edits.inset
    framed = (kind >= edits.inset) & (kind < edits.inset + edits.framed)
    collage = (kind >= edits.inset + edits.framed) & (kind < edits.inset + edits.framed + edits.collage)
    placed = inset | framed
    scale = torch.where(placed[:, None], _placed_size(inset, random), torch.ones(n, 2, device=device))
    shift = random.uniform(-1, 1, 2) * (1 - scale)
    gentle = placed | collage  # what is small already is not cropped to a tenth as well
    matrix = _geometry(edits, gentle, random) @ _inverse_placement(scale, shift)
    views, inside = sample(pictures, matrix, size, (scale, shift))
    partner = _other_rows(n, random)
    content = torch.eye(n, dtype=torch.bool, device=device)
    ground = _ground(pictures, size, inset, partner, random)
    views = torch.where(inside, views, ground)
    content[inset.nonzero()[:, 0], partner[inset]] = True
    views, content = _collages(views, pictures, collage, content, random)
    return _blend(views, pictures, edits, inset | collage, content, partner, random)


def _placed_size(inset: Tensor, random: BatchRandom) -> Tensor:
    """(N, 2) half width and half height of the rectangle a picture is laid into, as shares of the frame."""
    side = torch.where(inset, random.uniform(0.3, 0.8), random.uniform(0.4, 0.97))
    stretch = random.uniform(-0.35, 0.35).exp()
    full_width = random.chance(0.4) & ~inset  # between bars above and below, or left and right
    wide = random.chance(0.5)
    both = torch.stack([side * stretch, side / stretch], dim=1)
    one = torch.ones_like(side)
    bars = torch.where(wide[:, None], torch.stack([one, side], dim=1), torch.stack([side, one], dim=1))
    return torch.where(full_width[:, None], bars, both).clamp(max=1.0)


def _geometry(edits: Edits, gentle: Tensor, random: BatchRandom) -> Tensor:
    """(N, 3, 3): from a view's own square (-1..1) to the place in the picture (-1..1)."""
    n, device = random.n, random.device
    cropped = random.chance(edits.crop)
    least = torch.where(gentle, torch.tensor(0.6, device=device), torch.tensor(edits.least_area, device=device))
    area = torch.where(cropped, least + (1 - least) * random.uniform(0, 1), torch.ones(n, device=device))
    stretch = torch.where(cropped, random.uniform(-0.4, 0.4), torch.zeros(n, device=device)).exp()
    half = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch], dim=1).clamp(max=1)
    shift = random.uniform(-1, 1, 2) * (1 - half)
    crop = torch.zeros(n, 3, 3, device=device)
    crop[:, 0, 0], crop[:, 1, 1], crop[:, 2, 2] = half[:, 0], half[:, 1], 1
    crop[:, :2, 2] = shift
    tilted = torch.where(random.chance(edits.tilt), random.uniform(-1, 1), torch.zeros(n, device=device))
    quarters = torch.randint(1, 4, (n,), generator=random.generator, device=device) * random.chance(edits.quarter_turn)
    angle = tilted * torch.pi * edits.most_tilt_degrees / 180 + quarters * torch.pi / 2
    mirror = torch.where(random.chance(edits.mirror), -1.0, 1.0)
    turn = torch.zeros(n, 3, 3, device=device)
    turn[:, 0, 0], turn[:, 0, 1] = angle.cos() * mirror, -angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = angle.sin() * mirror, angle.cos()
    turn[:, 2, 2] = 1
    leaning = random.chance(edits.perspective).float()[:, None] * random.uniform(-0.22, 0.22, 2)
    turn[:, 2, :2] = leaning
    return crop @ turn


def _inverse_placement(scale: Tensor, shift: Tensor) -> Tensor:
    matrix = torch.zeros(len(scale), 3, 3, device=scale.device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = 1 / scale[:, 0], 1 / scale[:, 1], 1
    matrix[:, :2, 2] = -shift / scale
    return matrix


def sample(
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


def _other_rows(n: int, random: BatchRandom) -> Tensor:
    """(N,) for each picture another one of the batch."""
    if n == 1:
        return torch.zeros(1, dtype=torch.long, device=random.device)
    step = torch.randint(1, n, (n,), generator=random.generator, device=random.device)
    return (torch.arange(n, device=random.device) + step) % n


def _ground(pictures: Tensor, size: int, inset: Tensor, partner: Tensor, random: BatchRandom) -> Tensor:
    """(N, 3, size, size): another picture under an inset; else a plain colour (mostly black, white or grey), a slope
    between two colours, or the picture itself, blurred."""
    n = len(pictures)
    whole = functional.interpolate(pictures, (size, size), mode="bilinear", antialias=pictures.shape[-1] > size)
    level = random.uniform(0, 1)
    plain = torch.where(random.chance(0.6), (level > 0.5).float() * 0.9 + 0.05 * level, level)[:, None].expand(n, 3)
    plain = torch.where(random.chance(0.35)[:, None], random.uniform(0, 1, 3), plain)
    slope = (
        torch.linspace(-0.3, 0.3, size, device=pictures.device) * torch.where(random.chance(0.25), 1.0, 0.0)[:, None]
    )
    ground = plain[:, :, None, None] + slope[:, None, :, None]
    ground = ground.expand(n, 3, size, size)
    blurred = functional.interpolate(functional.interpolate(whole, (6, 6), mode="area"), (size, size), mode="bilinear")
    ground = torch.where(random.chance(0.25)[:, None, None, None], blurred, ground)
    return torch.where(inset[:, None, None, None], whole[partner], ground)


def _collages(
    views: Tensor, pictures: Tensor, chosen: Tensor, content: Tensor, random: BatchRandom
) -> tuple[Tensor, Tensor]:
    """Puts chosen views into a cell of a grid (2 x 2, 1 x 2, 2 x 1, 3 x 3) whose other cells show other pictures."""
    n, size = len(views), views.shape[-1]
    content = content.clone()
    kinds = torch.randint(0, 5, (n,), generator=random.generator, device=random.device).tolist()
    places = random.uniform(0, 1).tolist()
    firsts = torch.randint(1, max(2, n), (n,), generator=random.generator, device=random.device).tolist()
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
    views: Tensor,
    pictures: Tensor,
    edits: Edits,
    not_these: Tensor,
    content: Tensor,
    partner: Tensor,
    random: BatchRandom,
) -> tuple[Tensor, Tensor]:
    """A second picture shines through."""
    chosen = (random.chance(edits.blend) & ~not_these).nonzero()[:, 0]
    strength = random.uniform(0.25, 0.5)[chosen].view(-1, 1, 1, 1)
    if len(chosen):
        size = views.shape[-1]
        through = functional.interpolate(pictures[partner[chosen]], (size, size), mode="bilinear", antialias=True)
        views[chosen] = views[chosen] * (1 - strength) + through * strength
        content[chosen, partner[chosen]] = True
    return views, content
