"""vicmae.training.recipe: presets, --set changes, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from vicmae.errors import TrainingError
from vicmae.training.recipe import PRESETS, Recipe, load_recipe
from vicmae.training.views import Augmentation


@pytest.mark.parametrize("preset", [p.stem for p in PRESETS.glob("*.toml")])
def test_every_preset_loads_and_survives_a_round_trip(preset: str) -> None:
    recipe = load_recipe(preset, [])
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_the_named_presets_are_there() -> None:
    assert {"retrieval", "paper", "code"} <= {p.stem for p in PRESETS.glob("*.toml")}


def test_the_presets_follow_the_paper_and_the_code() -> None:
    paper, code = load_recipe("paper", []), load_recipe("code", [])
    assert (paper.objective.mask_ratio, paper.objective.contrast_weight, paper.contrast_from) == (0.75, 0.025, 0.25)
    assert (code.objective.mask_ratio, code.objective.recon_weight, code.objective.contrast_weight) == (0.5, 0.97, 0.03)
    assert paper.stored == code.stored == "jpeg" and load_recipe("retrieval", []).stored == "raw"
    assert code.image_view1.blur == 1.0 and code.image_view2.solarise == 0.2


def test_changes_are_read_in_the_notation_of_toml() -> None:
    changes = ["steps=7", "model=base", 'fit = "crop"', "objective.mask_ratio=0.75", "frame_view1.scale=[0.5, 1.0]"]
    recipe = load_recipe("retrieval", [*changes, "weight_decay=0"])
    assert (recipe.steps, recipe.model, recipe.fit, recipe.objective.mask_ratio) == (7, "base", "crop", 0.75)
    assert recipe.frame_view1.scale == (0.5, 1.0)
    assert recipe.weight_decay == 0.0 and isinstance(recipe.weight_decay, float)
    assert recipe.frame_view2 == load_recipe("retrieval", []).frame_view2


def test_weights_are_any_number_of_numbers() -> None:
    recipe = load_recipe("retrieval", ["weights=[3, 0.5, 1]"])
    assert recipe.weights == (3.0, 0.5, 1.0) and Recipe.from_dict(recipe.to_dict()) == recipe
    assert load_recipe("retrieval", []).weights == ()


def test_a_recipe_of_an_older_version_means_the_same() -> None:
    new = (
        "stored",
        "clip_frames_per_second",
        "heads",
        "contrast_ramp",
        "sync_batchnorm",
        "accumulate",
        "precision",
        "compile",
        "shard",
        "picture_steps",
    )
    written = load_recipe("retrieval", []).to_dict()
    assert Recipe.from_dict({k: v for k, v in written.items() if k not in new}) == load_recipe("retrieval", [])


def test_a_loss_scale_cannot_be_split() -> None:
    with pytest.raises(TrainingError, match="Use bf16"):
        load_recipe("retrieval", ["precision=fp16", "shard=true"])


def test_the_pairs_of_a_contrast_do_not_grow_with_accumulation() -> None:
    assert load_recipe("retrieval", ["batch=64", "accumulate=4"]).pairs_per_contrast == 16


def test_the_last_change_of_a_value_counts() -> None:
    assert load_recipe("retrieval", ["steps=7", "steps=8"]).steps == 8


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("steps = 3\nbatch = 4\n[image_view1]\nflip = 0\nratio = [1, 1]\n")
    recipe = load_recipe(str(file), [])
    assert (recipe.steps, recipe.batch) == (3, 4)
    assert recipe.image_view1 == dataclasses.replace(Augmentation(), flip=0.0, ratio=(1.0, 1.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("steps", "key=value"),
        ("steps=-1", "steps is -1"),
        ("steps=many", "steps is 'many'"),
        ("steps=1.5", "steps is 1.5"),
        ("steps=true", "steps is True"),
        ("batch=1", "batch is 1"),
        ("checkpoint_steps=0", "checkpoint_steps is 0"),
        ("keep_checkpoints=0", "keep_checkpoints is 0"),
        ("base_rate=fast", "base_rate is 'fast'"),
        ("model=giant", "tiny, small, base"),
        ("size=100", "multiple of 16"),
        ("fit=stretch", "'crop', 'squash' or 'pad'"),
        ("clip_share=1.5", "less than or equal to 1"),
        ("contrast_from=-1", "greater than or equal to 0"),
        ("weights=[1, 0]", "weights.1 is 0; it should be greater than 0"),
        ("weights=[inf]", "finite number"),
        ("weights=['a']", "weights.0 is 'a'"),
        ("weights=2", "weights is 2"),
        ("contrast_ramp=2", "less than or equal to 1"),
        ("heads=two", "'shared' or 'predictor-target'"),
        ("stored=png", "'raw' or 'jpeg'"),
        ("clip_frames_per_second=0", "clip_frames_per_second is 0"),
        ("clip_frames_per_second=inf", "finite number"),
        ("clip_frames_per_second=nan", "finite number"),
        ("precision=int8", "'fp32', 'bf16' or 'fp16'"),
        ("accumulate=0", "accumulate is 0"),
        ("accumulate=3", "each pass needs the same number"),
        ("picture_steps=-1", "picture_steps is -1"),
        ("pair_window_seconds=-1", "greater than or equal to 0"),
        ("pair_window_seconds=inf", "finite number"),
        ("objective.pooling=median", "'mean', 'max' or 'gem'"),
        ("objective=3", "objective is 3"),
        ("objective.mask_ratio=1.0", "at least one must stay"),
        ("objective.mask_ratio=0", "one must go"),
        ("objective.mask=0.5", "objective.mask is not in a recipe"),
        ("image_view1.scale=[0.5]", "image_view1.scale.1 is [0.5]"),
        ('image_view1.scale=["a", 1]', "image_view1.scale.0 is 'a'"),
        ("views.flip=1", "no table 'views'"),
        ("speed=1", "speed is not in a recipe"),
    ],
)
def test_a_wrong_change_is_refused_with_its_name(change: str, told: str) -> None:
    with pytest.raises(TrainingError) as refused:
        load_recipe("retrieval", [change])
    assert told in str(refused.value)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="code, copies, paper, retrieval"):
        load_recipe("fast", [])


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no preset"):
        load_recipe(str(tmp_path / "none.toml"), [])
    for content in (b"steps = = 3", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(TrainingError, match="is not TOML"):
            load_recipe(str(tmp_path / "bad.toml"), [])
