"""vicmae.training.layouts: each dataset folder as it is handed out -> path, label, split; and what is refused."""

import json
from pathlib import Path

import pytest

from vicmae.errors import TrainingError
from vicmae.training.layouts import LAYOUTS, list_dataset, split_source

KINETICS = "label,youtube_id,time_start,time_end,split"


def write(root: Path, **lists: str) -> Path:
    """Lists by name; `__` stands for a folder, the last `_` for the dot."""
    for name, text in lists.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        file(root, f"{stem}.{suffix}", text)
    return root


def file(root: Path, name: str, text: str = "x") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def found(layout: str, root: Path) -> list[tuple[str, str | None, str]]:
    listing = list_dataset(layout, root)
    assert not listing.missing
    return [(item.path.relative_to(root).as_posix(), item.label, item.split) for item in listing.items]


def refused(layout: str, root: Path) -> str:
    with pytest.raises(TrainingError) as error:
        list_dataset(layout, root)
    return str(error.value)


def test_class_folders_however_deep(tmp_path: Path) -> None:
    for name in ("train/cat/1.jpg", "train/dog/images/2.JPEG", "validation/cat/3.mp4", "train/cat/notes.txt"):
        file(tmp_path, name)
    file(tmp_path, "cache/other/4.jpg")
    assert found("classes", tmp_path) == [
        ("train/cat/1.jpg", "cat", "train"),
        ("train/dog/images/2.JPEG", "dog", "train"),
        ("validation/cat/3.mp4", "cat", "val"),
    ]


def test_imagenet(tmp_path: Path) -> None:
    for name in ("train/n01440764/a.JPEG", "val/n01440764/b.JPEG", "test/c.JPEG"):
        file(tmp_path, name)
    assert found("imagenet", tmp_path) == [
        ("train/n01440764/a.JPEG", "n01440764", "train"),
        ("val/n01440764/b.JPEG", "n01440764", "val"),
    ]
    (tmp_path / "val/n01440764/b.JPEG").rename(tmp_path / "val/b.JPEG")
    (tmp_path / "val/n01440764").rmdir()
    assert "val has no class folders. Move each file" in refused("imagenet", tmp_path)
    (tmp_path / "val").rename(tmp_path / "valid")
    assert "There is no folder" in refused("imagenet", tmp_path)


@pytest.mark.parametrize("annotations", ["annotations__", ""])
@pytest.mark.parametrize("folder", ["train/dancinggangnamstyle", "train/dancing_gangnam_style", "train", ""])
def test_kinetics_by_its_lists(tmp_path: Path, annotations: str, folder: str) -> None:
    lists = {
        f"{annotations}train_csv": f'{KINETICS}\n"dancing gangnam style",-4wsuPCjDBc,5,15,train\n',
        f"{annotations}test_csv": "youtube_id,time_start,time_end,split\nabc,0.0,10.0,test\n",
    }
    write(tmp_path, **lists)
    name = f"{folder}/-4wsuPCjDBc_000005_000015.mp4".lstrip("/")
    file(tmp_path, name)
    file(tmp_path, "test/abc_000000_000010.mkv" if folder else "abc_000000_000010.mkv")
    assert [(label, split) for _, label, split in found("kinetics", tmp_path)] == [
        ("dancing gangnam style", "train"),
        (None, "test"),
    ]
    assert found("kinetics", tmp_path)[0][0] == name


def test_kinetics_by_its_folders(tmp_path: Path) -> None:
    file(tmp_path, "train/abseiling/x_000000_000010.mp4")
    assert found("kinetics", tmp_path) == [("train/abseiling/x_000000_000010.mp4", "abseiling", "train")]


def test_a_list_without_header_is_not_taken_for_kinetics(tmp_path: Path) -> None:
    write(tmp_path, train_csv="a.mp4 0\nb.mp4 1\n")
    told = refused("kinetics", tmp_path)
    assert "train.csv, line 2" in told and f"list:{tmp_path}" in told


def test_lists_of_path_and_label(tmp_path: Path) -> None:
    write(tmp_path, train_csv="clips/a.mp4 0\n\nclips/with space.mp4 17\n", val_csv=f"{tmp_path}/clips/c.mp4 3\n")
    for name in ("a", "with space", "c"):
        file(tmp_path, f"clips/{name}.mp4")
    assert found("list", tmp_path) == [
        ("clips/a.mp4", "0", "train"),
        ("clips/with space.mp4", "17", "train"),
        ("clips/c.mp4", "3", "val"),
    ]
    write(tmp_path, test_csv="lonely.mp4\n")
    assert "test.csv, line 1 is 'lonely.mp4'" in refused("list", tmp_path)
    assert "has no train.csv" in refused("list", tmp_path / "clips")


@pytest.mark.parametrize("naming", ["something-something-v2-", "labels__"])
def test_something_something(tmp_path: Path, naming: str) -> None:
    train = [{"id": "1", "label": "pushing a cup", "template": "Pushing [something]", "placeholders": ["a cup"]}]
    lists = {"train": train, "validation": [{**train[0], "id": 2}], "test": [{"id": "3"}]}
    write(tmp_path, **{f"{naming}{name}_json": json.dumps(entries) for name, entries in lists.items()})
    for name in ("1.webm", "2.mp4", "3.webm"):
        file(tmp_path, f"20bn-something-something-v2/{name}")
    assert found("ssv2", tmp_path) == [
        ("20bn-something-something-v2/1.webm", "Pushing something", "train"),
        ("20bn-something-something-v2/2.mp4", "Pushing something", "val"),
        ("20bn-something-something-v2/3.webm", None, "test"),
    ]


def test_something_something_in_part_is_refused(tmp_path: Path) -> None:
    assert "20bn-something-something-v2" in refused("ssv2", tmp_path)
    (tmp_path / "20bn-something-something-v2").mkdir()
    assert "neither something-something-v2-train.json nor labels/train.json" in refused("ssv2", tmp_path)
    for text, told in (("{}", "holds no list"), ("[3]", "entries with an id"), ("[", "cannot be read")):
        write(tmp_path, labels__train_json=text)
        assert told in refused("ssv2", tmp_path)


def test_moments_in_time(tmp_path: Path) -> None:
    for name in ("training/clapping/a.mp4", "validation/clapping/b.mp4"):
        file(tmp_path, name)
    by_folders = found("moments", tmp_path)
    write(tmp_path, trainingSet_csv="clapping/a.mp4,clapping,3,0\n", validationSet_csv="clapping/b.mp4,clapping,3,0\n")
    assert found("moments", tmp_path) == by_folders
    assert by_folders == [
        ("training/clapping/a.mp4", "clapping", "train"),
        ("validation/clapping/b.mp4", "clapping", "val"),
    ]
    write(tmp_path, trainingSet_csv="clapping\n")
    assert "expected path,label" in refused("moments", tmp_path)


@pytest.mark.parametrize(("train", "val"), [("data_large_standard", "val_large"), ("data_256_standard", "val_256")])
def test_places_by_its_lists(tmp_path: Path, train: str, val: str) -> None:
    write(
        tmp_path,
        categories_places365_txt="/a/airfield 0\n/f/field/wild 1\n",
        places365_train_standard_txt="/a/airfield/00000001.jpg 0\n/f/field/wild/00000001.jpg 1\n",
        places365_val_txt="Places365_val_00000001.jpg 1\n",
    )
    assert "neither data_large_standard nor data_256_standard" in refused("places365", tmp_path)
    for name in (f"{train}/a/airfield/00000001.jpg", f"{train}/f/field/wild/00000001.jpg"):
        file(tmp_path, name)
    file(tmp_path, f"{val}/Places365_val_00000001.jpg")
    assert found("places365", tmp_path) == [
        (f"{train}/a/airfield/00000001.jpg", "a/airfield", "train"),
        (f"{train}/f/field/wild/00000001.jpg", "f/field/wild", "train"),
        (f"{val}/Places365_val_00000001.jpg", "f/field/wild", "val"),
    ]
    write(tmp_path, places365_val_txt="Places365_val_00000001.jpg 2\n")
    assert "has the class 2" in refused("places365", tmp_path)
    (tmp_path / "categories_places365.txt").unlink()
    assert "categories_places365.txt cannot be read" in refused("places365", tmp_path)


def test_places_in_easy_form(tmp_path: Path) -> None:
    for name in ("train/airfield/1.jpg", "val/airfield/2.jpg"):
        file(tmp_path, name)
    assert [item[1:] for item in found("places365", tmp_path)] == [("airfield", "train"), ("airfield", "val")]


def test_missing_files_are_counted_and_many_stop(tmp_path: Path) -> None:
    write(tmp_path, train_csv="".join(f"{i}.mp4 0\n" for i in range(40)))
    for i in range(39):
        file(tmp_path, f"{i}.mp4")
    listing = list_dataset("list", tmp_path)
    assert len(listing.items) == 39 and listing.missing == [tmp_path / "39.mp4"]
    for i in (0, 1):
        (tmp_path / f"{i}.mp4").unlink()
    told = refused("list", tmp_path)
    assert (
        told.startswith("3 of the 40 files that the lists in") and f"more than 5%. The first: {tmp_path}/0.mp4" in told
    )
    write(tmp_path, train_csv="\n")
    assert "lists not one file" in refused("list", tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_and_an_empty_folder_are_refused(tmp_path: Path, layout: str) -> None:
    assert f"There is no folder {tmp_path / 'none'}" in refused(layout, tmp_path / "none")
    assert str(tmp_path) in refused(layout, tmp_path)


@pytest.mark.parametrize("layout", ["classes", "imagenet", "kinetics", "places365"])
def test_an_empty_class_is_refused(tmp_path: Path, layout: str) -> None:
    file(tmp_path, "train/cat/1.jpg")
    file(tmp_path, "val/cat/1.jpg")
    file(tmp_path, "train/dog/notes.txt")
    assert f"The class {tmp_path / 'train' / 'dog'} holds no picture or video" in refused(layout, tmp_path)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"\xff\xfe\x00")
    assert "train.csv cannot be read" in refused("list", tmp_path)


def test_a_source_names_its_layout_or_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_source(Path("ssv2:/data/x")) == ("ssv2", Path("/data/x"))
    assert split_source(Path("/data/ssv2")) == (None, Path("/data/ssv2"))
    assert split_source(Path("other:x")) == (None, Path("other:x"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list:x").mkdir()  # a folder that is there is meant as it stands
    assert split_source(Path("list:x")) == (None, Path("list:x"))
