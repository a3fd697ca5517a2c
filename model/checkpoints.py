"""Reading and writing weights: a checkpoint rebuilds its model by itself.

Ours is one safetensors file whose header carries the ModelConfig and the InputSpec. The official ViC-MAE and MAE
files (a pickled dict with "model", PAPER 4.2) are read too, without executing anything in them; the network's size is
read off the shapes. Other layouts are refused with what was found.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from ..errors import CheckpointError
from ..media.spec import InputSpec
from .config import SIZES, ModelConfig
from .encoder import Encoder

FORMAT = "vicmae-1"
TRAINING_ONLY = ("decoder", "mask_token", "projector")


def save_model(model: Encoder, path: Path) -> None:
    """Writes weights with ModelConfig and InputSpec beside `path`, then renames: a file is whole or not there."""
    header = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "spec": json.dumps(model.spec.to_dict()),
    }
    aside = path.with_name(path.name + ".partial")
    save_file({k: v.detach().contiguous().cpu() for k, v in model.state_dict().items()}, aside, metadata=header)
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
        return _load_ours(path)
    return _load_official(path)


def load_encoder(path: Path, size: int | None = None) -> Encoder:
    """A checkpoint -> the encoder alone, in eval mode; `size` asks for other pictures than it was trained on."""
    state, config, spec = load_weights(find_checkpoint(path))
    if size is not None and size != spec.size:
        if size <= 0 or size % spec.patch:
            raise CheckpointError(
                f"size is {size}; {path} needs a positive multiple of its patches' {spec.patch} pixels."
            )
        spec = replace(spec, size=size)
    encoder = Encoder(config, spec)
    kept = {k: v for k, v in state.items() if not k.startswith(TRAINING_ONLY)}
    try:
        if "pos_embed" in kept:
            kept["pos_embed"] = resize_positions(kept["pos_embed"], spec.grid)
        missing, unexpected = encoder.load_state_dict(kept, strict=False)
    except RuntimeError as error:  # torch says so when a shape is another one
        raise CheckpointError(f"{path} does not hold this encoder: {error}") from error
    if missing or unexpected:
        raise CheckpointError(
            f"{path} does not hold this encoder: missing {missing[:3]}, not expected {unexpected[:3]}."
        )
    return encoder.eval()


def resize_positions(table: Tensor, grid: int) -> Tensor:
    """(1, 1 + g*g, D) -> (1, 1 + grid*grid, D), bicubic; the class token's row is kept (PAPER 4.4)."""
    old = round((table.shape[1] - 1) ** 0.5)
    if old == grid:
        return table
    patches = table[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    patches = functional.interpolate(patches.float(), (grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], dim=1)


def _load_ours(path: Path) -> tuple[dict[str, Tensor], ModelConfig, InputSpec]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}.") from error
    if header.get("format") != FORMAT:
        return state, *_infer(state, path)
    try:
        config = ModelConfig.from_dict(json.loads(header["config"]))
        return state, config, InputSpec.from_dict(json.loads(header["spec"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a header that is damaged or from another version: {error!r}.") from error


def _load_official(path: Path) -> tuple[dict[str, Tensor], ModelConfig, InputSpec]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds on a foreign file; each means the same here
        raise CheckpointError(f"{path} is not a weights file that can be read safely: {error}") from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else {}
    state = state if isinstance(state, dict) else {}
    state = {k.removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    return state, *_infer(state, path)


def _infer(state: dict[str, Tensor], path: Path) -> tuple[ModelConfig, InputSpec]:
    """The size of the network, read off the shapes of official names."""
    patch_weight, table = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    blocks = {k.split(".")[1] for k in state if k.startswith("blocks.")}
    if patch_weight is None or patch_weight.ndim != 4 or table is None or not blocks or "norm.weight" not in state:
        found = ", ".join(sorted(state)[:4]) or "no tensors"
        raise CheckpointError(
            f"{path} is not in the layout of ViC-MAE or MAE (patch_embed.proj.weight, pos_embed, blocks.*, norm.*); "
            f"it holds {found}."
        )
    dim, patch, depth = patch_weight.shape[0], patch_weight.shape[-1], len(blocks)
    for config in SIZES.values():
        if (config.dim, config.patch, config.depth) == (dim, patch, depth):
            grid = round((table.shape[1] - 1) ** 0.5)
            return config, config.input_spec(grid * patch)
    raise CheckpointError(f"{path} has width {dim}, patch {patch}, depth {depth}: none of {', '.join(SIZES)}.")
