"""Video models as models of pictures: MAE-ST, VideoMAE and OmniMAE under the official names (PAPER 4.3).

A picture is a clip of two equal frames, one step of time: the tube convolution is summed over time, and the network is
its source for such a clip. Trained with eight steps, it sees a picture as a shorter clip than it knows. Names and
shapes only; it opens no file and builds no network.
"""

import re

import torch
from torch import Tensor

from ..errors import CheckpointError
from .weights import PATCHES, Weights, some, stacked, with_norm_of_mean

OMNIMAE_PATCHES = "patch_embed.proj.1.weight"  # before it stands the layer that repeats a picture, without weights
PICTURE_SIZE = 224  # of all published VideoMAE; their files hold no table that would tell


def from_video(inner: dict[str, Tensor], where: str, read: str) -> Weights:
    """A network with a 5-D patch convolution; CheckpointError, naming what is `read`, where it is none of these."""
    if any(name.endswith(".attn.q_bias") for name in inner):
        return _from_videomae(inner, where)
    if "cls_token" not in inner:
        raise CheckpointError(
            f"{where} is a video model without a class token ({PATCHES} has 5 dimensions); of these VideoMAE is known "
            f"by blocks.*.attn.q_bias and OmniMAE by trunk.{OMNIMAE_PATCHES}. It holds {some(inner)}. Read are {read}."
        )
    return _from_mae_st(inner, where)


def _from_mae_st(inner: dict[str, Tensor], where: str) -> Weights:
    """The mean of the temporal table is added to the spatial one: it was learned, and no step stands for the others.

    The fine-tuned network normalises the mean of its tokens, with the `norm` of the same name (mae_st, models_vit.py).
    """
    if "pos_embed_spatial" not in inner or "pos_embed_temporal" not in inner or "pos_embed_class" not in inner:
        raise CheckpointError(
            f"{where} is a video model without separate position tables (pos_embed_spatial, pos_embed_temporal, "
            f"pos_embed_class); it holds {some(n for n in inner if 'pos' in n)}. Of these only MAE-ST is read."
        )
    state = {}
    for name, value in inner.items():
        if name == PATCHES:
            state[name] = value.sum(dim=2)
        elif ".attn.q." in name and name.startswith("blocks."):
            rows = [inner.get(name.replace(".attn.q.", f".attn.{which}.")) for which in "qkv"]
            state[name.replace(".attn.q.", ".attn.qkv.")] = stacked(rows, name, where)
        elif not re.match(r"(pos_embed|decoder|blocks\.\d+\.attn\.[kv]\.|mask_token|head\.)", name):
            state[name] = value
    patches = inner["pos_embed_spatial"] + inner["pos_embed_temporal"].mean(dim=1, keepdim=True)
    state["pos_embed"] = torch.cat([inner["pos_embed_class"], patches], dim=1)
    tuned = any(name.startswith("head.") for name in inner)
    return Weights("MAE-ST", state, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), norm_of_mean=tuned)


def _from_videomae(inner: dict[str, Tensor], where: str) -> Weights:
    """Pretrained (norm) and fine-tuned (fc_norm, head): keys have no bias, and there is no class token."""
    state = {}
    for name, value in inner.items():
        if name == PATCHES:
            state[name] = value.sum(dim=2)
        elif name.endswith(".attn.q_bias"):
            of_values = inner.get(name.replace(".q_bias", ".v_bias"))
            rows = [value, torch.zeros_like(value), of_values]
            state[name.replace(".q_bias", ".qkv.bias")] = stacked(rows, name, where)
        elif not name.endswith(".attn.v_bias") and not name.startswith("head."):
            state[name] = value
    dim, patch = inner[PATCHES].shape[0], inner[PATCHES].shape[-1]
    tokens = (PICTURE_SIZE // patch) ** 2
    table = inner.get("pos_embed")
    state["pos_embed"] = _first_step(table, tokens, where) if table is not None else sinusoid_positions(tokens, dim)
    return with_norm_of_mean(Weights("VideoMAE", state, class_token=False))


def from_omnimae(inner: dict[str, Tensor], where: str) -> Weights:
    """Pretrained (with a decoder) and fine-tuned, which normalises the mean of its tokens (omnimae,
    vision_transformer.py). Its own pictures are treated as here: repeated twice, with the table of the first step."""
    patches, table = inner[OMNIMAE_PATCHES], inner.get("pos_embed")
    if patches.ndim != 5 or table is None or "cls_token" in inner:
        raise CheckpointError(
            f"{where} looks like OmniMAE, but {OMNIMAE_PATCHES} is {tuple(patches.shape)} and it holds {some(inner)}; "
            f"expected 5 dimensions, pos_embed and no cls_token. Fetch it again."
        )
    tuned = not any(name.startswith("decoder.") for name in inner)
    state = {
        name.replace("patch_embed.proj.1.", "patch_embed.proj."): value
        for name, value in inner.items()
        if not name.startswith(("decoder.", "mask_token"))
    }
    state[PATCHES] = patches.sum(dim=2)
    state["pos_embed"] = _first_step(table, (PICTURE_SIZE // patches.shape[-1]) ** 2, where)
    return Weights("OmniMAE", state, class_token=False, norm_of_mean=tuned)


def _first_step(table: Tensor, tokens: int, where: str) -> Tensor:
    """The rows (1, L, D) of the first step of time in a table (1, steps * L, D), time outermost.

    The first step and not the mean over them: with it the network is its source for a clip of one step, and OmniMAE
    itself gives pictures the first. The mean would shrink the fast waves, which tell neighbours apart, to nothing.
    """
    if table.ndim != 3 or table.shape[1] == 0 or table.shape[1] % tokens:
        raise CheckpointError(
            f"{where} has a pos_embed of {tuple(table.shape)}; expected (1, steps * {tokens}, D), the {tokens} patches "
            f"of a picture of {PICTURE_SIZE} pixels for each step of time."
        )
    return table[:, :tokens]


def sinusoid_positions(count: int, dim: int) -> Tensor:
    """VideoMAE's fixed table for the first `count` patches (1, count, dim) float32: one wave along time, rows and
    columns in one, channels alternate between sine and cosine (VideoMAE, modeling_finetune.py)."""
    rates = 10000.0 ** -(torch.arange(dim, dtype=torch.float64) // 2 * 2 / dim)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates
    even = torch.arange(dim) % 2 == 0
    return torch.where(even, angles.sin(), angles.cos()).float()[None]
