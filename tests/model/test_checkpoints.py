"""vicmae.model.checkpoints: ours, the official layouts, and what is refused."""

import argparse
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_runs import NANO, nano, nano_encoder
from safetensors.torch import load_file, save_file
from torch import Tensor

from vicmae.errors import CheckpointError
from vicmae.model.checkpoints import (
    find_checkpoint,
    load_any_encoder,
    load_encoder,
    load_weights,
    resize_positions,
    save_model,
)
from vicmae.model.config import SIZES
from vicmae.model.conv_vicmae import ConvViCMAE
from vicmae.model.encoder import Encoder, sincos_positions
from vicmae.model.vicmae import ViCMAE

__all__ = ["nano"]


def whole_model(seed: int = 0, size: int = 32) -> ViCMAE:
    torch.manual_seed(seed)
    return ViCMAE(NANO, NANO.input_spec(size, fit="pad"))


def official(path: Path, state: dict[str, Tensor], **more: Any) -> Path:
    torch.save({"model": state, **more}, path)
    return path


def official_state(model: ViCMAE) -> dict[str, Tensor]:
    return dict(model.state_dict())


def encoder_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.startswith(("decoder", "mask_token", "projector"))}


def pooled(encoder: Encoder, size: int = 32) -> Tensor:
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return encoder.eval().pooled(pictures)


def test_ours_comes_back_as_it_was(tmp_path: Path) -> None:
    model = whole_model()
    save_model(model, tmp_path / "model.safetensors")
    state, config, spec = load_weights(tmp_path / "model.safetensors")
    assert (config, spec) == (model.config, model.spec)
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_checkpoint_rebuilds_its_encoder_by_itself(tmp_path: Path) -> None:
    model = whole_model()
    save_model(model, tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path / "model.safetensors")
    assert not encoder.training and encoder.spec.fit == "pad"
    assert torch.equal(pooled(encoder), pooled(model))
    assert not [name for name in encoder.state_dict() if name.startswith(("decoder", "projector", "mask"))]


def test_an_encoder_alone_can_be_saved_too(tmp_path: Path) -> None:
    encoder = nano_encoder()
    save_model(encoder, tmp_path / "e.safetensors")
    assert torch.equal(pooled(load_encoder(tmp_path / "e.safetensors")), pooled(encoder))


def test_a_run_a_step_and_a_file_name_a_checkpoint(tmp_path: Path) -> None:
    for step in ("step-00000002", "step-00000010"):
        (tmp_path / step).mkdir()
        save_model(nano_encoder(), tmp_path / step / "model.safetensors")
    last = tmp_path / "step-00000010" / "model.safetensors"
    assert find_checkpoint(tmp_path) == find_checkpoint(last.parent) == find_checkpoint(last) == last
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no model.safetensors"):
        find_checkpoint(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        find_checkpoint(tmp_path / "none.pth")


@pytest.mark.usefixtures("nano")
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_official_layout_with_its_arguments(tmp_path: Path, prefix: str) -> None:
    model = whole_model()
    state = {prefix + k: v for k, v in official_state(model).items()}
    arguments = argparse.Namespace(lr=1e-3, model="vicmae")
    path = official(tmp_path / "vicmae.pth", state, args=arguments, epoch=799, optimizer={"state": {}})
    encoder = load_encoder(path)
    assert encoder.config == NANO and (encoder.spec.size, encoder.spec.fit) == (32, "crop")
    assert torch.equal(pooled(encoder), pooled(model))


@pytest.mark.usefixtures("nano")
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_a_plain_mae_encoder_without_header(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    model = whole_model()
    path = tmp_path / ("mae.safetensors" if write is save_file else "mae.pth")
    write(encoder_part(official_state(model)), path)
    assert torch.equal(pooled(load_encoder(path)), pooled(model))


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_encoder(path)
    return str(error.value)


def test_an_unknown_layout_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    told = refused(official(tmp_path / "resnet.pth", {"conv1.weight": torch.zeros(2), "fc.bias": torch.zeros(1)}))
    assert "none of the layouts that are read: ViC-MAE, MAE, timm" in told and "conv1.weight, fc.bias" in told
    assert "no tensors" in refused(official(tmp_path / "empty.pth", {}))
    torch.save([1, 2], tmp_path / "list.pth")
    assert "no tensors" in refused(tmp_path / "list.pth")
    torch.save({"model": torch.zeros(3)}, tmp_path / "tensor.pth")
    assert "It holds model;" in refused(tmp_path / "tensor.pth")


@pytest.mark.usefixtures("nano")
def test_a_network_of_another_size_or_with_parts_missing_is_refused(tmp_path: Path) -> None:
    state = official_state(whole_model())
    shallow = {k: v for k, v in state.items() if not k.startswith("blocks.1.")}
    assert "width 32, patch 8, depth 1" in refused(official(tmp_path / "a.pth", shallow))
    headless = {k: v for k, v in state.items() if not k.startswith("blocks.")}
    assert "but lacks blocks.*" in refused(official(tmp_path / "b.pth", headless))
    tableless = {k: v for k, v in state.items() if k not in ("pos_embed", "norm.weight")}
    assert "but lacks pos_embed, norm.weight" in refused(official(tmp_path / "b.pth", tableless))
    lacking = {k: v for k, v in state.items() if k != "blocks.0.attn.qkv.bias"}
    assert "missing ['blocks.0.attn.qkv.bias']" in refused(official(tmp_path / "c.pth", lacking))
    more = {**state, "gate.weight": torch.zeros(2)}
    assert "not expected ['gate.weight']" in refused(official(tmp_path / "d.pth", more))
    narrow = {**state, "blocks.0.mlp.fc1.weight": torch.zeros(7, 32)}
    assert "size mismatch" in refused(official(tmp_path / "e.pth", narrow))
    odd = {**state, "pos_embed": torch.zeros(1, 8, 32)}
    assert "a square of patches" in refused(official(tmp_path / "f.pth", odd))


class Trap:
    """What a hostile file holds: unpickled, it would run its function."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return _sprung, ("sprung",)


def _sprung(word: str) -> None:
    raise AssertionError(word)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    torch.save({"model": Trap()}, tmp_path / "trap.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    for name in ("trap.pth", "raw.pth"):
        assert "can be read safely" in refused(tmp_path / name)


def test_a_corrupt_file_is_refused(tmp_path: Path) -> None:
    save_model(nano_encoder(), tmp_path / "m.safetensors")
    whole = (tmp_path / "m.safetensors").read_bytes()
    for content in (b"", b"text", whole[:100], whole[: len(whole) // 2]):
        (tmp_path / "bad.safetensors").write_bytes(content)
        assert "not a readable safetensors file" in refused(tmp_path / "bad.safetensors")
        (tmp_path / "bad.pth").write_bytes(content)
        assert "not a weights file" in refused(tmp_path / "bad.pth")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"config": "{}", "spec": "{}"},
        {"config": "no json", "spec": "{}"},
        {"config": json.dumps(NANO.to_dict()), "spec": '{"size": 33, "patch": 8, "dim": 32}'},
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: dict[str, str]) -> None:
    path = tmp_path / "m.safetensors"
    save_model(nano_encoder(), path)
    save_file(load_file(path), path, metadata={"format": "vicmae-1", **header})
    assert "header that is damaged" in refused(path)


def test_a_checkpoint_of_before_has_a_class_token(tmp_path: Path) -> None:
    """Headers of before these switches existed do not name them."""
    path, encoder = tmp_path / "m.safetensors", nano_encoder()
    save_model(encoder, path)
    config = {k: v for k, v in NANO.to_dict().items() if k not in ("class_token", "norm_of_mean")}
    header = {"format": "vicmae-1", "config": json.dumps(config), "spec": json.dumps(encoder.spec.to_dict())}
    save_file(load_file(path), path, metadata=header)
    again = load_encoder(path)
    assert again.config == NANO and torch.equal(pooled(again), pooled(encoder))


def test_another_picture_size_resizes_the_positions(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(nano_encoder(size=32), path)
    larger = load_encoder(path, size=48)
    assert larger.spec.size == 48 and larger.pos_embed.shape == (1, 37, 32)
    assert pooled(larger, 48).shape == (2, 32)
    assert torch.equal(load_encoder(path, size=32).pos_embed, nano_encoder().pos_embed)
    for size in (50, 0, -8):
        with pytest.raises(CheckpointError, match=f"size is {size}; .* multiple of its patches' 8 pixels"):
            load_encoder(path, size=size)


def test_resized_positions_keep_the_class_token_and_the_layout() -> None:
    table = sincos_positions(32, 7)
    table[:, 0] = 5.0
    assert resize_positions(table, 7) is table
    up = resize_positions(table, 14)
    assert up.shape == (1, 197, 32) and torch.equal(up[:, 0], table[:, 0])
    rows = up[0, 1:].view(14, 14, 32)
    assert torch.allclose(rows[:, :, :16], rows[:1, :, :16].expand(14, -1, -1), atol=1e-5)  # columns first
    assert torch.allclose(rows[:, :, 16:], rows[:, :1, 16:].expand(-1, 14, -1), atol=1e-5)
    flat = torch.ones(1, 50, 4)
    assert torch.allclose(resize_positions(flat, 3), torch.ones(1, 10, 4), atol=1e-6)


def test_weights_are_averaged_with_their_start(tmp_path: Path) -> None:
    lite = SIZES["lite"]
    model = ConvViCMAE(lite, lite.input_spec(32, fit="squash"), queue=2)
    model.keep_start()
    name = "projection.bias"
    start = model.get_parameter(name).detach().clone()
    with torch.no_grad():
        model.get_parameter(name).add_(1.0)
    save_model(model, tmp_path / "model.safetensors")
    for share, moved in ((0.0, 1.0), (0.25, 0.75), (1.0, 0.0)):
        encoder = load_any_encoder(tmp_path / "model.safetensors", start_share=share)
        torch.testing.assert_close(encoder.get_parameter(name).detach(), start + moved)
    with pytest.raises(CheckpointError, match="from 0 to 1"):
        load_any_encoder(tmp_path / "model.safetensors", start_share=1.5)
    plain = Encoder(NANO, NANO.input_spec(32))
    save_model(plain, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="does not hold the weights that its training began with"):
        load_any_encoder(tmp_path / "plain.safetensors", start_share=0.5)
