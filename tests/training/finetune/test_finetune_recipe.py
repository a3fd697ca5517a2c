"""vicmae.training.finetune.recipe: presets hold the protocols, and what makes no sense is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from vicmae.errors import TrainingError
from vicmae.training.finetune import ImageTuning, VideoTuning, load_image_tuning, load_video_tuning
from vicmae.training.recipe import PRESETS


def test_every_preset_is_read() -> None:
    for path in (PRESETS / "image").glob("*.toml"):
        assert ImageTuning.from_dict(load_image_tuning(path.stem, []).to_dict()) == load_image_tuning(path.stem, [])
    for path in (PRESETS / "video").glob("*.toml"):
        assert VideoTuning.from_dict(load_video_tuning(path.stem, []).to_dict()) == load_video_tuning(path.stem, [])


def test_imagenet_is_the_released_recipe() -> None:
    recipe = load_image_tuning("imagenet", [])
    assert (recipe.epochs, recipe.warmup_epochs, recipe.batch, recipe.base_rate) == (100, 5, 1024, 5e-4)
    assert (recipe.layer_decay, recipe.drop_path, recipe.mixup, recipe.cutmix) == (0.65, 0.1, 0.8, 1.0)
    assert (recipe.smoothing, recipe.erasing, recipe.min_rate, recipe.weight_decay) == (0.1, 0.25, 1e-6, 0.05)
    assert round(recipe.size / recipe.test_share) == 256 and recipe.fit == "crop"


def test_video_protocols() -> None:
    kinetics, something = load_video_tuning("kinetics", []), load_video_tuning("something-something", [])
    assert (kinetics.frames, kinetics.tube, kinetics.sampling) == (16, 2, "window")
    assert 30 * kinetics.stride_seconds == pytest.approx(4)
    assert (kinetics.test_clips, kinetics.test_crops, kinetics.flip) == (7, 3, 0.5)
    assert (something.test_clips, something.test_crops, something.flip) == (2, 3, 0.0)
    assert something.sampling == "spread"


def test_values_change_and_a_file_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("batch = 32\nsize = 64\n")
    recipe = load_image_tuning(str(tmp_path / "mine.toml"), ["epochs=3", "feature=cls", "scale=[0.5, 1]"])
    assert (recipe.batch, recipe.size, recipe.epochs, recipe.feature, recipe.scale) == (32, 64, 3, "cls", (0.5, 1.0))


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"feature": "pool"}, "feature is 'pool'; it should be 'mean', 'cls' or 'global-pool'"),
        ({"fit": "stretch"}, "fit is 'stretch'; it should be 'as trained', 'crop', 'squash' or 'pad'"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"sampling": "all"}, "sampling is 'all'; it should be 'window' or 'spread'"),
        ({"epochs": 0}, "epochs is 0; it should be greater than or equal to 1"),
        ({"mixup": float("nan")}, "mixup is nan; it should be a finite number"),
        ({"drop_path": 1.5}, "drop_path is 1.5; it should be less than or equal to 1"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0; it should be greater than 0"),
        ({"scale": (0.9, 0.1)}, "expected two numbers above 0, the lower one first"),
        ({"rand_augment": "auto"}, "expected timm's notation"),
        ({"rand_augment": "rand-x9"}, "expected timm's notation"),
        ({"base_rate": 0.0}, "base_rate is 0.0; it should be greater than 0"),
        ({"batch": 9, "accumulate": 2}, "passes must be equal"),
        ({"batch": 9, "repeats": 2}, "batch is 9, repeats 2"),
        ({"frames": 7}, "frames is 7, tube 2; tubes must be equal"),
        ({"stride_seconds": 0.0}, "stride_seconds is 0.0; it should be greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        VideoTuning.from_dict(changes)


def test_unknown_presets_and_keys_are_named() -> None:
    with pytest.raises(TrainingError, match="There is no preset 'kinetics'; choose one of imagenet, small"):
        load_image_tuning("kinetics", [])
    with pytest.raises(TrainingError, match="frames is not in a recipe"):
        load_image_tuning("small", ["frames=8"])
    with pytest.raises(TrainingError, match="there is no table 'view'"):
        load_video_tuning("small", ["view.scale=1"])
