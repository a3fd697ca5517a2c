"""vicmae.model.video_layouts: MAE-ST, VideoMAE and OmniMAE, with true names and shapes, against their own forward."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import NANO, nano
from torch import Tensor
from torch.nn import functional

from vicmae.errors import CheckpointError
from vicmae.export.torch_engine import TorchEngine
from vicmae.model.checkpoints import load_encoder, load_weights, save_model
from vicmae.model.config import SIZES, ModelConfig
from vicmae.model.encoder import Encoder
from vicmae.model.video_layouts import sinusoid_positions

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
BASE = SIZES["base"]
ONE_BLOCK = ModelConfig("x", 16, 768, 1, 12, 8, 1, 1, 8, 8)


def pictures(size: int, count: int = 3) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def vectors(encoder: Encoder, seen: Tensor) -> Tensor:
    with torch.inference_mode():
        return encoder.eval().pooled(seen)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_encoder(path)
    return str(error.value)


def shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def shapes_of_encoder(config: ModelConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return shapes(dict(Encoder(config, config.input_spec(224)).state_dict()))


def mae_st(config: ModelConfig, size: int, times: int) -> dict[str, Tensor]:
    """The true names of MAE-ST, decoder included, with random weights."""
    generator = torch.Generator().manual_seed(5)

    def made(*shape: int) -> Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    dim, hidden = config.dim, 4 * config.dim
    state = {
        "cls_token": made(1, 1, dim),
        "pos_embed_class": made(1, 1, dim),
        "pos_embed_spatial": made(1, (size // config.patch) ** 2, dim),
        "pos_embed_temporal": made(1, times, dim),
        "patch_embed.proj.weight": made(dim, 3, 2, config.patch, config.patch),
        "patch_embed.proj.bias": made(dim),
        "norm.weight": made(dim),
        "norm.bias": made(dim),
        "decoder_cls_token": made(1, 1, 8),
        "decoder_blocks.0.attn.q.weight": made(8, 8),
        "decoder_pos_embed_spatial": made(1, 4, 8),
        "mask_token": made(1, 1, 8),
    }
    for block in range(config.depth):
        parts = {f"attn.{which}": (dim, dim) for which in ("q", "k", "v", "proj")}
        for name, shape in (parts | {"mlp.fc1": (hidden, dim), "mlp.fc2": (dim, hidden)}).items():
            state[f"blocks.{block}.{name}.weight"] = made(*shape)
            state[f"blocks.{block}.{name}.bias"] = made(shape[0])
        for name in ("norm1", "norm2"):
            state[f"blocks.{block}.{name}.weight"] = made(dim)
            state[f"blocks.{block}.{name}.bias"] = made(dim)
    return state


def mae_st_feature(state: dict[str, Tensor], config: ModelConfig, clip: Tensor) -> Tensor:
    """clip (N, 3, T, S, S) -> (N, D): MAE-ST's encoder written out with its own names, nothing masked."""

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, state[name + ".weight"], state[name + ".bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (config.dim,), state[name + ".weight"], state[name + ".bias"], 1e-6)

    patch = (2, config.patch, config.patch)
    tokens = functional.conv3d(clip, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    x = tokens.flatten(3).permute(0, 2, 3, 1)  # (N, T, L, D)
    x = (x + state["pos_embed_spatial"][:, None] + state["pos_embed_temporal"][:, :, None]).flatten(1, 2)
    cls = state["cls_token"] + state["pos_embed_class"]
    x = torch.cat([cls.expand(len(x), -1, -1), x], dim=1)
    for block in range(config.depth):
        name = f"blocks.{block}."
        y = norm(x, name + "norm1")
        q, k, v = (linear(y, f"{name}attn.{w}").view(*y.shape[:2], config.heads, -1).transpose(1, 2) for w in "qkv")
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + linear(y, name + "attn.proj")
        x = x + linear(functional.gelu(linear(norm(x, name + "norm2"), name + "mlp.fc1")), name + "mlp.fc2")
    return norm(x[:, 1:].mean(dim=1), "norm") if "head.weight" in state else norm(x, "norm")[:, 1:].mean(dim=1)


@pytest.mark.parametrize("wrapper", ["model", "model_state"])
@pytest.mark.parametrize("tuned", [False, True])
def test_mae_st_of_one_time_is_a_model_of_pictures(tmp_path: Path, wrapper: str, tuned: bool) -> None:
    state = mae_st(NANO, 32, times=1)
    if tuned:
        state |= {"head.weight": torch.zeros(400, 32), "head.bias": torch.zeros(400)}
    encoder = load_encoder(saved(tmp_path / "st.pyth", {wrapper: state, "epoch": 1}))
    assert encoder.spec.mean == (0.45, 0.45, 0.45) and encoder.spec.std == (0.225, 0.225, 0.225)
    seen = pictures(32)
    wanted = mae_st_feature(state, NANO, torch.stack([seen, seen], dim=2))
    assert torch.allclose(vectors(encoder, seen), wanted, atol=1e-4, rtol=1e-4)


def test_mae_st_of_many_times_takes_the_mean_of_its_times(tmp_path: Path) -> None:
    state = mae_st(NANO, 32, times=8)
    table = load_encoder(saved(tmp_path / "st.pth", {"model": state})).pos_embed
    assert torch.equal(table[:, :1], state["pos_embed_class"])
    times = state["pos_embed_temporal"].mean(dim=1, keepdim=True)
    assert torch.allclose(table[:, 1:], state["pos_embed_spatial"] + times)


def test_mae_st_at_its_true_size(tmp_path: Path) -> None:
    state = mae_st(ONE_BLOCK, 224, times=8)
    blocks = {k: v for k, v in state.items() if k.startswith("blocks.0.")}
    state |= {k.replace("blocks.0.", f"blocks.{i}."): v for k, v in blocks.items() for i in range(12)}
    found, config, spec = load_weights(saved(tmp_path / "st.pth", {"model": state}))
    assert (config, spec.size) == (BASE, 224)
    assert shapes(found) == shapes_of_encoder(BASE)


def test_mae_st_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    state = mae_st(NANO, 32, times=8)
    joint = {k: v for k, v in state.items() if not k.startswith("pos_embed")} | {"pos_embed": torch.zeros(1, 129, 32)}
    assert "without separate position tables" in refused(saved(tmp_path / "a.pth", joint))
    del state["blocks.1.attn.v.weight"]
    assert "not its key and value beside it" in refused(saved(tmp_path / "c.pth", state))


def vit_state(config: ModelConfig, depth: int | None = None) -> dict[str, Tensor]:
    """The names that VideoMAE and OmniMAE share, with random weights; blocks beyond `depth` repeat the first ones."""
    generator = torch.Generator().manual_seed(6)

    def made(*shape: int) -> Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    dim, made_blocks = config.dim, depth or config.depth
    parts = {"attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
    state: dict[str, Tensor] = {}
    for block in range(made_blocks):
        for name, shape in parts.items():
            state[f"blocks.{block}.{name}.weight"] = made(*shape)
            state[f"blocks.{block}.{name}.bias"] = made(shape[0])
        for name in ("norm1", "norm2"):
            state[f"blocks.{block}.{name}.weight"] = 1 + made(dim)
            state[f"blocks.{block}.{name}.bias"] = made(dim)
    for block in range(made_blocks, config.depth):
        first = f"blocks.{block % made_blocks}."
        state |= {k.replace(first, f"blocks.{block}.", 1): v for k, v in state.items() if k.startswith(first)}
    state |= {"norm.weight": 1 + made(dim), "norm.bias": made(dim)}
    return state | {"proj.weight": made(dim, 3, 2, config.patch, config.patch), "proj.bias": made(dim)}


def videomae(config: ModelConfig, tuned: bool = False, depth: int | None = None) -> dict[str, Tensor]:
    """VideoMAE's names (modeling_pretrain.py, modeling_finetune.py): no bias of keys, no table, no class token."""
    state = vit_state(config, depth)
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("attn.qkv.bias"):
            out[name.replace("qkv.bias", "q_bias")], _, out[name.replace("qkv.bias", "v_bias")] = value.chunk(3)
        elif tuned and name.startswith("norm."):
            out["fc_" + name] = value
        else:
            out[f"patch_embed.{name}" if name.startswith("proj.") else name] = value
    return out | ({"head.weight": torch.zeros(400, config.dim), "head.bias": torch.zeros(400)} if tuned else {})


def pretrained(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As its trainer saves: the encoder beside the decoder."""
    decoder = {"decoder.blocks.0.attn.q_bias": torch.zeros(8), "decoder.norm.weight": torch.zeros(8)}
    more = {"encoder_to_decoder.weight": torch.zeros(8, 32), "mask_token": torch.zeros(1, 1, 8)}
    return {"encoder." + name: value for name, value in state.items()} | decoder | more


def omnimae(config: ModelConfig, tuned: bool = False, steps: int = 8) -> dict[str, Tensor]:
    """OmniMAE's names (omni_mae_model.py): its convolution is the second of two layers, its table is stored."""
    state = {("patch_embed.proj.1." + k[5:] if k.startswith("proj.") else k): v for k, v in vit_state(config).items()}
    state["pos_embed"] = interleaved(steps * (224 // config.patch) ** 2, config.dim)
    if not tuned:
        state |= {"mask_token": torch.zeros(1, config.dim), "decoder.decoder_embed.weight": torch.zeros(8, config.dim)}
        state |= {"decoder.pos_embed": state["pos_embed"], "decoder.norm.weight": torch.zeros(8)}
    return {"trunk." + k: v for k, v in state.items()} | {"head.weight": torch.zeros(8, 8), "head.bias": torch.zeros(8)}


def interleaved(count: int, dim: int) -> Tensor:
    """The sinusoid table as VideoMAE's loop writes it, number by number."""
    table = np.array([[place / 10000 ** (2 * (j // 2) / dim) for j in range(dim)] for place in range(count)])
    table[:, 0::2], table[:, 1::2] = np.sin(table[:, 0::2]), np.cos(table[:, 1::2])
    return torch.tensor(table, dtype=torch.float32)[None]


def feature(state: dict[str, Tensor], config: ModelConfig, clip: Tensor, norm_of_mean: bool) -> Tensor:
    """clip (N, 3, T, S, S) -> (N, D): the forward of VideoMAE and OmniMAE written out, in bare matrix products.

    state: names of vit_state, with the bias of queries, keys and values as one.
    """
    patch = (2, config.patch, config.patch)
    x = functional.conv3d(clip, state["proj.weight"], state["proj.bias"], stride=patch).flatten(2).transpose(1, 2)
    x = x + interleaved(x.shape[1], config.dim)
    for block in range(config.depth):
        name = f"blocks.{block}."

        def linear(y: Tensor, part: str, name: str = name) -> Tensor:
            return y @ state[f"{name}{part}.weight"].T + state[f"{name}{part}.bias"]

        y = normed(x, state, name + "norm1")
        q, k, v = linear(y, "attn.qkv").view(*y.shape[:2], 3, config.heads, -1).permute(2, 0, 3, 1, 4)
        weight = (q @ k.transpose(-2, -1) / (config.dim // config.heads) ** 0.5).softmax(dim=-1)
        x = x + linear((weight @ v).transpose(1, 2).flatten(2), "attn.proj")
        x = x + linear(functional.gelu(linear(normed(x, state, name + "norm2"), "mlp.fc1")), "mlp.fc2")
    return normed(x.mean(dim=1), state, "norm") if norm_of_mean else normed(x, state, "norm").mean(dim=1)


def normed(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
    return centred / deviation * state[name + ".weight"] + state[name + ".bias"]


def without_key_bias(state: dict[str, Tensor]) -> dict[str, Tensor]:
    out = dict(state)
    for name, value in state.items():
        if name.endswith("attn.qkv.bias"):
            q, k, v = value.chunk(3)
            out[name] = torch.cat([q, 0 * k, v])
    return out


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize(("wrapper", "prefix"), [("model", ""), ("module", "backbone."), ("module", "")])
def test_videomae_sees_a_picture_as_two_equal_frames(tmp_path: Path, tuned: bool, wrapper: str, prefix: str) -> None:
    state = videomae(NANO, tuned)
    content = {prefix + k: v for k, v in state.items()} if tuned else pretrained(state)
    encoder = load_encoder(saved(tmp_path / "v.pth", {wrapper: content, "epoch": 1}))
    assert (encoder.spec.size, encoder.spec.mean) == (224, (0.485, 0.456, 0.406))
    assert encoder.cls_token is None and encoder.config.norm_of_mean == tuned
    seen = pictures(224, 2)
    clip = torch.stack([seen, seen], dim=2)
    wanted = feature(without_key_bias(vit_state(NANO)), NANO, clip, norm_of_mean=tuned)
    torch.testing.assert_close(vectors(encoder, seen), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tuned", [False, True])
def test_omnimae_sees_a_picture_as_two_equal_frames(tmp_path: Path, tuned: bool) -> None:
    encoder = load_encoder(saved(tmp_path / "o.torch", omnimae(NANO, tuned)))
    seen = pictures(224, 2)
    wanted = feature(vit_state(NANO), NANO, torch.stack([seen, seen], dim=2), norm_of_mean=tuned)
    torch.testing.assert_close(vectors(encoder, seen), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["small", "base"])
@pytest.mark.parametrize("tuned", [False, True])
def test_videomae_at_its_true_sizes(tmp_path: Path, name: str, tuned: bool) -> None:
    config = SIZES[name]
    state = {k: v[:1].expand_as(v) if k.startswith("blocks.") else v for k, v in videomae(config, tuned, 1).items()}
    found, known, spec = load_weights(saved(tmp_path / "v.pth", {"module": state if tuned else pretrained(state)}))
    assert known == ModelConfig(**{**config.to_dict(), "class_token": False, "norm_of_mean": tuned})
    assert (spec.size, spec.patch, spec.dim) == (224, 16, config.dim)
    assert shapes(found) == shapes_of_encoder(known) and found["pos_embed"].shape == (1, 196, config.dim)


def test_omnimae_at_its_true_size(tmp_path: Path) -> None:
    state = {k: torch.zeros(()).expand(v.shape) for k, v in omnimae(BASE, steps=1).items() if "blocks" not in k}
    state["trunk.pos_embed"] = torch.zeros(()).expand(1, 1568, 768)
    blocks = {k: v.shape for k, v in vit_state(BASE, 1).items() if k.startswith("blocks.")}
    state |= {f"trunk.{k}": torch.zeros(()).expand(shape) for k, shape in blocks.items()}
    found, known, spec = load_weights(saved(tmp_path / "o.torch", state))
    assert not known.class_token and spec.size == 224 and shapes(found) == shapes_of_encoder(known)


def test_the_table_is_that_of_videomae() -> None:
    for dim in (32, 384, 768):
        torch.testing.assert_close(sinusoid_positions(200, dim), interleaved(200, dim), rtol=0, atol=1e-6)


def test_a_stored_table_gives_its_first_step(tmp_path: Path) -> None:
    learned = torch.randn(1, 8 * 784, 32, generator=torch.Generator().manual_seed(2))
    state = videomae(NANO) | {"pos_embed": learned}
    assert torch.equal(load_encoder(saved(tmp_path / "v.pth", {"model": state})).pos_embed, learned[:, :784])
    state["pos_embed"] = learned[:, :785]
    assert "expected (1, steps * 784, D)" in refused(saved(tmp_path / "w.pth", {"model": state}))


def test_video_models_that_are_none_of_these_are_refused_with_the_reason(tmp_path: Path) -> None:
    other = {k: v for k, v in videomae(NANO).items() if "_bias" not in k}
    told = refused(saved(tmp_path / "a.pth", {"model": {"encoder." + k: v for k, v in other.items()}}))
    assert "without a class token" in told and "blocks.*.attn.q_bias" in told and "Read are ViC-MAE, MAE" in told
    half = {k: v for k, v in videomae(NANO).items() if k != "blocks.1.attn.v_bias"}
    assert "blocks.1.attn.q_bias but not its key and value" in refused(saved(tmp_path / "b.pth", {"model": half}))
    scaled = videomae(NANO) | {"blocks.0.gamma_1": torch.ones(32)}
    assert "not expected ['blocks.0.gamma_1']" in refused(saved(tmp_path / "c.pth", {"model": scaled}))
    unordered = {k: v for k, v in omnimae(NANO).items() if not k.endswith("pos_embed")}
    assert "looks like OmniMAE, but" in refused(saved(tmp_path / "d.pth", unordered))
    odd = {**omnimae(NANO), "trunk.pos_embed": torch.zeros(1, 785, 32)}
    assert "expected (1, steps * 784, D)" in refused(saved(tmp_path / "e.pth", odd))


def test_it_is_saved_resized_and_told_apart(tmp_path: Path) -> None:
    """A network without class token as one of ours: the header keeps both switches, pictures may be of another size."""
    source = {tuned: saved(tmp_path / f"{tuned}.pth", {"model": videomae(NANO, tuned)}) for tuned in (False, True)}
    fingerprints = set()
    for path in source.values():
        encoder = load_encoder(path)
        save_model(encoder, tmp_path / "m.safetensors")
        again = load_encoder(tmp_path / "m.safetensors")
        assert again.config == encoder.config and not again.config.class_token
        seen = pictures(224, 1)
        assert torch.equal(vectors(again, seen), vectors(encoder, seen))
        smaller = load_encoder(tmp_path / "m.safetensors", size=32)
        assert smaller.pos_embed.shape == (1, 16, 32) and vectors(smaller, pictures(32)).shape == (3, 32)
        fingerprints.add(TorchEngine(encoder, "v").fingerprint)
    assert len(fingerprints) == 2, "the same weights pooled otherwise are not comparable"
