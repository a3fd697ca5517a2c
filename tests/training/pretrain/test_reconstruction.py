"""vicmae.training.pretrain.reconstruction: input, what the network sees, what it makes of it."""

import numpy as np
import pytest
import torch
from made_runs import NANO, noise_pixels

from vicmae.model.losses import patchify
from vicmae.model.vicmae import ViCMAE
from vicmae.training.pretrain.reconstruction import draw_reconstruction


@pytest.mark.parametrize("normalised_patches", [True, False])
def test_a_perfect_prediction_gives_the_input_back(normalised_patches: bool) -> None:
    model = ViCMAE(NANO, NANO.input_spec(32))
    pixels = noise_pixels(2)
    pictures = model.normalise(torch.from_numpy(pixels))
    predicted = patchify(pictures, 8)
    if normalised_patches:
        variance, mean = torch.var_mean(predicted, dim=-1, keepdim=True)
        predicted = (predicted - mean) / (variance + 1e-6).sqrt()
    mask = torch.zeros(2, 16)
    mask[:, :4] = 1
    drawn = np.asarray(draw_reconstruction(model, pictures, predicted, mask, normalised_patches))
    assert drawn.shape == (64, 96, 3)
    for row in (0, 1):
        shown, masked, rebuilt = (drawn[32 * row : 32 * row + 32, 32 * i : 32 * i + 32].astype(int) for i in range(3))
        assert np.abs(shown - pixels[row]).max() <= 1 and np.abs(rebuilt - pixels[row]).max() <= 1
        assert (masked[:8] == 128).all() and (masked[8:] == shown[8:]).all()
