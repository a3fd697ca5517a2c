"""vicmae.model.classifier: heads on encoders, the file that holds them, and what else may be read of it."""

from pathlib import Path

import pytest
import torch
from made_runs import NANO, nano, nano_encoder

from vicmae.errors import CheckpointError
from vicmae.model.checkpoints import load_encoder, save_model
from vicmae.model.classifier import Classifier, load_classifier, save_classifier
from vicmae.model.video import inflate

__all__ = ["nano"]
pytestmark = pytest.mark.usefixtures("nano")
CLASSES = ("cat", "dog", "owl")
PICTURES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
CLIPS = torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def logits(model: Classifier, pictures: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.as_tensor(model(pictures))


def test_features_are_the_tokens_they_name() -> None:
    encoder = nano_encoder()
    with torch.inference_mode():
        tokens = encoder(PICTURES)
        norm = torch.nn.LayerNorm(NANO.dim, eps=1e-6)
        mean = Classifier(nano_encoder(), CLASSES, "mean")
        torch.testing.assert_close(mean.features(PICTURES), norm(encoder.pooled(PICTURES)))
        torch.testing.assert_close(Classifier(nano_encoder(), CLASSES, "cls").features(PICTURES), tokens[:, 0])
        before_norm = nano_encoder()
        before_norm.add_module("norm", torch.nn.Identity())
        pooled = Classifier(nano_encoder(), CLASSES, "global-pool").features(PICTURES)
        torch.testing.assert_close(pooled, norm(before_norm(PICTURES)[:, 1:].mean(dim=1)))


def test_features_of_a_clip_are_means_over_its_slots() -> None:
    video = inflate(nano_encoder(), 4, 2)
    with torch.inference_mode():
        tokens = video(CLIPS)
        of_class = Classifier(inflate(nano_encoder(), 4, 2), CLASSES, "cls").features(CLIPS)
        torch.testing.assert_close(of_class, tokens[:, :, 0].mean(dim=1))
        of_tubes = Classifier(inflate(nano_encoder(), 4, 2), CLASSES, "mean").features(CLIPS)
        torch.testing.assert_close(of_tubes, torch.nn.functional.layer_norm(video.pooled(CLIPS), (NANO.dim,), eps=1e-6))


def test_a_new_head_says_nearly_nothing() -> None:
    model = Classifier(nano_encoder(), CLASSES)
    assert 0 < model.head.weight.std() < 5e-5 and (model.head.bias == 0).all()
    assert logits(model, PICTURES).abs().max() < 1e-2


@pytest.mark.parametrize("feature", ["mean", "cls", "global-pool"])
@pytest.mark.parametrize("frames", [0, 4])
def test_a_saved_classifier_comes_back_whole(tmp_path: Path, feature: str, frames: int) -> None:
    trunk = inflate(nano_encoder(), frames, 2) if frames else nano_encoder()
    model = Classifier(trunk, CLASSES, feature, dropout=0.5).eval()  # type: ignore[arg-type]
    save_classifier(model, tmp_path / "model.safetensors", {"kind": "x"})
    loaded, notes = load_classifier(tmp_path)
    assert loaded.classes == CLASSES and loaded.feature == feature and notes == {"kind": "x"}
    pictures = CLIPS if frames else PICTURES
    assert torch.equal(logits(loaded, pictures), logits(model, pictures))


def test_the_encoder_below_a_mean_head_is_read_like_any_other(tmp_path: Path) -> None:
    model = Classifier(nano_encoder(seed=5), CLASSES)
    save_classifier(model, tmp_path / "model.safetensors", {})
    encoder = load_encoder(tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.pooled(PICTURES), nano_encoder(seed=5).pooled(PICTURES))
    assert load_encoder(tmp_path, size=64).spec.size == 64


def test_encoders_that_are_no_embedders_are_refused(tmp_path: Path) -> None:
    for feature in ("cls", "global-pool"):
        save_classifier(Classifier(nano_encoder(), CLASSES, feature), tmp_path / "a.safetensors", {})
        with pytest.raises(CheckpointError, match=f"feature={feature}.*Fine-tune with feature=mean"):
            load_encoder(tmp_path / "a.safetensors")
    save_classifier(Classifier(inflate(nano_encoder(), 4), CLASSES), tmp_path / "v.safetensors", {})
    with pytest.raises(CheckpointError, match="on clips of 4 frames; pictures are wanted here"):
        load_encoder(tmp_path / "v.safetensors")


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    save_model(nano_encoder(), tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="holds no classifier. Make one with `vicmae finetune`"):
        load_classifier(tmp_path / "plain.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(CheckpointError, match="is not a readable safetensors file"):
        load_classifier(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load_classifier(tmp_path / "none")
