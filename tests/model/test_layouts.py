"""vicmae.model.layouts: each layout people bring, with true names and shapes, against the network it comes from."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from made_runs import NANO, nano, nano_encoder
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vicmae.errors import CheckpointError
from vicmae.model.checkpoints import load_encoder, load_weights
from vicmae.model.config import SIZES, ModelConfig
from vicmae.model.encoder import Encoder
from vicmae.model.vicmae import ViCMAE

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
BASE = SIZES["base"]


def pictures(size: int = 32, count: int = 3) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def vectors(encoder: Encoder, seen: Tensor) -> Tensor:
    with torch.inference_mode():
        return encoder.eval().pooled(seen)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def official() -> dict[str, Tensor]:
    return dict(nano_encoder().state_dict())


def true_shapes(config: ModelConfig, size: int, whole: bool) -> dict[str, Tensor]:
    """A state dict of full shapes that takes no room: every tensor is one number, repeated."""
    with torch.device("meta"):
        network = (ViCMAE if whole else Encoder)(config, config.input_spec(size))
    return {name: torch.zeros(()).expand(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", [c.name for c in SIZES.values() if c.trunk is None and c.name != "nano"])
def test_every_size_is_known_by_its_shapes(tmp_path: Path, name: str, whole: bool) -> None:
    config = SIZES[name]
    path = saved(
        tmp_path / "m.pth", {"model": true_shapes(config, 224, whole), "args": argparse.Namespace(blr=1e-3), "epoch": 1}
    )
    state, found, spec = load_weights(path)
    assert found == config and (spec.size, spec.patch, spec.dim) == (224, config.patch, config.dim)
    assert ("projector.6.weight" in state) == whole
    if name == "base":
        # PAPER 4.2 counts 270 and 150 tensors.
        assert len(state) == (270 if whole else 150)
        assert state["blocks.11.attn.qkv.weight"].shape == (2304, 768) and state["pos_embed"].shape == (1, 197, 768)


def test_another_patch_of_a_known_width_and_depth(tmp_path: Path) -> None:
    huge = ModelConfig(**{**SIZES["huge"].to_dict(), "patch": 16})
    _, found, spec = load_weights(saved(tmp_path / "m.pth", {"model": true_shapes(huge, 224, False)}))
    assert found == huge and spec.grid == 14


def test_the_mae_of_timm_gives_its_own_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The true base in everything but its depth."""
    monkeypatch.setitem(SIZES, "shallow", ModelConfig(**{**BASE.to_dict(), "name": "shallow", "depth": 1}))
    torch.manual_seed(0)
    source = timm.create_model("vit_base_patch16_224.mae", pretrained=False, depth=1).eval()
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path)
    seen = pictures(224, 1)
    with torch.inference_mode():
        wanted = source.forward_features(seen)[:, 1:].mean(dim=1)
    assert encoder.spec == BASE.input_spec(224)
    assert torch.allclose(vectors(encoder, seen), wanted, atol=1e-5)


def small_timm(**changes: Any) -> VisionTransformer:
    torch.manual_seed(3)
    values: dict[str, Any] = {"num_classes": 0, "global_pool": "token", **changes}
    network = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        **values,
    )
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"model": s, "args": argparse.Namespace(lr=1.0)},
        lambda s: {"state_dict": {"module." + k: v for k, v in s.items()}},
        lambda s: {"model": {"_orig_mod." + k: v for k, v in s.items()}},
    ],
)
def test_timm_flat_or_wrapped(tmp_path: Path, wrap: Callable[[dict[str, Tensor]], Any]) -> None:
    source = small_timm()
    encoder = load_encoder(saved(tmp_path / "t.pth", wrap(source.state_dict())))
    with torch.inference_mode():
        wanted = source.forward_features(pictures())[:, 1:].mean(dim=1)
    assert torch.allclose(vectors(encoder, pictures()), wanted, atol=1e-5)


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_encoder(path)
    return str(error.value)


def test_a_classifier_of_maes_family_loses_its_head(tmp_path: Path) -> None:
    source = small_timm(num_classes=5)
    encoder = load_encoder(saved(tmp_path / "f.pth", {"model": source.state_dict(), "args": argparse.Namespace()}))
    with torch.inference_mode():
        wanted = source.forward_features(pictures())[:, 1:].mean(dim=1)
    assert torch.allclose(vectors(encoder, pictures()), wanted, atol=1e-5)
    assert "without saying how its pictures were normalised" in refused(saved(tmp_path / "t.pth", source.state_dict()))


def test_global_pooling_keeps_its_own_feature(tmp_path: Path) -> None:
    """Fine-tuned with global pooling: the last LayerNorm normalises the mean of the tokens."""
    source = small_timm(num_classes=5, global_pool="avg")
    state = source.state_dict()
    assert "fc_norm.weight" in state and "norm.weight" not in state
    encoder = load_encoder(saved(tmp_path / "g.pth", {"model": state}))
    assert encoder.config == replace(NANO, norm_of_mean=True)
    with torch.inference_mode():
        wanted = source.forward_head(source.forward_features(pictures()), pre_logits=True)
    assert torch.allclose(vectors(encoder, pictures()), wanted, atol=1e-5)
    for name in ("head.weight", "head.bias"):
        del state[name]
    assert "without saying how its pictures were normalised" in refused(saved(tmp_path / "f.pth", state))
    both = {**state, "norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)}
    assert "not expected ['fc_norm.weight', 'fc_norm.bias']" in refused(saved(tmp_path / "b.pth", {"model": both}))


@pytest.mark.parametrize(
    "changes", [{"reg_tokens": 2}, {"init_values": 1.0}, {"qk_norm": True}, {"pre_norm": True}, {"qkv_bias": False}]
)
def test_another_kind_of_vit_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert "does not hold this encoder" in refused(saved(tmp_path / "o.pth", small_timm(**changes).state_dict()))


def hugging_face(state: dict[str, Tensor], prefix: str = "vit.") -> dict[str, Tensor]:
    """Our weights under the names of transformers' ViTMAE."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    out = {}
    for name, value in state.items():
        if name in names:
            out[prefix + names[name]] = value
            continue
        part, _, kind = name.rpartition(".")
        if not part.startswith("blocks."):
            out[f"{prefix}{names[part]}.{kind}"] = value
            continue
        _, number, inner = part.split(".", 2)
        layer = f"{prefix}encoder.layer.{number}."
        if inner == "attn.qkv":
            for which, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[f"{layer}attention.attention.{which}.{kind}"] = rows.clone()
        else:
            out[f"{layer}{names[inner]}.{kind}"] = value
    return out


@pytest.mark.parametrize("prefix", ["vit.", ""])
def test_vit_mae_of_hugging_face(tmp_path: Path, prefix: str) -> None:
    state = hugging_face(official(), prefix)
    if prefix:
        state |= {"decoder.mask_token": torch.zeros(1, 1, 16), "decoder.decoder_norm.weight": torch.zeros(16)}
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path)
    assert encoder.spec == NANO.input_spec(32)
    assert torch.equal(vectors(encoder, pictures()), vectors(nano_encoder(), pictures()))


def test_vit_mae_at_its_true_size(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in true_shapes(BASE, 224, False).items()}
    found, config, spec = load_weights(saved(tmp_path / "hf.bin", hugging_face(state)))
    assert (config, spec) == (BASE, BASE.input_spec(224))
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in state.items()}


def test_other_models_of_hugging_face_are_refused(tmp_path: Path) -> None:
    state = hugging_face(official())
    more = saved(tmp_path / "vit.bin", {**state, "classifier.weight": torch.zeros(3, 32)})
    assert "only ViTMAE is read" in refused(more)
    scale = {**state, "vit.encoder.layer.0.layer_scale1.lambda1": torch.ones(32)}
    assert "not expected ['encoder.layer.0.layer_scale1.lambda1']" in refused(saved(tmp_path / "scale.bin", scale))
    del state["vit.encoder.layer.1.attention.attention.key.weight"]
    assert "not its key and value beside it" in refused(saved(tmp_path / "half.bin", state))


def test_can_of_lightning(tmp_path: Path) -> None:
    state = {"encoder." + k: v for k, v in official().items()}
    state |= {"decoder.embed.weight": torch.zeros(2, 2), "projector.0.weight": torch.zeros(2, 2)}
    state |= {"noise_embed.0.weight": torch.zeros(2, 2), "encoder.head.weight": torch.zeros(1000, 32)}
    encoder = load_encoder(
        saved(tmp_path / "can.ckpt", {"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 1}})
    )
    assert encoder.spec.std == (0.228, 0.224, 0.225)
    assert torch.equal(vectors(encoder, pictures()), vectors(nano_encoder(), pictures()))


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    both = {prefix + k: v for k, v in official().items() for prefix in ("encoder.", "module.encoder.")}
    assert "holds 2 networks" in refused(saved(tmp_path / "m.pth", both))


def test_a_patch_embedding_of_another_kind_is_refused(tmp_path: Path) -> None:
    state = {**official(), "patch_embed.proj.weight": torch.zeros(32, 192)}
    assert "of 2 dimensions" in refused(saved(tmp_path / "m.pth", state))
