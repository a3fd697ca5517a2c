"""vicmae.__main__: the door, asked through `python -m vicmae` as a person would."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from vicmae.__main__ import app

VERBS = {"serve", "index", "search", "collections", "export", "embed", "pretrain", "evaluate"}


def vicmae(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vicmae", *words], capture_output=True, text=True, cwd=cwd)


def commands(command: Any, name: str = "vicmae") -> Iterator[tuple[str, Any]]:
    """Each verb and sub-verb with its name; typer keeps the type of a command to itself."""
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {child}")


ALL = dict(commands(typer.main.get_command(app)))


def test_the_verbs_are_there() -> None:
    assert {f"vicmae {verb}" for verb in VERBS} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_verb_and_every_option_has_help(name: str) -> None:
    command = ALL[name]
    assert command.help and len(command.help) > 15, name
    for parameter in command.params:
        told = getattr(parameter, "help", None)
        assert told or parameter.name == "help", f"{name} {parameter.name}"


def test_help_imports_nothing_heavy() -> None:
    script = """
import sys
sys.argv = ["vicmae", "--help"]
from vicmae.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "timm", "faiss", "onnxruntime", "onnx", "av", "fastapi", "uvicorn", "pyarrow", "PIL"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in VERBS)


def test_the_version_is_told() -> None:
    done = vicmae("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"vicmae {version('vicmae')}\n", "")
    assert "--version" in vicmae("--help").stdout


def test_a_foreseen_error_is_one_sentence(tmp_path: Path) -> None:
    done = vicmae("embed", "a.png", "-o", "-", "--bundle", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: nowhere is not a bundle: manifest.json cannot be read")
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_wrong_word_is_a_usage_error() -> None:
    done = vicmae("embde")
    assert done.returncode == 2 and "embde" in done.stderr and "Traceback" not in done.stderr
