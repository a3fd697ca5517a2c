"""vicmae.index.atomic: what is being made nobody sees, what the dead left is swept, what the living make is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from vicmae.errors import StorageError
from vicmae.index.atomic import atomic_file, replace, scratch_folder, settle, sweep, take_away

HOLDS = """
import sys
from pathlib import Path
from vicmae.index.atomic import atomic_file, scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder, atomic_file(Path(sys.argv[1]) / "out") as file:
    (folder / "part").write_text("half")
    file.write(b"half")
    print("made", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with atomic_file(out) as file:
        file.write(b"new")
        file.flush()
        assert out.read_text() == "old"
    assert out.read_text() == "new" and names(tmp_path) == ["out"]
    with pytest.raises(RuntimeError), atomic_file(out) as file:
        file.write(b"newer")
        raise RuntimeError
    assert out.read_text() == "new" and names(tmp_path) == ["out"]


def test_a_folder_is_gone_unless_it_was_placed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "below") as folder:
        (folder / "part").write_text("x")
    assert names(tmp_path / "below") == []
    with scratch_folder(tmp_path / "below") as folder:
        (folder / "part").write_text("x")
        replace(folder, tmp_path / "below" / "final")
    assert names(tmp_path / "below") == ["final"] and names(tmp_path / "below" / "final") == ["part"]
    with pytest.raises(StorageError, match="room"), scratch_folder(tmp_path):
        raise OSError(28, "No space left on device")


def test_only_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"made\n"
        made = names(tmp_path)
        with scratch_folder(tmp_path):
            assert len(names(tmp_path)) == 3
        assert names(tmp_path) == made and len(made) == 2
        process.kill()
        process.wait()
    assert names(tmp_path) == made
    with scratch_folder(tmp_path):
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == []


def test_one_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    replace(tmp_path / "new", tmp_path / "old")
    assert names(tmp_path / "old") == ["new"] and len(names(tmp_path)) == 2
    sweep(tmp_path)
    assert names(tmp_path) == ["old"]
    take_away(tmp_path / "old")
    assert not (tmp_path / "old").exists()
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_what_a_kill_left_of_that_is_settled(tmp_path: Path) -> None:
    for name in (".replaced-a-01234567", ".replaced-b-01234567", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    settle(tmp_path)
    assert names(tmp_path) == ["a", "b"]
    assert names(tmp_path / "a") == [".replaced-a-01234567"] and names(tmp_path / "b") == ["b"]
    settle(tmp_path / "none")
