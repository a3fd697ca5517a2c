"""vicmae.export.timm_encoder: a timm ViT is served as timm computes it, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from vicmae.errors import CheckpointError
from vicmae.export.timm_encoder import TimmEncoder, TimmGraph, load_timm
from vicmae.export.torch_engine import TorchEngine
from vicmae.media.spec import InputSpec

TINY = "test_vit"  # timm's own model for tests: 64 wide, pictures of 160 pixels
SIZE = 32


def shaken(name: str, size: int = SIZE, **options: Any) -> torch.nn.Module:
    """A model of timm whose weights all differ from their start, so that every one of them shows in the vectors."""
    torch.manual_seed(0)
    model: torch.nn.Module = timm.create_model(name, img_size=size, dynamic_img_size=False, **options)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def timms_own(model: torch.nn.Module, spec: InputSpec, pixels: torch.Tensor) -> torch.Tensor:
    """timm's features before the classifier, of pictures normalised as its transforms do."""
    mean, std = torch.tensor(spec.mean).view(3, 1, 1), torch.tensor(spec.std).view(3, 1, 1)
    pictures = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    features = model.forward_head(model.forward_features(pictures), pre_logits=True)  # type: ignore[operator]
    return torch.nn.functional.normalize(features, dim=1)


# class token; registers and mean; attention pooling; a norm instead of the class token; two tokens; rotary positions
@pytest.mark.parametrize(
    ("name", "size"),
    [
        (TINY, SIZE),
        ("test_vit2", SIZE),
        ("test_vit3", SIZE),
        ("test_vit4", SIZE),
        ("deit_tiny_distilled_patch16_224", SIZE),
        ("eva02_tiny_patch14_224", 42),
        ("vit_small_patch16_dinov3", SIZE),
    ],
)
def test_vectors_are_timms_own(name: str, size: int, tmp_path: Path) -> None:
    model = shaken(name, size)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "w.safetensors")
    encoder = load_timm(name, tmp_path / "w.safetensors", size)
    assert encoder.trained and encoder.spec.size == size
    assert encoder.spec.mean == tuple(timm.data.resolve_data_config({}, model=model)["mean"])
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8))
    with torch.inference_mode():
        expected = timms_own(model, encoder.spec, pixels)
        vectors, tokens = TimmGraph(encoder, patch_tokens=True).eval()(pixels)
        assert torch.allclose(TimmGraph(encoder).eval()(pixels), vectors)
    assert torch.allclose(vectors, expected, atol=2e-5)
    assert torch.allclose(torch.from_numpy(TorchEngine(encoder, "x").embed(pixels.numpy())), expected, atol=2e-5)
    assert vectors.shape == (3, encoder.spec.dim) and tokens.shape == (3, encoder.spec.tokens, encoder.config.dim)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3, "pictures differ"


def test_a_pickled_file_with_a_classifier_is_read_without_it(tmp_path: Path) -> None:
    torch.save({"state_dict": shaken(TINY, num_classes=7).state_dict()}, tmp_path / "w.pth")
    encoder = load_timm(TINY, tmp_path / "w.pth", SIZE)
    assert encoder.trained and not [name for name in encoder.state_dict() if "head." in name]
    assert encoder.config.name == "timm/test_vit" and encoder.config.depth == len(encoder.model.blocks)  # type: ignore[arg-type]


def test_without_a_file_it_is_not_called_trained() -> None:
    encoder = load_timm(TINY, None, SIZE)
    assert not encoder.trained
    assert isinstance(encoder, TimmEncoder) and "L2-normalised" in encoder.pooling


def test_the_tag_says_how_pictures_are_normalised() -> None:
    plain = load_timm("vit_tiny_patch16_224.augreg_in21k", None, 64).spec
    other = load_timm("vit_small_patch16_224.dino", None, 64).spec
    assert plain.mean == (0.5, 0.5, 0.5) and other.mean == (0.485, 0.456, 0.406)
    assert (other.size, other.patch, other.dim, other.fit, other.resize) == (64, 16, 384, "crop", "bicubic")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("resnet18", "cannot be made|not a plain vision transformer"),
        ("vit_tiny_r_s16_p8_224", "HybridEmbed, which is not one matrix product"),
        ("no_such_model", "timm .* has no model 'no_such_model'"),
        ("vit_tiny_patch16_224.no_such_tag", "timm .* has no model"),
    ],
)
def test_networks_that_cannot_be_served_are_refused(name: str, why: str) -> None:
    with pytest.raises(CheckpointError, match=why):
        load_timm(name, None)


def test_a_size_that_patches_do_not_fill_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot be made at 33 pixels|leaves a rest"):
        load_timm(TINY, None, 33)


def test_files_of_other_networks_are_refused(tmp_path: Path) -> None:
    state = {k: v.contiguous() for k, v in shaken(TINY).state_dict().items()}
    save_file({k: v for k, v in state.items() if k != "norm.weight"}, tmp_path / "less.safetensors")
    with pytest.raises(CheckpointError, match=r"less.safetensors does not hold test_vit of timm: missing \['norm.we"):
        load_timm(TINY, tmp_path / "less.safetensors", SIZE)
    save_file({**state, "adapter.weight": torch.zeros(2)}, tmp_path / "more.safetensors")
    with pytest.raises(CheckpointError, match=r"not expected \['adapter.weight'\]. Name the model"):
        load_timm(TINY, tmp_path / "more.safetensors", SIZE)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="w.safetensors does not hold vit_tiny_patch16_224 of timm"):
        load_timm("vit_tiny_patch16_224", tmp_path / "w.safetensors", SIZE)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    for name, why in (("a.safetensors", "not a readable safetensors file"), ("a.pth", "cannot|not a weights file")):
        (tmp_path / name).write_bytes(b"text")
        with pytest.raises(CheckpointError, match=why):
            load_timm(TINY, tmp_path / name, SIZE)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="list.pth holds a list, not weights by name"):
        load_timm(TINY, tmp_path / "list.pth", SIZE)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load_timm(TINY, tmp_path / "none.pth", SIZE)
