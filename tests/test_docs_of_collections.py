"""docs/collections.md: its filters are filters, and its verbs and routes exist."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from vicmae.export.engine import FakeEngine
from vicmae.index import cli
from vicmae.index.catalog.filters import parse_filter, read_filter
from vicmae.server.app import create_app
from vicmae.settings import load_settings

PAGE = (Path(__file__).parent.parent / "docs" / "collections.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_examples_are_filters(block: str) -> None:
    assert parse_filter(json.loads(block)).conditions


def test_filters_on_command_lines_are_filters() -> None:
    found = re.findall(r"--filter '(.*?)'|'filter=(.*?)'", PAGE)
    assert len(found) == 2
    for one, other in found:
        read_filter(one or other)


def test_verbs_and_their_options_exist() -> None:
    app = typer.Typer()
    cli.register(app)
    lines = re.findall(r"^\$ vicmae (.*?)(?:\s{2,}#.*)?$", PAGE, re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        words = re.sub(r"'.*?'", "JSON", line).split()
        command = get_command(app)
        while isinstance(command, typer.core.TyperGroup):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_routes_exist(tmp_path: Path) -> None:
    paths = create_app(load_settings(data=tmp_path), FakeEngine()).openapi()["paths"]
    shapes = {re.sub(r"\{.*?\}", "*", path) for path in paths}
    told = re.findall(r"(?:POST|PUT|GET|DELETE|PATCH) (/v1/[\w/{}-]+|…/[\w/{}-]+)", PAGE)
    assert len(told) >= 10
    for path in told:
        whole = path.replace("…/", "/v1/collections/*/")
        shape = re.sub(r"\{.*?\}", "*", whole).rstrip("/")
        named = re.sub(r"/(collections|aliases)/photos", r"/\1/*", shape)
        assert named in shapes, path
