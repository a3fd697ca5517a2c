"""vicmae.training.finetune.data: labelled folders -> items that give frames at wanted seconds."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_media import write_text
from made_tuning import coloured, write_clip, write_tree
from PIL import Image

from vicmae.errors import MediaError, TrainingError
from vicmae.training.finetune.data import Task, load_task, shown_rows, split_roles


def load(source: Path, cache: Path | None, set_name: str | None = None) -> Task:
    return load_task(source, set_name, "label", cache, 40)


def start(duration: float) -> np.ndarray:
    return np.zeros(1)


@pytest.mark.parametrize("cached", [True, False])
def test_pictures_of_a_tree(tmp_path: Path, cached: bool) -> None:
    tree = write_tree(tmp_path / "data")
    task = load(tree, tmp_path / "cache" if cached else None)
    assert task.classes == ("blue", "red") and task.bad == []
    assert list(task.train.targets) == [0] * 4 + [1] * 4 and list(task.test.targets) == [0, 1]
    assert task.test.names == ["test/blue/0.png", "test/red/0.png"]
    np.testing.assert_array_equal(task.train.frames(5, start), coloured(1, 1010)[None])


def test_a_cache_keeps_shape_and_shrinks_what_is_large(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data")
    Image.fromarray(coloured(1, 0, (200, 100))).save(tree / "train" / "red" / "0.png")
    task = load(tree, tmp_path / "cache")
    assert task.train.frames(4, start).shape == (1, 40, 80, 3)
    again = load(tree, tmp_path / "cache")
    np.testing.assert_array_equal(again.train.frames(4, start), task.train.frames(4, start))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_changed_folder_is_decoded_anew(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data")
    load(tree, tmp_path / "cache")
    Image.fromarray(coloured(0, 77)).save(tree / "train" / "blue" / "new.png")
    assert len(load(tree, tmp_path / "cache").train.names) == 9


@pytest.mark.parametrize("cached", [True, False])
def test_clips_show_what_is_on_the_screen_at_the_wanted_seconds(tmp_path: Path, cached: bool) -> None:
    tree = write_tree(tmp_path / "data")
    grey = [np.full((40, 48, 3), 25 * i, np.uint8) for i in range(10)]
    write_clip(tree / "train" / "red" / "9.mp4", grey, fps=10)
    task = load(tree, tmp_path / "cache" if cached else None)
    clip = task.train.frames(task.train.names.index("train/red/9.mp4"), lambda _: np.array([0.25, 0.45, 0.65, 0.85]))
    assert clip.shape == (4, 40, 48, 3)
    np.testing.assert_allclose(clip.mean(axis=(1, 2, 3)) / 25, [2, 4, 6, 8], atol=0.3)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=20, unique=True), st.floats(0, 25))
def test_shown_is_the_last_frame_not_after(times: list[float], wanted: float) -> None:
    seconds = np.sort(np.array(times))
    row = int(shown_rows(seconds, np.array([wanted]))[0])
    assert row == 0 or seconds[row] <= wanted + 1e-6
    assert row == len(seconds) - 1 or seconds[row + 1] > wanted


def test_files_of_shards_are_decoded_once_only(tmp_path: Path) -> None:
    rows = ["file,label,split,shard"]
    with tarfile.open(tmp_path / "all.tar", "w") as shard:
        for split in ("train", "test"):
            for kind, label in enumerate(("blue", "red")):
                file = io.BytesIO()
                Image.fromarray(coloured(kind, kind)).save(file, "PNG")
                member = tarfile.TarInfo(f"{split}-{label}.png")
                member.size = file.tell()
                file.seek(0)
                shard.addfile(member, file)
                rows.append(f"{member.name},{label},{split},all.tar")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    assert load(tmp_path, tmp_path / "cache").test.names == ["test-blue.png", "test-red.png"]
    with pytest.raises(TrainingError, match="all.tar is a tar shard.*decoding=once"):
        load(tmp_path, None)


def test_broken_items_are_named_and_many_stop(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data", each=12)
    write_text(tree / "train" / "red" / "bad.jpg")
    task = load(tree, tmp_path / "cache")
    assert [name for name, _ in task.bad] == ["train/red/bad.jpg"] and len(task.train.names) == 24
    with pytest.raises(MediaError):
        load(tree, None).train.frames(load(tree, None).train.names.index("train/red/bad.jpg"), start)
    for i in range(3):
        write_text(tree / "train" / "red" / f"bad{i}.jpg")
    with pytest.raises(
        TrainingError, match="4 of 30 items cannot be decoded, more than 5%. .* The first: train/red/bad"
    ):
        load(tree, tmp_path / "cache")


@pytest.mark.parametrize("cached", [True, False])
def test_folders_that_cannot_be_learned_from(tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    with pytest.raises(TrainingError, match="There is no folder .*nowhere"):
        load(tmp_path / "nowhere", cache)
    tree = write_tree(tmp_path / "data")
    (tree / "train" / "green").mkdir()
    with pytest.raises(TrainingError, match="The class .*green holds no picture or video"):
        load(tree, cache)


def test_roles_and_classes_that_lack_something() -> None:
    def refused(splits: list[str], labels: list[str], classes: tuple[str, ...] | None = None) -> str:
        with pytest.raises(TrainingError) as error:
            split_roles(splits, labels, Path("data"), classes)
        return str(error.value)

    assert "2 of 3 files of data have no label" in refused(["train"] * 3, ["a", "", ""])
    assert "no item in a split train or gallery; it has the splits: cat, dog" in refused(["cat", "dog"], ["x", "y"])
    assert "no item in a split test or query or val" in refused(["train", "train"], ["x", "y"])
    assert "All training items are of the class x" in refused(["train", "test"], ["x", "x"])
    assert "1 classes are tested but have no training item, such as z" in refused(
        ["train", "train", "test"], ["x", "y", "z"]
    )
    assert "such as z" in refused(["test"], ["z"], ("x", "y"))
    (_, (rows, targets)), classes = split_roles(["test", "val"], ["y", "x"], Path("data"), ("x", "y"))
    assert (list(rows), list(targets), classes) == ([0, 1], [1, 0], ("x", "y"))
