"""Reading and writing weights: a checkpoint rebuilds its model by itself.

Ours is one safetensors file whose header carries the ModelConfig and the InputSpec. Files of others, safetensors or
pickled, are read too, without executing anything in them; layouts.py turns their names into the official ones, and the
network's size is read off the shapes. The names of foreign layouts are not known here.
"""

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ..errors import CheckpointError
from ..media.spec import InputSpec
from .config import SIZES, ModelConfig
from .conv_encoder import ConvEncoder
from .encoder import Encoder
from .layouts import to_official
from .weights import Weights

FORMAT = "vicmae-1"
CLASSIFIER_FORMAT = "vicmae-classifier-1"  # a fine-tuned encoder with its head: classifier.py writes and reads it
START = "teacher."  # names of the weights that a training on edits began with
TRAINING_ONLY = ("decoder", "mask_token", "projector", "teacher", "queue")


def save_model(model: Encoder | ConvEncoder, path: Path) -> None:
    """Writes the weights with their ModelConfig and InputSpec."""
    header = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "spec": json.dumps(model.spec.to_dict()),
    }
    write_weights(model.state_dict(), header, path)


def write_weights(state: dict[str, Tensor], header: dict[str, str], path: Path) -> None:
    """Writes a safetensors file beside `path`, then renames: a file is whole or not there."""
    aside = path.with_name(path.name + ".partial")
    save_file({k: v.detach().contiguous().cpu() for k, v in state.items()}, aside, metadata=header)
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    aside.rename(path)


def find_checkpoint(path: Path) -> Path:
    """The weights that `path` means: a file, a step's folder, or a run's folder (its latest step)."""
    if path.is_dir():
        for candidate in (
            path / "model.safetensors",
            *sorted(path.glob("step-*/model.safetensors"), reverse=True),
        ):
            if candidate.is_file():
                return candidate
        raise CheckpointError(f"{path} holds no model.safetensors and no step-*/model.safetensors.")
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.")
    return path


def load_weights(path: Path) -> tuple[dict[str, Tensor], ModelConfig, InputSpec]:
    """A checkpoint file -> (state dict with official names, ModelConfig, InputSpec)."""
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    return _load_pickled(path)


def load_encoder(path: Path, size: int | None = None) -> Encoder:
    """A checkpoint -> the encoder alone, in eval mode; `size` asks for other pictures than it was trained on."""
    encoder = load_any_encoder(path, size)
    if isinstance(encoder, ConvEncoder):
        raise CheckpointError(
            f"{path} holds an encoder with a convolutional stem; one that cuts patches is wanted here. Name another."
        )
    return encoder


def load_any_encoder(path: Path, size: int | None = None, start_share: float = 0.0) -> Encoder | ConvEncoder:
    """The same for either stem. With a `start_share` (0..1) the weights are averaged with those that the training began
    with, which keeps what a pretrained trunk knows (WiSE-FT, arXiv 2109.01903)."""
    state, config, spec = load_weights(find_checkpoint(path))
    if start_share:
        state = averaged_with_start(state, start_share, path)
    if size is not None and size != spec.size:
        if size <= 0 or size % spec.patch:
            raise CheckpointError(
                f"size is {size}; {path} needs a positive multiple of its patches' {spec.patch} pixels."
            )
        spec = replace(spec, size=size)
    encoder = Encoder(config, spec) if config.trunk is None else ConvEncoder(config, spec)
    kept = {k: v for k, v in state.items() if not k.startswith(TRAINING_ONLY)}
    try:
        if "pos_embed" in kept:
            kept["pos_embed"] = resize_positions(kept["pos_embed"], spec.grid, encoder.first_patch)
        missing, unexpected = encoder.load_state_dict(kept, strict=False)
    except RuntimeError as error:  # torch says so when a shape is another one
        raise CheckpointError(f"{path} does not hold this encoder: {error}") from error
    if missing or unexpected:
        raise CheckpointError(
            f"{path} does not hold this encoder: missing {missing[:3]}, not expected {unexpected[:3]}."
        )
    return encoder.eval()


def averaged_with_start(state: dict[str, Tensor], share: float, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint, `share` of them those of its start, which training keeps as the teacher."""
    if not 0 <= share <= 1:
        raise CheckpointError(f"The start's share is {share}; expected a number from 0 to 1.")
    start = {name.removeprefix(START): weight for name, weight in state.items() if name.startswith(START)}
    if not start:
        raise CheckpointError(
            f"{path} does not hold the weights that its training began with. Name a step of a run on edits "
            f"(vicmae pretrain copies), or leave out the start's share."
        )
    return {name: torch.lerp(state[name], weight, share) for name, weight in start.items()}


def resize_positions(table: Tensor, grid: int, first_patch: int = 1) -> Tensor:
    """(1, 1 + g*g, D) -> (1, 1 + grid*grid, D), bicubic; rows before `first_patch`, the class token's, are kept (PAPER
    4.4)."""
    old = round((table.shape[1] - first_patch) ** 0.5)
    if old == grid:
        return table
    patches = table[:, first_patch:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    patches = functional.interpolate(patches.float(), (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :first_patch], patches.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], dim=1)


def _load_safetensors(path: Path) -> tuple[dict[str, Tensor], ModelConfig, InputSpec]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}.") from error
    if header.get("format") not in (FORMAT, CLASSIFIER_FORMAT):
        return _describe(to_official(state, str(path)), path)
    try:
        if header["format"] == CLASSIFIER_FORMAT:
            state = _trunk(state, json.loads(header["classifier"]), path)
        config = ModelConfig.from_dict(json.loads(header["config"]))
        return state, config, InputSpec.from_dict(json.loads(header["spec"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a header that is damaged or from another version: {error!r}.") from error


def _trunk(state: dict[str, Tensor], classifier: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The encoder below a head, where its pooled tokens are what the head was trained on."""
    if classifier["frames"]:
        raise CheckpointError(
            f"{path} was fine-tuned on clips of {classifier['frames']} frames; pictures are wanted here. Take the "
            f"checkpoint it was fine-tuned from."
        )
    if classifier["feature"] != "mean":
        raise CheckpointError(
            f"{path} was fine-tuned with feature={classifier['feature']}, which did not train the mean of the normed "
            f"patch tokens that is wanted here. Fine-tune with feature=mean, or take the checkpoint it came from."
        )
    return {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}


def _load_pickled(path: Path) -> tuple[dict[str, Tensor], ModelConfig, InputSpec]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds on a foreign file; each means the same here
        raise CheckpointError(f"{path} is not a weights file that can be read safely: {error}") from error
    return _describe(to_official(loaded, str(path)), path)


def _describe(weights: Weights, path: Path) -> tuple[dict[str, Tensor], ModelConfig, InputSpec]:
    """The size of the network, read off the shapes of official names."""
    state = weights.state
    patches, table = state["patch_embed.proj.weight"], state.get("pos_embed")
    blocks = [int(k.split(".")[1]) for k in state if re.match(r"blocks\.\d+\.", k)]
    lacking = [name for name in ("pos_embed", "norm.weight") if name not in state] + ([] if blocks else ["blocks.*"])
    if table is None or lacking:
        raise CheckpointError(f"{path} is in the layout of {weights.layout}, but lacks {', '.join(lacking)}.")
    dim, patch, depth = patches.shape[0], patches.shape[-1], max(blocks) + 1
    known = next((c for c in SIZES.values() if (c.dim, c.depth) == (dim, depth)), None)
    if known is None:
        sizes = ", ".join(f"{c.name} {c.dim} x {c.depth}" for c in SIZES.values())
        raise CheckpointError(f"{path} has width {dim}, patch {patch}, depth {depth}: none of {sizes}.")
    first_patch = int(weights.class_token)
    grid = round((table.shape[1] - first_patch) ** 0.5) if table.ndim == 3 else 0
    if table.shape != (1, first_patch + grid * grid, dim):
        rows = "a class token's row and a square of patches, 1 +" if first_patch else "a square of patches,"
        raise CheckpointError(
            f"{path} does not hold this encoder: pos_embed is {tuple(table.shape)}; expected (1, rows, {dim}) with "
            f"rows for {rows} grid * grid."
        )
    config = replace(known, patch=patch, class_token=weights.class_token, norm_of_mean=weights.norm_of_mean)
    spec = config.input_spec(grid * patch)
    return state, config, replace(spec, mean=weights.mean, std=weights.std)
