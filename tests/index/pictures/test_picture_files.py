"""vicmae.index.pictures.files: whatever came first, a file can be written under any name."""

import secrets
from pathlib import Path

import pytest

from vicmae.index.pictures import files


def test_after_a_link_every_name_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, copy = files.PictureFiles(tmp_path / "a"), files.PictureFiles(tmp_path / "b")
    tokens = iter(["ff" + "0" * 30, "f4" + "0" * 30])
    any_name = secrets.token_hex  # scratch files have such names, too
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(tokens) if size == 16 else any_name(size))
    with source.written([b"one"]) as file:
        copy.link([file.token], source)
    with copy.written([b"two"]) as other:
        assert copy.read(other, [0]) == [b"two"]
