"""Vision transformers of timm as networks that can be exported. Needs torch and timm; a server never imports this.

A network is served as timm computes it: its own normalisation, registers, norms and pooling, without the classifier.
What cannot be served so is refused with the reason. Weights come from a file; nothing is ever fetched.
"""

import argparse
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import PatchEmbed
from timm.models import eva, vision_transformer
from torch import Tensor, nn
from torch.nn import functional

from ..errors import CheckpointError
from ..media.spec import Fit, InputSpec, Resize

FITS: dict[str, Fit] = {"center": "crop", "squash": "squash", "border": "pad"}
HEADS = ("head.", "head_dist.")  # classifiers, which no vector passes
POOLS = {"avg": "mean of the patch tokens", "token": "class token", "map": "attention pooling of the patch tokens"}


@dataclass(frozen=True)
class TimmConfig:
    """What the network is, as the manifest's `architecture` says it."""

    name: str
    patch: int
    dim: int
    depth: int
    heads: int
    mlp_ratio: float
    pool: str
    prefix_tokens: int  # class token and registers

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class TimmEncoder(nn.Module):
    """A timm ViT as export sees a network: pictures (N, 3, S, S) float, normalised -> tokens, and features (N, D)."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: nn.Module, config: TimmConfig, spec: InputSpec, trained: bool) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.spec = spec
        self.trained = trained
        pool = POOLS.get(config.pool, f"{config.pool} pooling")
        self.pooling = f"{pool} as timm computes it, classifier left out, L2-normalised"
        self.register_buffer("pixel_mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """pixels (N, S, S, 3) uint8 -> pictures (N, 3, S, S) float, mean and std applied."""
        pictures = pixels.permute(0, 3, 1, 2).to(self.pixel_mean.dtype) / 255.0
        return (pictures - self.pixel_mean) / self.pixel_std

    def pooled(self, pictures: Tensor) -> Tensor:
        """pictures (N, 3, S, S) -> features (N, D): timm's own features before its classifier."""
        features: Tensor = self.model.forward_head(self.model.forward_features(pictures), pre_logits=True)  # type: ignore[operator]
        return features


class PixelPatches(nn.Module):
    """timm's PatchEmbed on bytes: pixels (N, S, S, 3) uint8 -> patch tokens (N, L, D), normalisation in the weights."""

    def __init__(self, patch_embed: PatchEmbed, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        conv = patch_embed.proj
        bias = conv.bias if conv.bias is not None else torch.zeros(len(conv.weight))
        folded = (conv.weight / (255.0 * std)).permute(2, 3, 1, 0).reshape(-1, len(conv.weight))
        self.weight = nn.Parameter(folded.detach().contiguous())
        self.bias = nn.Parameter((bias - (conv.weight * mean / std).sum(dim=(1, 2, 3))).detach())
        self.norm = patch_embed.norm
        self.patch = patch_embed.patch_size[0]
        self.grid_size = patch_embed.grid_size

    def forward(self, pixels: Tensor) -> Tensor:
        (rows, columns), patch = self.grid_size, self.patch
        cells = pixels.to(torch.float32).reshape(-1, rows, patch, columns, patch, 3).permute(0, 1, 3, 2, 4, 5)
        tokens: Tensor = self.norm(cells.reshape(-1, rows * columns, patch * patch * 3) @ self.weight + self.bias)
        return tokens


class TimmGraph(nn.Module):
    """The graph that is exported: pixels (N, S, S, 3) uint8 -> vectors (N, D); with `patch_tokens` (N, L, D) too."""

    def __init__(self, encoder: TimmEncoder, patch_tokens: bool = False) -> None:
        super().__init__()
        self.model = deepcopy(encoder.model)
        self.model.patch_embed = PixelPatches(encoder.model.patch_embed, encoder.pixel_mean, encoder.pixel_std)
        self.first_patch = encoder.config.prefix_tokens
        self.patch_tokens = patch_tokens

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        tokens: Tensor = self.model.forward_features(pixels)  # type: ignore[operator]
        vectors = functional.normalize(self.model.forward_head(tokens, pre_logits=True), dim=1)  # type: ignore[operator]
        return (vectors, tokens[:, self.first_patch :]) if self.patch_tokens else vectors


def load_timm(name: str, weights: Path | None, size: int | None = None) -> TimmEncoder:
    """The timm model `name` (`vit_small_patch16_224.dino`; the tag says how pictures are normalised), in eval mode.

    Without a weights file its weights are random: good for measuring speed, and `trained` is False. CheckpointError
    names what cannot be served: other networks than plain ViTs, files of other networks.
    """
    model = _create(name, size)
    _require_servable(name, model)
    spec = _spec(name, model)
    if weights is not None:
        _fill(model, name, weights)
    block: Any = model.blocks[0]  # type: ignore[index]
    config = TimmConfig(
        name=f"timm/{name}",
        patch=spec.patch,
        dim=spec.dim,
        depth=len(model.blocks),  # type: ignore[arg-type]
        heads=block.attn.num_heads,
        mlp_ratio=block.mlp.fc1.out_features / model.embed_dim if hasattr(block.mlp, "fc1") else 4.0,
        pool=str(model.global_pool),
        prefix_tokens=int(model.num_prefix_tokens),  # type: ignore[arg-type]
    )
    return TimmEncoder(model, config, spec, trained=weights is not None).eval()


def _create(name: str, size: int | None) -> nn.Module:
    wished = {} if size is None else {"img_size": size}
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=False, **wished)
    except RuntimeError as error:  # timm's word for a name or a tag that it does not know
        raise CheckpointError(
            f"timm {timm.__version__} has no model {name!r}: {error}. `timm.list_models('vit*')` lists its names."
        ) from error
    except (TypeError, AssertionError, ValueError) as error:
        at = "" if size is None else f" at {size} pixels"
        raise CheckpointError(
            f"{name} of timm cannot be made{at}: {error}. Plain vision transformers (vit_…, deit_…, eva…) are served."
        ) from error
    return model.eval()


def _require_servable(name: str, model: nn.Module) -> None:
    why = None
    if not isinstance(model, vision_transformer.VisionTransformer | eva.Eva):
        why = f"is a {type(model).__name__}, not a plain vision transformer (VisionTransformer or Eva)"
    elif type(model.patch_embed) is not PatchEmbed or not isinstance(model.patch_embed.proj, nn.Conv2d):
        why = f"cuts pictures by {type(model.patch_embed).__name__}, which is not one matrix product a patch"
    elif model.patch_embed.patch_size[0] != model.patch_embed.patch_size[1]:
        why = f"has patches of {model.patch_embed.patch_size} pixels; they must be square"
    elif model.patch_embed.img_size is None or model.patch_embed.img_size[0] != model.patch_embed.img_size[1]:
        why = f"wants pictures of {model.patch_embed.img_size} pixels; they must be square"
    elif model.patch_embed.img_size[0] % model.patch_embed.patch_size[0]:
        why = f"cuts {model.patch_embed.img_size[0]} pixels by {model.patch_embed.patch_size[0]}, which leaves a rest"
    elif model.patch_embed.proj.in_channels != 3:
        why = f"wants {model.patch_embed.proj.in_channels} channels; pictures have 3"
    elif not model.global_pool and model.attn_pool is None:
        why = "has no pooling, so it gives no vector"
    if why:
        raise CheckpointError(f"{name} of timm cannot be served: it {why}. Choose another model.")


def _spec(name: str, model: nn.Module) -> InputSpec:
    """How timm prepares pictures for this model. Its crop_pct is left out: the whole short side is seen."""
    said = timm.data.resolve_data_config({}, model=model)
    fit, resize = FITS.get(said["crop_mode"]), said["interpolation"]
    if fit is None or resize not in get_args(Resize):
        raise CheckpointError(
            f"{name} of timm cannot be served: its pictures are made by {said['crop_mode']} and {resize}; known are "
            f"{', '.join(FITS)} and {', '.join(get_args(Resize))}."
        )
    patch_embed = model.patch_embed
    with torch.inference_mode():
        tokens = torch.zeros(1, int(model.num_prefix_tokens) + patch_embed.num_patches, model.embed_dim)  # type: ignore
        dim = model.forward_head(tokens, pre_logits=True).shape[-1]  # type: ignore[operator]
    return InputSpec(
        size=patch_embed.img_size[0],  # type: ignore
        patch=patch_embed.patch_size[0],  # type: ignore
        dim=dim,
        fit=fit,
        resize=resize,
        mean=said["mean"],
        std=said["std"],
    )


def _fill(model: nn.Module, name: str, path: Path) -> None:
    """Loads a file in timm's layout (or one that timm turns into its own), every weight of it and of the model."""
    state = _read(path)
    try:
        if isinstance(model, eva.Eva):
            state = eva.checkpoint_filter_fn(state, model)
        else:
            scaled = any("gamma_" in key for key in state)
            state = vision_transformer.checkpoint_filter_fn(state, model, adapt_layer_scale=scaled)
        missing, unexpected = model.load_state_dict(state, strict=False)
    except (RuntimeError, KeyError, AttributeError, ValueError, AssertionError) as error:
        raise CheckpointError(f"{path} does not hold {name} of timm: {error}") from error
    unexpected = [key for key in unexpected if not key.startswith(HEADS)]
    if missing or unexpected:
        raise CheckpointError(
            f"{path} does not hold {name} of timm: missing {missing[:3]}, not expected {unexpected[:3]}. Name the "
            f"model that the file was saved from."
        )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}.") from error
    except Exception as error:  # torch.load raises many kinds on a foreign file; each means the same here
        raise CheckpointError(f"{path} is not a weights file that can be read safely: {error}") from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not weights by name.")
    return loaded
