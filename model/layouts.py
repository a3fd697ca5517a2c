"""Layouts of weights that people bring, turned into the official names of ViC-MAE (PAPER 4.2 to 4.4).

Names and shapes only: a loaded dict goes in, tensors under official names come out. It opens no file and builds no
network. Video models become models of pictures in video_layouts.py.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from ..errors import CheckpointError
from .video_layouts import OMNIMAE_PATCHES, from_omnimae, from_video
from .weights import PATCHES, Weights, some, stacked, with_norm_of_mean

READ = "ViC-MAE, MAE, timm (the .mae models), Hugging Face ViTMAE, CAN, MAE-ST, VideoMAE and OmniMAE"
WRAPPERS = ("model", "model_state", "state_dict", "module")
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


def to_official(loaded: object, where: str) -> Weights:
    """What a file held -> its weights under official names; CheckpointError, naming `where`, for other files."""
    wrapper, state = unwrap(loaded)
    hf_prefix = _prefix_of(HF_PATCHES, state, where, ("", "vit."))
    if hf_prefix is not None:
        return _from_hugging_face(_below(hf_prefix, state), state, where)
    prefix = _prefix_of(PATCHES, state, where)
    if prefix is None and (omnimae := _prefix_of(OMNIMAE_PATCHES, state, where)) is not None:
        return from_omnimae(_below(omnimae, state), where)
    if prefix is None:
        raise CheckpointError(
            f"{where} is in none of the layouts that are read: {READ}. It holds {some(state)}; "
            f"expected {PATCHES}, pos_embed, blocks.* and norm.*."
        )
    inner = _below(prefix, state)
    if inner[PATCHES].ndim == 5:
        return from_video(inner, where, READ)
    if inner[PATCHES].ndim != 4:
        raise CheckpointError(f"{where} has {PATCHES} of {inner[PATCHES].ndim} dimensions; a picture's has 4.")
    if any(name.startswith("noise_embed.") for name in state):
        encoder = {name: value for name, value in inner.items() if not name.startswith("head.")}  # never trained
        return Weights("CAN", encoder, std=(0.228, 0.224, 0.225))  # its trainer's own first value
    return with_norm_of_mean(Weights("ViC-MAE or MAE", _without_head(inner, wrapper, where)))


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


def _without_head(state: dict[str, Tensor], wrapper: str, where: str) -> dict[str, Tensor]:
    """Drops the classifier of a file of MAE's family, which normalises pictures as ImageNet; of others that is unknown.

    Its class token was trained, the patch tokens, whose mean is the feature here, only through it.
    """
    if not any(name.startswith(("head.", "fc_norm.")) for name in state):
        return state
    if wrapper != "model":
        raise CheckpointError(
            f"{where} holds a classifier (head.* or fc_norm.*) without saying how its pictures were normalised. "
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
            state[f"blocks.{block[1]}.attn.qkv.{kind}"] = stacked(rows, name, where)
        elif not part.endswith((".attention.key", ".attention.value")) and not name.startswith("decoder."):
            state[name] = value  # of another network: whoever builds this one will refuse it by its name
    return Weights("Hugging Face ViTMAE", state)
