"""Layouts of weights that people bring, turned into the official names of ViC-MAE (PAPER 4.2 to 4.4).

Names and shapes only: a loaded dict goes in, tensors under official names come out. It opens no file and builds no
network. What a layout cannot give exactly is said where it is read: two video models have no picture of their own, and
a file whose feature this encoder cannot compute is refused with the reason.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..media.spec import IMAGENET_MEAN, IMAGENET_STD

READ = "ViC-MAE, MAE, timm (the .mae models), Hugging Face ViTMAE, CAN and MAE-ST"
WRAPPERS = ("model", "model_state", "state_dict", "module")
PATCHES = "patch_embed.proj.weight"
PREFIX = re.compile(r"(?:(?:module|model|_orig_mod|encoder|backbone|trunk)\.)*")

HF_PATCHES = "embeddings.patch_embeddings.projection.weight"
HF_EMBEDDINGS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
HF_BLOCK = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


@dataclass(frozen=True)
class Weights:
    """Tensors under official names, and how their pictures were normalised (mean and std on the 0..1 scale)."""

    layout: str
    state: dict[str, Tensor]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def to_official(loaded: object, where: str) -> Weights:
    """What a file held -> its weights under official names; CheckpointError, naming `where`, for other files."""
    wrapper, state = unwrap(loaded)
    hf_prefix = _prefix_of(HF_PATCHES, state, where, ("", "vit."))
    if hf_prefix is not None:
        return _from_hugging_face(_below(hf_prefix, state), state, where)
    prefix = _prefix_of(PATCHES, state, where)
    if prefix is None:
        raise CheckpointError(
            f"{where} is in none of the layouts that are read: {READ}. It holds {_some(state)}; "
            f"expected {PATCHES}, pos_embed, blocks.* and norm.*."
        )
    inner = _below(prefix, state)
    if inner[PATCHES].ndim == 5:
        return _from_video(inner, prefix, where)
    if inner[PATCHES].ndim != 4:
        raise CheckpointError(f"{where} has {PATCHES} of {inner[PATCHES].ndim} dimensions; a picture's has 4.")
    _refuse_feature_of_mean(inner, where)
    if any(name.startswith("noise_embed.") for name in state):
        encoder = {name: value for name, value in inner.items() if not name.startswith("head.")}  # never trained
        return Weights("CAN", encoder, std=(0.228, 0.224, 0.225))  # its trainer's own first value
    return Weights("ViC-MAE or MAE", _without_head(inner, wrapper, where))


def unwrap(loaded: object) -> tuple[str, dict[str, Tensor]]:
    """A loaded file -> (the wrapper around its tensors or "", the tensors)."""
    if not isinstance(loaded, Mapping):
        return "", {}
    for wrapper in WRAPPERS:
        inner = loaded.get(wrapper)
        if isinstance(inner, Mapping):
            return wrapper, _tensors(inner)
    return "", _tensors(loaded)


def _tensors(values: Mapping[object, object]) -> dict[str, Tensor]:
    return {str(name): value for name, value in values.items() if isinstance(value, Tensor)}


def _prefix_of(
    name: str, state: Mapping[str, Tensor], where: str, allowed: tuple[str, ...] | None = None
) -> str | None:
    """What stands before `name` in the file, or None; two networks in one file are refused."""
    found = [key.removesuffix(name) for key in state if key.endswith(name)]
    found = [p for p in found if (p in allowed if allowed is not None else PREFIX.fullmatch(p))]
    if len(found) > 1:
        raise CheckpointError(
            f"{where} holds {len(found)} networks ({', '.join(p + name for p in found)}). Save one of them alone."
        )
    return found[0] if found else None


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:4]) or "no tensors"


def _refuse_feature_of_mean(state: Mapping[str, Tensor], where: str) -> None:
    if any(name.startswith("fc_norm.") for name in state):
        raise CheckpointError(
            f"{where} was fine-tuned with global pooling: it normalises the mean of the tokens (fc_norm), this encoder "
            f"the tokens before their mean (norm), so its vectors would be others. Take the weights from before "
            f"fine-tuning."
        )


def _without_head(state: dict[str, Tensor], wrapper: str, where: str) -> dict[str, Tensor]:
    """Drops the classifier of a file of MAE's family, which normalises pictures as ImageNet; of others that is unknown.

    Its class token was trained, the patch tokens, whose mean is the feature here, only through it.
    """
    if not any(name.startswith("head.") for name in state):
        return state
    if wrapper != "model":
        raise CheckpointError(
            f"{where} holds a classifier (head.weight) without saying how its pictures were normalised. "
            f"Take the weights from before fine-tuning, such as timm's .mae models."
        )
    return {name: value for name, value in state.items() if not name.startswith("head.")}


def _from_hugging_face(inner: dict[str, Tensor], whole: Mapping[str, Tensor], where: str) -> Weights:
    """ViTMAE: query, key and value become the rows of one matrix. Its LayerNorms add 1e-12, ours 1e-6: vectors differ
    by about 1e-5."""
    if any("classifier." in name or "pooler." in name for name in whole):
        raise CheckpointError(
            f"{where} is a ViT classifier of Hugging Face, whose pictures are normalised otherwise; of Hugging Face "
            f"only ViTMAE is read, such as facebook/vit-mae-base."
        )
    state = {}
    for name, value in inner.items():
        part, _, kind = name.rpartition(".")
        block = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", part)
        if name in HF_EMBEDDINGS:
            state[HF_EMBEDDINGS[name]] = value
        elif part in HF_EMBEDDINGS:
            state[f"{HF_EMBEDDINGS[part]}.{kind}"] = value
        elif block and block[2] in HF_BLOCK:
            state[f"blocks.{block[1]}.{HF_BLOCK[block[2]]}.{kind}"] = value
        elif block and block[2] == "attention.attention.query":
            rows = [inner.get(f"{part.removesuffix('query')}{which}.{kind}") for which in ("query", "key", "value")]
            state[f"blocks.{block[1]}.attn.qkv.{kind}"] = _stacked(rows, name, where)
        elif not part.endswith((".attention.key", ".attention.value")) and not name.startswith("decoder."):
            state[name] = value  # of another network: whoever builds this one will refuse it by its name
    return Weights("Hugging Face ViTMAE", state)


def _from_video(inner: dict[str, Tensor], prefix: str, where: str) -> Weights:
    """MAE-ST seen as a model of pictures: a picture is a clip of equal frames at one time.

    Its convolution is summed over time and the mean of its temporal table is added to the spatial one. This equals the
    source network exactly for one time step; trained on 8 of them, it sees pictures as a shorter clip than it knows.
    """
    if "cls_token" not in inner:
        what = "VideoMAE" if any(name.endswith(".q_bias") for name in inner) else "OmniMAE or another video model"
        raise CheckpointError(
            f"{where} looks like {what}: {prefix + PATCHES} has 5 dimensions and there is no cls_token. Here every "
            f"patch also attends to a class token, which no weights can hide, so that network cannot be represented. "
            f"Read are {READ}."
        )
    if "pos_embed_spatial" not in inner or "pos_embed_temporal" not in inner or "pos_embed_class" not in inner:
        raise CheckpointError(
            f"{where} is a video model without separate position tables (pos_embed_spatial, pos_embed_temporal, "
            f"pos_embed_class); it holds {_some(n for n in inner if 'pos' in n)}. Of video models only MAE-ST is read."
        )
    if any(name.startswith("head.") for name in inner):
        raise CheckpointError(
            f"{where} is a fine-tuned MAE-ST: it normalises the mean of the tokens, this encoder the tokens before "
            f"their mean, so its vectors would be others. Take the weights from before fine-tuning."
        )
    state = {}
    for name, value in inner.items():
        if name == PATCHES:
            state[name] = value.sum(dim=2)
        elif ".attn.q." in name and name.startswith("blocks."):
            rows = [inner.get(name.replace(".attn.q.", f".attn.{which}.")) for which in "qkv"]
            state[name.replace(".attn.q.", ".attn.qkv.")] = _stacked(rows, name, where)
        elif not name.startswith("pos_embed") and not re.match(r"(decoder|blocks\.\d+\.attn\.[kv]\.|mask_token)", name):
            state[name] = value
    patches = inner["pos_embed_spatial"] + inner["pos_embed_temporal"].mean(dim=1, keepdim=True)
    state["pos_embed"] = torch.cat([inner["pos_embed_class"], patches], dim=1)
    return Weights("MAE-ST", state, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))


def _stacked(rows: list[Tensor | None], name: str, where: str) -> Tensor:
    whole = [row for row in rows if row is not None]
    if len(whole) < len(rows):
        raise CheckpointError(f"{where} has {name} but not its key and value beside it. Fetch it again.")
    return torch.cat(whole)
