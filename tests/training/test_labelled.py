"""vicmae.training.labelled: index.csv with files or shards, or a tree of folders -> samples."""

import io
import tarfile
from pathlib import Path

import pytest

from vicmae.errors import TrainingError
from vicmae.training.labelled import Sample, read_labelled

ROWS = [
    "file,label,group,split,set,shard",
    "a.jpg,cat,g1,train,cls,",
    "b.jpg,dog,g1,test,cls,",
    "c.jpg,,g2,gallery,found,more.tar.gz",
    "d.jpg,,g2,query,found,more.tar.gz",
]


@pytest.fixture
def indexed(tmp_path: Path) -> Path:
    (tmp_path / "index.csv").write_text("\n".join(ROWS) + "\n")
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as shard:
        for name in ("d.jpg", "x.jpg", "c.jpg"):
            shard.addfile(_member(name), io.BytesIO(name[:1].encode()))
    return tmp_path


def _member(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 1
    return info


def test_files_of_an_index(indexed: Path) -> None:
    assert list(read_labelled(indexed, "cls", "label")) == [
        Sample("a.jpg", "cat", "train", b"a"),
        Sample("b.jpg", "dog", "test", b"b"),
    ]


def test_members_of_a_shard_in_any_order(indexed: Path) -> None:
    found = sorted(read_labelled(indexed, "found", "group"), key=lambda s: s.name)
    assert found == [Sample("c.jpg", "g2", "gallery", b"c"), Sample("d.jpg", "g2", "query", b"d")]


def test_without_a_set_all_rows_are_read(indexed: Path) -> None:
    assert {s.name for s in read_labelled(indexed, None, "group")} == {"a.jpg", "b.jpg", "c.jpg", "d.jpg"}


def test_a_tree_of_split_label_file(tmp_path: Path) -> None:
    for place in ("train/cat/1.jpg", "train/dog/deep/2.PNG", "test/cat/3.jpg", "test/notes.txt", "test/4.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x")
    assert [(s.name, s.label, s.split) for s in read_labelled(tmp_path, None, "label")] == [
        ("test/cat/3.jpg", "cat", "test"),
        ("train/cat/1.jpg", "cat", "train"),
        ("train/dog/deep/2.PNG", "dog", "train"),
    ]
    assert [(s.name, s.label) for s in read_labelled(tmp_path.parent, tmp_path.name, "label")][0] == (
        "test/cat/3.jpg",
        "cat",
    )


def test_the_labelled_items_of_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a b.mp4 3\n")
    (tmp_path / "val.csv").write_text("c.mp4 4\n")
    for name in ("a b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(name[:1].encode())
    source = Path(f"list:{tmp_path}")
    assert list(read_labelled(source, None, "label")) == [
        Sample("a b.mp4", "3", "train", b"a"),
        Sample("c.mp4", "4", "val", b"c"),
    ]
    assert "leave out --set" in refused(source, "x")
    assert "labels only" in refused(source, None, "group")


def refused(folder: Path, name: str | None = None, column: str = "label") -> str:
    with pytest.raises(TrainingError) as error:
        list(read_labelled(folder, name, column))
    return str(error.value)


def test_what_is_not_there_is_named(indexed: Path) -> None:
    assert "There is no folder" in refused(indexed / "none")
    assert "has no rows of set 'other'; it has cls, found" in refused(indexed, "other")
    assert "lacks the column colour" in refused(indexed, "cls", "colour")
    (indexed / "tree" / "sub").mkdir(parents=True)
    assert "There is no folder" in refused(indexed / "tree", "none")


def test_missing_files_and_broken_shards_stop(indexed: Path) -> None:
    (indexed / "b.jpg").unlink()
    assert "b.jpg" in refused(indexed, "cls")
    with (indexed / "index.csv").open("a") as index:
        index.write("e.jpg,,g3,query,found,more.tar.gz\n")
    assert "more.tar.gz lacks 1 files of index.csv, such as e.jpg" in refused(indexed, "found", "group")
    (indexed / "more.tar.gz").write_bytes(b"no archive")
    assert "more.tar.gz cannot be read" in refused(indexed, "found", "group")
    (indexed / "more.tar.gz").unlink()
    assert "more.tar.gz cannot be read" in refused(indexed, "found", "group")


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file,label,split\n")
    assert "it has none" in refused(tmp_path)
