"""benchmarks/helpers/omnimae.py: the rival sees an image as a still clip, and learns."""

import numpy as np
import pytest
import torch
from helpers import omnimae
from made_runs import made_pictures, nano, nano_recipe, noise_pixels

from vicmae.model.vicmae import Objective
from vicmae.training.pretrain import build_model

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
RECIPE = {"objective": Objective(recon_weight=1.0, contrast_weight=0.0), "steps": 12, "warmup_steps": 1}


def test_its_image_encoder_sees_an_image_as_the_image_repeated() -> None:
    rival = omnimae.RepeatedFrameMAE(build_model(nano_recipe(**RECIPE))).eval()
    rival.proj.weight.data += 0.1 * torch.randn_like(rival.proj.weight)  # frames of a tube no longer count alike
    pictures = rival.inner.normalise(torch.from_numpy(noise_pixels(2)))
    still = pictures[:, None].repeat(1, omnimae.TUBE, 1, 1, 1)
    tokens = rival.proj(still.transpose(1, 2)).flatten(2).transpose(1, 2)
    expected = rival.inner._transform(tokens + rival.inner.pos_embed[:, 1:] + rival.times[0])
    got = rival.image_encoder().eval()(pictures)
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), atol=1e-5)


def test_it_starts_from_the_same_weights_and_its_loss_falls() -> None:
    recipe = nano_recipe(**RECIPE)
    model = build_model(recipe)
    rival = omnimae.RepeatedFrameMAE(build_model(recipe))
    assert torch.equal(rival.image_encoder().patch_embed.proj.weight, model.patch_embed.proj.weight)
    before = model.state_dict()["blocks.0.attn.qkv.weight"].clone()
    losses = list(omnimae.train(model, recipe, made_pictures()))
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert not torch.equal(model.state_dict()["blocks.0.attn.qkv.weight"], before)


def test_frames_of_a_clip_are_spread_over_the_window() -> None:
    rows = omnimae.clip_rows(np.arange(80) / 10, np.random.default_rng(0))
    assert len(rows) == omnimae.CLIP_FRAMES and (np.diff(rows) >= 6).all() and rows[-1] - rows[0] <= 22
