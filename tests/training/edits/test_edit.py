"""vicmae.training.edits: every edit is a picture, follows from its generator, and names what it shows."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from vicmae.training.edits import Edits, edit, mild, overlay_bank
from vicmae.training.edits.degrade import gaussian_blur, jpeg

SIZE = 64
NONE = Edits(**{f.name: 0.0 for f in fields(Edits)})
ONE_AT_A_TIME = [f.name for f in fields(Edits) if f.name not in ("least_area", "most_tilt_degrees")]


def plain_pixels(count: int = 12) -> torch.Tensor:
    """Pictures of different colours, each with a bright square off its centre."""
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randint(30, 200, (count, 1, 1, 3), generator=generator).expand(count, 80, 80, 3).clone()
    pixels[:, 10:30, 10:40] = 255
    return pixels.to(torch.uint8)


def overlays() -> torch.Tensor:
    return torch.from_numpy(overlay_bank(8, SIZE, seed=0))


def edited(edits: Edits, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return edit(plain_pixels(), SIZE, edits, overlays(), torch.Generator().manual_seed(seed))


def test_no_edit_leaves_the_picture() -> None:
    views, content = edited(NONE)
    untouched = mild(plain_pixels(), SIZE, 0.0, torch.Generator().manual_seed(0))
    assert views.shape == (12, 3, SIZE, SIZE)
    torch.testing.assert_close(views, untouched, rtol=0, atol=0.02)
    assert content.equal(torch.eye(12, dtype=torch.bool))


@pytest.mark.parametrize("name", ONE_AT_A_TIME)
def test_each_edit_alone(name: str) -> None:
    edits = Edits(**{**vars(NONE), name: 1.0, "least_area": 0.12, "most_tilt_degrees": 25.0})
    views, content = edited(edits)
    again, _ = edited(edits)
    assert views.equal(again)
    assert 0 <= float(views.min()) and float(views.max()) <= 1 and not views.isnan().any()
    assert not views.equal(edited(NONE)[0])
    assert content.diagonal().all()
    others = content.sum(dim=1) - 1
    assert (others > 0).all() if name in ("inset", "collage", "blend") else (others == 0).all()


def test_everything_together_over_seeds() -> None:
    for seed in range(5):
        views, _ = edited(Edits(), seed)
        assert not views.isnan().any() and 0 <= float(views.min()) and float(views.max()) <= 1


def test_a_collage_shows_what_it_names() -> None:
    """Of a named picture the colour is in the view."""
    views, content = edited(Edits(**{**vars(NONE), "collage": 1.0, "least_area": 1.0}))
    colours = plain_pixels()[:, -1, -1].float() / 255.0
    for view, row in zip(views, content, strict=True):
        for other in row.nonzero()[:, 0].tolist():
            away = (view - colours[other].view(3, 1, 1)).abs().amax(dim=0)
            assert float(away.min()) < 0.03


def test_a_batch_of_one_has_no_partner() -> None:
    views, content = edit(plain_pixels(1), SIZE, Edits(), overlays(), torch.Generator().manual_seed(0))
    assert views.shape[0] == 1 and content.tolist() == [[True]]


def test_blur_and_jpeg_keep_the_mean() -> None:
    pictures = plain_pixels(2).permute(0, 3, 1, 2).float() / 255
    assert gaussian_blur(pictures, 2.0).mean() == pytest.approx(float(pictures.mean()), abs=0.02)
    coded = jpeg(pictures, torch.tensor([0.02, 0.2]))
    assert coded.mean() == pytest.approx(float(pictures.mean()), abs=0.03)
    loss = (coded - pictures).abs().mean(dim=(1, 2, 3))
    assert loss[0] < loss[1]


def test_overlays_follow_from_the_seed() -> None:
    bank = overlay_bank(8, SIZE, seed=3)
    assert bank.shape == (8, SIZE, SIZE, 4)
    np.testing.assert_array_equal(bank, overlay_bank(8, SIZE, seed=3))
    assert (bank[..., 3].reshape(8, -1).max(axis=1) > 0).all()
    assert not np.array_equal(bank, overlay_bank(8, SIZE, seed=4))
